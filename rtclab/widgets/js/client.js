// @ts-check
/**
 * A room's client: the signaling session over any carrier (`transmit` out, `receive` in).
 *
 *   join -> welcome, then ping every 3 s; a lost session is healed by joining again with its token, and so is a lost carrier.
 *   Media come and go by the connection to the room (connection.js) or directly (mesh.js), as the room's architecture says.
 *
 * It knows neither a notebook nor a page: the widgets and a stand-alone page drive it alike.
 */

import { plainArchitecture } from "./architecture.js";
import { RoomConnection } from "./connection.js";
import { Joining } from "./joining.js";
import { Mesh } from "./mesh.js";
import { Meter } from "./meter.js";
import { PhaseClock } from "./phases.js";
import { clockNow, Requests, RoomError } from "./requests.js";
import { TunnelChoice } from "./tunnel_choice.js";
import { ViewSizes } from "./view_sizes.js";
import { Ways } from "./ways.js";

const PING_EVERY_MS = 3000;
const STATS_EVERY_MS = 1000;
const FIRST_FRAME_POLL_MS = 100;
const BUSY_AFTER_S = 7;
const GONE_AFTER_S = 20;

/**
 * @typedef {object} Track as the room lists it
 * @property {string} id @property {{id: string, name: string}} participant @property {"audio" | "video"} kind
 * @property {string} source @property {boolean} muted @property {string | null} codec
 * @property {{rid: string, width: number | null, height: number | null, bitrate_bps: number | null, active: boolean}[]} layers
 *
 * @typedef {object} Carrier the way to the room
 * @property {"server" | "comm" | "websocket"} kind through the Jupyter server, through the kernel's comm, or to a server of the room's own
 * @property {string} reason why this one, when another is to be preferred
 * @property {string} [waits] what it waits for, as a sentence
 * @property {(message: object) => void} send throws when the carrier is gone
 * @property {(bytes: Uint8Array) => boolean} sendMedia false: nothing was sent
 * @property {number} unsent bytes that wait in it, as far as that is known
 *
 * @typedef {object} ClientOptions
 * @property {Carrier} carrier
 * @property {"participant" | "viewer"} role
 * @property {string | null} [name]
 * @property {string | null} [session] resume token of an earlier session
 * @property {(token: string | null) => void} [onSession] called to remember the token
 * @property {"kernel" | "server"} [home] where the room lives, for what people are told
 */

export class RoomClient {
  /** @param {ClientOptions} options */
  constructor({ carrier, role, name = null, session = null, onSession = () => {}, home = "kernel" }) {
    this.carrier = carrier;
    /** Carries media while UDP does not. @type {import("./tunnel.js").Tunnel | null} */
    this.tunnel = null;
    this.role = role;
    this.home = home;
    this.name = name;
    this.session = session;
    this.onSession = onSession;
    this.phases = new PhaseClock([...(role === "participant" ? ["permission"] : []), "signaling", "ICE", "DTLS", "first frame"]);
    /** @type {"idle" | "joining" | "joined" | "closed"} */
    this.status = "idle";
    /** How well the kernel and the network are reached. @type {"ok" | "busy" | "reconnecting" | "gone"} */
    this.link = "ok";
    /** @type {{code: string, message: string} | null} */
    this.failure = null;
    /** @type {Map<string, string>} refusals by track id or key of what we send */
    this.refusals = new Map();
    /** @type {{id: string, name: string} | null} */
    this.participant = null;
    /** @type {{id: string, name: string, architecture: string} | null} */
    this.room = null;
    /** @type {Map<string, Track>} */
    this.tracks = new Map();
    /** @type {Map<string, {rid: string | null, target: string | null, temporal: number | null, reason: string | null}>} */
    this.consumers = new Map();
    /** @type {Map<string, string>} layers picked here, by track */
    this.picked = new Map();
    /** @type {Record<string, number>} */
    this.levels = {};
    /** @type {string | null} */
    this.active = null;
    /** What the room wants of the tracks we publish. @type {Map<string, import("./encodings.js").Demand>} */
    this.demands = new Map();
    this.architecture = plainArchitecture("sfu");
    /** When the room took its architecture up, while we were in it. */
    this.switchedAt = -Infinity;
    /** @type {Map<string, import("./peer.js").Sending>} */
    this.sending = new Map();
    /** @type {Map<string, "audio" | "video">} */
    this.wanted = new Map();
    /** @type {Set<(what: string) => void>} */
    this.observers = new Set();
    this.connection = new RoomConnection(this);
    this.choice = new TunnelChoice(this);
    this.mesh = new Mesh({
      say: (to, content) => this.send({ type: "peer", to, description: null, candidate: null, tracks: [], ...content }),
      changed: () => {
        this.waitForOthers();
        this.ways.settle();
        this.changed("mesh");
      },
    });
    this.ways = new Ways(this);
    this.meter = new Meter(this);
    this.requests = new Requests((message) => this.send(message));
    this.joining = new Joining(this);
    this.views = new ViewSizes((track, size) => {
      return this.status === "joined" && this.tracks.has(track) && this.send({ type: "view", track, ...size });
    });
    /** @type {import("./ice.js").Ice} */
    this.ice = {};
    this.generation = 0;
    /** @type {any[]} */
    this.timers = [];
  }

  /** @param {(what: string) => void} observer @returns {() => void} */
  observe(observer) {
    this.observers.add(observer);
    return () => this.observers.delete(observer);
  }

  /** @param {string} what */
  changed(what) {
    for (const observer of [...this.observers]) observer(what);
  }

  // ---- session ----

  /** Joins the room. @returns {Promise<boolean>} whether it worked; `failure` says why not */
  async start() {
    this.generation += 1;
    this.status = "joining";
    this.link = "ok";
    this.failure = null;
    this.refusals.clear();
    this.phases.start(clockNow());
    this.timers = [
      setInterval(() => this.#ping(), PING_EVERY_MS),
      setInterval(() => this.#tick(), STATS_EVERY_MS),
      setInterval(() => this.meter.watchFirstFrame(), FIRST_FRAME_POLL_MS),
      setInterval(() => this.choice.tick(), FIRST_FRAME_POLL_MS),
    ];
    this.changed("state");
    return this.joining.join();
  }

  /** At once, before the messages that follow it. @param {any} welcome */
  #welcomed({ session, participant, room, ice_servers, ice_transport_policy, resumed, tracks, transport = "auto" }) {
    this.status = "joined";
    this.session = session;
    this.onSession(session);
    this.participant = participant;
    this.room = room;
    this.ice = this.mesh.ice = { iceServers: ice_servers, iceTransportPolicy: ice_transport_policy };
    if (!resumed) {
      this.picked.clear();
      this.#dropPeers();
    }
    this.choice.welcomed(transport);
    // one that is more than a name is told of next
    if (room.architecture !== this.architecture.name) this.#setArchitecture(plainArchitecture(room.architecture));
    this.switchedAt = -Infinity;
    this.#setTracks(tracks);
    this.views.renew();
    this.joining.release(resumed);
    this.changed("state");
  }

  /** Leaves for good. @param {string} [phase] told to the room as the reason */
  stop(phase = "stopped") {
    if (this.status === "joining" || this.status === "joined") {
      this.#tell(phase);
      this.send({ type: "leave" });
    }
    this.session = null;
    this.onSession(null);
    this.sending.clear();
    this.wanted.clear();
    this.#shut("idle");
    this.phases.reset();
  }

  /** @param {"idle" | "closed"} status */
  #shut(status) {
    this.generation += 1;
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
    this.#dropPeers();
    this.status = status;
    this.tracks.clear();
    this.consumers.clear();
    this.levels = {};
    this.active = null;
    this.joining.held = [];
    this.meter.reset();
    this.requests.clear(new RoomError("closed", "The session has ended."));
    this.changed("tracks");
    this.changed("state");
  }

  /** Ends the session with something to show. @param {unknown} error */
  fail(error) {
    const code = error instanceof RoomError ? error.code : error instanceof Error ? error.name : "error";
    const message = error instanceof Error ? error.message : String(error);
    this.failure = { code, message };
    this.phases.fail(clockNow());
    if (this.status !== "closed") {
      this.#tell("failed", message);
      this.send({ type: "leave" });
    }
    this.#shut("closed");
  }

  /** The page goes: a last word, which may not get through. The token stays, for the page that comes back. */
  wave() {
    if (this.status === "joined") this.send({ type: "leave" });
  }

  /** The carrier is gone and will not come back: a restarted kernel, a closed widget. */
  lost() {
    if (this.link === "gone" && this.status === "closed") return;
    this.link = "gone";
    this.phases.fail(clockNow());
    this.#shut("closed");
  }

  /** Something may have happened to the carrier: a message tells. */
  probe() {
    this.requests.ping();
  }

  /** Goes on over another carrier, or over one that has been opened again. @param {Carrier} carrier */
  move(carrier) {
    this.carrier = carrier;
    this.joining.again();
    this.changed("carrier");
  }

  /** @param {object} message throws when the carrier is gone */
  transmit(message) {
    this.carrier.send(message);
  }

  /** @param {Uint8Array} bytes @returns {boolean} whether the carrier took them */
  transmitMedia(bytes) {
    return this.carrier.sendMedia(bytes);
  }

  /** @param {ArrayBuffer} buffer from the room */
  receiveMedia(buffer) {
    this.tunnel?.receive(buffer);
  }

  /** @param {any} message @returns {boolean} */
  send(message) {
    if (this.joining.holds(message)) return true;
    try {
      this.transmit(message);
      return true;
    } catch {
      if (this.status !== "closed") this.lost();
      return false;
    }
  }

  /** @param {any} message from the room */
  receive(message) {
    if (this.status === "idle" || this.status === "closed") return;
    if (message.type === "welcome" && this.requests.pending.has(message.re)) this.#welcomed(message);
    this.requests.settle(message);
    switch (message.type) {
      case "pong":
        this.setLink();
        return;
      case "error":
        if (message.code === "not_joined" && this.status === "joined") this.joining.again();
        return;
      case "tracks":
        this.#setTracks(message.tracks);
        return;
      case "consumer":
        this.consumers.set(message.track, message);
        this.changed("consumer");
        return;
      case "architecture":
        this.#setArchitecture(message);
        return;
      case "encodings":
        this.demands.set(message.track, message);
        this.peer?.demand(this.demands, this.sending);
        this.waitForOthers();
        this.changed("demand");
        return;
      case "peer":
        this.mesh.receive(message);
        return;
      case "levels":
        this.levels = message.levels;
        this.active = message.active;
        this.changed("levels");
        return;
      case "bye":
        this.fail(new RoomError(message.code, message.message));
    }
  }

  #ping() {
    if (this.status === "joined") this.requests.ping();
  }

  setLink() {
    const ice = this.peer?.pc.iceConnectionState;
    const now = clockNow();
    const waited = this.requests.silence(now);
    const broken = this.tunnel ? waited > BUSY_AFTER_S : ice === "disconnected" || ice === "failed";
    const flowing = now - this.meter.moved.at < 3;
    if (waited > GONE_AFTER_S && broken && !flowing) return this.lost();
    const link = broken && !this.tunnel ? "reconnecting" : waited > BUSY_AFTER_S ? "busy" : "ok";
    if (link !== this.link) {
      this.link = link;
      this.changed("state");
    }
  }

  // ---- media ----

  /** @param {import("./architecture.js").Architecture} architecture */
  #setArchitecture({ name, direct, mixed, peers }) {
    const before = this.architecture;
    this.architecture = { name, direct, mixed, peers };
    if (name !== before.name) this.switchedAt = clockNow();
    if (name !== before.name || direct !== before.direct) this.ways.switched();
    this.mesh.update(this.architecture);
    this.waitForOthers();
    this.changed("architecture");
  }

  #dropPeers() {
    this.connection.drop();
    this.choice.drop();
    this.mesh.close();
    this.ways.clear();
    this.demands.clear();
  }

  /** @param {Track[]} tracks */
  #setTracks(tracks) {
    this.tracks = new Map(tracks.map((track) => [track.id, track]));
    for (const id of this.consumers.keys()) if (!this.tracks.has(id)) this.consumers.delete(id);
    for (const id of this.refusals.keys()) if (!this.tracks.has(id) && !this.sending.has(id)) this.refusals.delete(id);
    this.changed("tracks");
  }

  /** What to watch: exactly these. @param {Iterable<string>} ids @returns {Promise<void>} */
  watch(ids) {
    const wanted = new Map();
    for (const id of ids) {
      const track = this.tracks.get(id);
      if (track && !this.refusals.has(id)) wanted.set(id, track.kind);
    }
    const same = wanted.size === this.wanted.size && [...wanted.keys()].every((id) => this.wanted.has(id));
    this.wanted = wanted;
    return same && this.peer ? Promise.resolve() : this.negotiate();
  }

  /** What to send: exactly these. @param {Map<string, import("./peer.js").Sending>} sending @returns {Promise<void>} */
  publish(sending) {
    this.sending = sending;
    return this.negotiate();
  }

  /** @param {string} key @param {boolean} muted */
  mute(key, muted) {
    const item = this.sending.get(key);
    if (!item) return;
    item.muted = muted;
    const track = this.peer?.sentTrack(key);
    if (track) this.send({ type: "mute", track, muted });
  }

  /** @param {string} track @param {string} rid a layer, or "auto" @returns {Promise<void>} */
  async pickLayer(track, rid) {
    const before = this.picked.get(track) ?? "auto";
    this.picked.set(track, rid);
    try {
      await this.requests.ask({ type: "layer", track, rid, temporal: null }, track);
    } catch (error) {
      if (error instanceof RoomError && error.code === "moved") return this.pickLayer(track, rid);
      this.picked.set(track, before);
      this.refusals.set(`layer ${track}`, error instanceof Error ? error.message : "");
      this.changed("tracks");
    }
  }

  /** @returns {Promise<void>} when what is to be sent and watched has been offered to the room */
  negotiate() {
    return this.connection.negotiate();
  }

  /** The room has answered. @param {import("./peer.js").PeerLink} peer */
  negotiated(peer) {
    this.#sendDirectly();
    peer.demand(this.demands, this.sending);
    this.choice.answered();
    this.ways.settle();
    this.changed("remote");
    this.waitForOthers();
  }

  /** What cannot be sent or watched, and why. @param {string} key @param {string} message */
  refuse(key, message) {
    this.refusals.set(key, message);
    this.changed("tracks");
  }

  /** What goes to other clients is what the room knows of. */
  #sendDirectly() {
    if (this.peer) this.mesh.arrange(this.peer.sent(this.sending));
  }

  /** With nobody to watch, or nothing to be sent, the clock stands still: that is no fault. */
  waitForOthers() {
    if (this.phases.current !== "first frame") return;
    if (this.role === "viewer" ? this.wanted.size > 0 : this.#maySend) this.phases.resume(clockNow());
    else this.phases.pause(clockNow());
    this.changed("phase");
  }

  get #maySend() {
    if (this.architecture.direct) return this.mesh.links.size > 0;
    const keys = [...this.sending.keys()].filter((key) => !this.tunnel?.refused.has(key));
    return keys.some((key) => this.demands.get(this.peer?.sentTrack(key) ?? "")?.active !== false);
  }

  /** @returns {import("./peer.js").PeerLink | null} the connection to the room */
  get peer() {
    return this.connection.peer;
  }

  /** The media of each track that is watched, whichever way they come. @returns {Map<string, MediaStreamTrack>} */
  get remote() {
    return this.ways.remote;
  }

  // ---- phases and figures ----

  /** @param {string} phase */
  reach(phase) {
    const through = this.#through;
    if (!this.phases.reach(phase, clockNow())) return;
    if (!through) this.#tell(phase);
    this.changed("phase");
  }

  /** Another way later is no step back. */
  get #through() {
    return this.phases.done.has("first frame");
  }

  /** @param {string} phase @param {string} [detail] */
  #tell(phase, detail) {
    const elapsed = this.phases.done.get(phase) ?? this.phases.elapsed(clockNow());
    const message = { type: "phase", phase, elapsed_s: Math.round(elapsed * 1e4) / 1e4, ...(detail ? { detail } : {}) };
    this.send(message);
  }

  /** Media come without these phases. @param {string[]} phases @param {string} way told to the room in their place */
  skip(phases, way) {
    this.phases.skip(phases, clockNow());
    if (!this.#through) this.#tell(way);
    this.waitForOthers();
    this.changed("phase");
  }

  /** Back to before a phase: what follows is to be done again. @param {string} phase */
  rewind(phase) {
    this.phases.rewind(phase, clockNow());
    this.changed("phase");
  }

  async #tick() {
    this.setLink();
    this.mesh.tick(clockNow());
    this.ways.settle();
    this.changed("tick");
    await this.meter.tick();
  }
}
