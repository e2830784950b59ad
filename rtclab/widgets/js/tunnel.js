// @ts-check
/**
 * Media of a session over its carrier, where UDP does not pass: frames encoded and decoded in the page.
 *
 * The session description stays what connects tracks, m-lines and layers; only the bytes go another way. What is under way is
 * bounded by acknowledgements in both directions (tunnel_pace.js).
 */

import { clockNow } from "./requests.js";
import { PlayoutClock } from "./tunnel_clock.js";
import { PictureSender, SoundSender, tunnelCodec } from "./tunnel_encode.js";
import { Tally, tunnelRow, tunnelSentRow } from "./tunnel_figures.js";
import { packAck, packFrame, packKeyframe, unpack } from "./tunnel_frames.js";
import { Acks, Pace } from "./tunnel_pace.js";
import { PicturePlayer, SoundPlayer } from "./tunnel_play.js";

const TICK_MS = 100;
const SOUND_SHARE_BPS = 64_000;
/** What makes them, and what is said where there is none. */
const ENCODERS = { video: "VideoEncoder", audio: "AudioEncoder" };
const NO_ENCODER = `This browser cannot send it without UDP: it has no WebCodecs${globalThis.isSecureContext ? "" : ", which browsers allow on secure pages only"}.`;

export class Tunnel {
  /** @param {import("./client.js").RoomClient} client @param {string} reason why it is needed */
  constructor(client, reason) {
    this.client = client;
    this.reason = reason;
    /** What cannot be watched through it. */
    this.note = "";
    this.begin();
    /** Frames and messages that led nowhere. */
    this.strays = 0;
    this.bytes = 0;
    /** By the key of what we send. @type {Map<string, PictureSender | SoundSender>} */
    this.senders = new Map();
    /** Keys of what cannot be encoded here. @type {Set<string>} */
    this.refused = new Set();
    /** By the room's track id. @type {Map<string, PicturePlayer | SoundPlayer>} */
    this.players = new Map();
    /** By participant. @type {Map<string, PlayoutClock>} */
    this.clocks = new Map();
    /** @type {AudioContext | null} */
    this.context = null;
    this.timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Counts from 1 again: the room does, too. */
  begin() {
    this.pace = new Pace();
    this.acks = new Acks();
    this.number = 0;
    for (const player of this.players?.values() ?? []) player.broken();
    for (const sender of this.senders?.values() ?? []) sender.restart();
  }

  // ---- what is sent ----

  /** Encodes exactly what has been negotiated. */
  arrange() {
    const { sending, peer } = this.client;
    for (const [key, sender] of this.senders) {
      const item = sending.get(key);
      const same = item?.media === sender.media && JSON.stringify(item?.encodings) === JSON.stringify(sender.encodings);
      if (same && peer?.sentTrack(key)) continue;
      sender.close();
      this.senders.delete(key);
      if (this.refused.delete(key)) this.client.refusals.delete(key);
    }
    for (const { direction, key, track, codec } of peer?.slots ?? []) {
      const item = key === null ? undefined : sending.get(key);
      if (direction !== "send" || key === null || track === null || !item?.media || this.senders.has(key)) continue;
      if (!(ENCODERS[item.kind] in globalThis)) {
        this.#refuse(key, NO_ENCODER);
        continue;
      }
      const video = item.kind === "video" ? tunnelCodec(codec) : null;
      const outlet = this.#outlet(key);
      const tally = () => new Tally();
      if (video) this.senders.set(key, new PictureSender(item, video, outlet, tally));
      else if (item.kind === "audio") this.senders.set(key, new SoundSender(item, outlet, tally));
    }
    for (const [track, player] of this.players) {
      if (this.client.wanted.has(track)) continue;
      player.close();
      this.players.delete(track);
    }
    const clocks = new Set([...this.players.values()].map(({ clock }) => clock));
    for (const [participant, clock] of this.clocks) if (!clocks.has(clock)) this.clocks.delete(participant);
    this.#allow();
  }

  /** @param {string} key @returns {import("./tunnel_encode.js").Outlet} */
  #outlet(key) {
    return {
      now: clockNow,
      send: (encoded) => this.#send(key, encoded),
      blocked: () => this.pace.blocked(clockNow(), this.client.carrier.unsent),
      failed: (error) => {
        this.senders.get(key)?.close();
        this.#refuse(key, `This browser cannot encode it for a tunnel (${error.message}).`);
      },
    };
  }

  /** @param {string} key @param {string} why */
  #refuse(key, why) {
    if (this.refused.has(key)) return;
    this.refused.add(key);
    this.client.refuse(key, why);
    this.client.waitForOthers();
  }

  /** @param {string} key @param {import("./tunnel_encode.js").Encoded} encoded @returns {string | null} why it did not go */
  #send(key, { chunk, time, ...encoded }) {
    const mid = this.client.peer?.midOf(key) ?? null;
    const now = clockNow();
    if (mid === null) return "not_negotiated";
    if (this.pace.blocked(now, this.client.carrier.unsent) === "silent") return "silent";
    const frame = { ...encoded, mid, number: this.number + 1, time: 1000 * performance.timeOrigin + 1e6 * time };
    const bytes = packFrame(frame, chunk);
    if (!this.client.transmitMedia(bytes)) return "carrier_lost";
    this.number += 1;
    this.bytes += bytes.length;
    this.pace.sent(this.number, bytes.length, now, !encoded.audio);
    return null;
  }

  #allow() {
    const { client, senders } = this;
    const now = clockNow();
    const demanded = (/** @type {string} */ key) => client.demands.get(client.peer?.sentTrack(key) ?? "");
    const pictures = [...senders].flatMap(([key, sender]) => (sender instanceof PictureSender ? [{ sender, demand: demanded(key) }] : []));
    const wanted = pictures.reduce((sum, { sender, demand }) => sum + sender.wanted(demand), SOUND_SHARE_BPS);
    const limit = this.pace.update(now, wanted) - SOUND_SHARE_BPS;
    for (const { sender, demand } of pictures) sender.allow(limit / pictures.length, demand);
  }

  // ---- what comes ----

  /** @param {ArrayBuffer} buffer a binary message */
  receive(buffer) {
    const message = unpack(buffer);
    this.bytes += buffer.byteLength;
    const now = clockNow();
    if (message?.type === "ack") this.pace.acked(message.number, message.waiting, now);
    else if (message?.type === "frame") this.#take(message, now);
    else if (message?.type === "keyframe") this.senders.get(this.client.peer?.slotOf(message.mid)?.key ?? "")?.refresh(message.rid);
    else this.strays += 1;
  }

  /** @param {import("./tunnel_frames.js").Frame} frame @param {number} now */
  #take(frame, now) {
    if (!this.acks.taken(frame.number, now)) for (const player of this.players.values()) player.broken();
    const slot = this.client.peer?.slotOf(frame.mid);
    const track = slot?.direction === "receive" ? slot.track : null;
    const info = this.client.tracks.get(track ?? "");
    if (!track || !info) this.strays += 1;
    else {
      const clock = this.clocks.get(info.participant.id) ?? new PlayoutClock();
      this.clocks.set(info.participant.id, clock);
      clock.arrived(frame.time / 1e6, now);
      this.#player(track, frame, clock).take(frame);
    }
    if (this.acks.due(now)) this.#acknowledge();
  }

  /** @param {string} track @param {import("./tunnel_frames.js").Frame} frame @param {PlayoutClock} clock */
  #player(track, { audio, mid }, clock) {
    const known = this.players.get(track);
    if (known) return known;
    let first = true;
    const hooks = {
      now: clockNow,
      askKeyframe: () => this.client.transmitMedia(packKeyframe(mid, "")),
      shown: () => {
        if (first) this.client.ways.settle();
        first = false;
      },
    };
    const player = audio ? new SoundPlayer(clock, this.sound, hooks) : new PicturePlayer(clock, hooks);
    this.players.set(track, player);
    return player;
  }

  get sound() {
    this.context ??= new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
    return this.context;
  }

  #acknowledge() {
    const late = [...this.players.values()].map((player) => player.late);
    this.client.transmitMedia(packAck(this.acks.take(), Math.max(0, ...late)));
  }

  #tick() {
    const now = clockNow();
    if (this.acks.due(now)) this.#acknowledge();
    // the carrier was another one when these frames left, and is well now
    if (this.client.link === "ok" && this.client.carrier.unsent === 0 && this.pace.blocked(now, 0) === "silent") {
      this.pace = new Pace();
      for (const sender of this.senders.values()) sender.refresh("");
    }
    this.#allow();
  }

  // ---- figures ----

  /** Whether a picture has passed, or sound where there is no picture. */
  get passed() {
    if (this.client.role === "participant") return this.pace.ackedAt > 0;
    const players = [...this.players.values()];
    const pictured = [...this.client.wanted.values()].includes("video");
    return players.some((player) => player.shownAt > 0 && (!pictured || player instanceof PicturePlayer));
  }

  /** One row for each track. @returns {Map<string, import("./stats.js").Row>} */
  measure() {
    const now = clockNow();
    const { rtt } = this.pace;
    const rows = new Map();
    for (const [key, sender] of this.senders) {
      const track = this.client.peer?.sentTrack(key);
      const picture = sender instanceof PictureSender;
      for (const { figures } of picture ? sender.layers : [sender]) figures.measure(now);
      if (track) rows.set(track, picture ? tunnelSentRow(sender.layers, rtt) : tunnelRow(sender.figures, "audio", rtt));
    }
    for (const [track, player] of this.players) {
      player.figures.measure(now);
      rows.set(track, tunnelRow(player.figures, player instanceof PicturePlayer ? "video" : "audio", rtt));
    }
    return rows;
  }

  /** Sends nothing more; what came last stays to be seen until `close`. */
  retire() {
    clearInterval(this.timer);
    for (const sender of this.senders.values()) sender.close();
    this.senders.clear();
    for (const key of this.refused) this.client.refusals.delete(key);
    this.refused.clear();
  }

  close() {
    this.retire();
    for (const player of this.players.values()) player.close();
    this.players.clear();
    this.context?.close();
  }
}
