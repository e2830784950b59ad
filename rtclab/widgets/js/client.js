// @ts-check
/**
 * A room's client: the signaling session over any carrier (`send` out, `receive` in) and one peer connection.
 *
 *   join -> welcome; offer -> answer, one at a time, whenever what we send or watch changes; ping every 3 s.
 *   A lost network is healed by an ICE restart, then by a new peer connection; a lost session by joining again with its token.
 *
 * It knows neither a notebook nor a page: the widgets and a stand-alone page drive it alike.
 */

import { PeerLink } from "./peer.js";
import { PhaseClock } from "./phases.js";
import { clockNow, Requests, RoomError } from "./requests.js";
import { flat, hasFrames, summarise } from "./stats.js";
import { ViewSizes } from "./view_sizes.js";

const PING_EVERY_MS = 3000;
const STATS_EVERY_MS = 1000;
const FIRST_FRAME_POLL_MS = 100;
const BUSY_AFTER_S = 7;
const GONE_AFTER_S = 20;
const RESTART_AFTER_MS = 3000;
const RESTARTS_BEFORE_NEW_PEER = 2;
/** Refusals of an offer that a later one need not meet: a track left meanwhile, the room has forgotten us. */
const PASSING = ["unknown_track", "offer_pending", "not_joined"];
const MOST_TRIES = 5;
const RETRY_AFTER_MS = 400;

/**
 * @typedef {object} Track as the room lists it
 * @property {string} id @property {{id: string, name: string}} participant @property {"audio" | "video"} kind
 * @property {string} source @property {boolean} muted @property {string | null} codec
 * @property {{rid: string, width: number | null, height: number | null, bitrate_bps: number | null, active: boolean}[]} layers
 *
 * @typedef {object} ClientOptions
 * @property {(message: object) => void} send throws when the carrier is gone
 * @property {"participant" | "viewer"} role
 * @property {string | null} [name]
 * @property {string | null} [session] resume token of an earlier session
 * @property {(token: string | null) => void} [onSession] called to remember the token
 * @property {"kernel" | "server"} [home] where the room lives, for what people are told
 */

export class RoomClient {
  /** @param {ClientOptions} options */
  constructor({ send, role, name = null, session = null, onSession = () => {}, home = "kernel" }) {
    this.transmit = send;
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
    /** @type {import("./stats.js").Summary | null} */
    this.summary = null;
    /** @type {Map<string, import("./peer.js").Sending>} */
    this.sending = new Map();
    /** @type {Map<string, "audio" | "video">} */
    this.wanted = new Map();
    /** @type {Set<(what: string) => void>} */
    this.observers = new Set();
    /** @type {PeerLink | null} */
    this.peer = null;
    this.requests = new Requests((message) => this.#send(message));
    this.views = new ViewSizes((track, size) => {
      return this.status === "joined" && this.tracks.has(track) && this.#send({ type: "view", track, ...size });
    });
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
    this.generation = 0;
    this.restarts = 0;
    this.moved = { bytes: 0, at: 0 };
    /** @type {any[]} */
    this.timers = [];
    this.dirty = false;
    /** @type {Promise<void> | null} */
    this.negotiation = null;
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
      setInterval(() => this.#watchFirstFrame(), FIRST_FRAME_POLL_MS),
    ];
    this.changed("state");
    return this.#join();
  }

  async #join() {
    const { generation } = this;
    try {
      const welcome = await this.#requestJoin();
      if (generation !== this.generation) return false;
      this.status = "joined";
      this.session = welcome.session;
      this.onSession(this.session);
      this.participant = welcome.participant;
      this.room = welcome.room;
      this.iceServers = welcome.ice_servers;
      if (!welcome.resumed) {
        this.picked.clear();
        this.#dropPeer();
      }
      this.#setTracks(welcome.tracks);
      this.views.renew();
      this.changed("state");
      return true;
    } catch (error) {
      if (generation === this.generation) this.fail(error);
      return false;
    }
  }

  async #requestJoin() {
    const join = { type: "join", version: 1, name: this.name, role: this.role, agent: navigator.userAgent.slice(0, 256) };
    try {
      return await this.requests.ask({ ...join, session: this.session });
    } catch (error) {
      if (this.session === null || !(error instanceof RoomError) || error.code !== "unknown_session") throw error;
      this.session = null;
      this.onSession(null);
      return this.requests.ask({ ...join, session: null });
    }
  }

  /** Leaves for good. @param {string} [phase] told to the room as the reason */
  stop(phase = "stopped") {
    if (this.status === "joining" || this.status === "joined") {
      this.#tell(phase);
      this.#send({ type: "leave" });
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
    this.#dropPeer();
    this.status = status;
    this.tracks.clear();
    this.consumers.clear();
    this.levels = {};
    this.active = null;
    this.summary = null;
    this.requests.clear();
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
      this.#send({ type: "leave" });
    }
    this.#shut("closed");
  }

  /** The page goes: a last word, which may not get through. The token stays, for the page that comes back. */
  wave() {
    if (this.status === "joined") this.#send({ type: "leave" });
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

  /** @param {object} message @returns {boolean} */
  #send(message) {
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
    this.requests.settle(message);
    switch (message.type) {
      case "pong":
        this.#setLink();
        return;
      case "error":
        if (message.code === "not_joined" && this.status === "joined") this.#rejoin();
        return;
      case "tracks":
        this.#setTracks(message.tracks);
        return;
      case "consumer":
        this.consumers.set(message.track, message);
        this.changed("consumer");
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

  /** The room has forgotten us (a sleeping laptop, a long cell): join again, with the token if it still counts. */
  #rejoin() {
    this.status = "joining";
    this.requests.pings.clear();
    this.changed("state");
    this.#join().then((joined) => {
      if (joined) this.negotiate();
    });
  }

  #ping() {
    if (this.status === "joined") this.requests.ping();
  }

  #setLink() {
    const ice = this.peer?.pc.iceConnectionState;
    const now = clockNow();
    const waited = this.requests.silence(now);
    const broken = ice === "disconnected" || ice === "failed";
    const flowing = now - this.moved.at < 3;
    if (waited > GONE_AFTER_S && broken && !flowing) return this.lost();
    const link = broken ? "reconnecting" : waited > BUSY_AFTER_S ? "busy" : "ok";
    if (link !== this.link) {
      this.link = link;
      this.changed("state");
    }
  }

  // ---- media ----

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
    if (track) this.#send({ type: "mute", track, muted });
  }

  /** @param {string} track @param {string} rid a layer, or "auto" */
  async pickLayer(track, rid) {
    const before = this.picked.get(track) ?? "auto";
    this.picked.set(track, rid);
    try {
      await this.requests.ask({ type: "layer", track, rid, temporal: null }, track);
    } catch (error) {
      this.picked.set(track, before);
      this.refusals.set(`layer ${track}`, error instanceof Error ? error.message : "");
      this.changed("tracks");
    }
  }

  /** Offers what there is now; calls during a negotiation make one more round. @returns {Promise<void>} */
  negotiate() {
    this.dirty = true;
    this.negotiation ??= this.#negotiateAll().finally(() => {
      this.negotiation = null;
    });
    return this.negotiation;
  }

  async #negotiateAll() {
    for (let tries = 0; this.dirty && this.status === "joined"; ) {
      this.dirty = false;
      const { generation } = this;
      try {
        await this.#offer();
        tries = 0;
      } catch (error) {
        if (generation !== this.generation) return;
        tries += 1;
        const passing = error instanceof RoomError && PASSING.includes(error.code) && tries < MOST_TRIES;
        if (!passing) return this.fail(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
        this.dirty = true;
      }
    }
  }

  async #offer() {
    this.peer ??= new PeerLink(
      this.iceServers,
      (mid, candidate) => this.#send({ type: "candidate", mid, candidate }),
      (peer) => this.#peerState(peer),
    );
    const { peer } = this;
    await peer.arrange(this.sending, this.wanted);
    const offer = await peer.offer(this.sending);
    let reply;
    try {
      reply = await this.requests.ask({ type: "offer", ...offer });
    } catch (error) {
      if (peer === this.peer) await peer.rollback();
      throw error;
    }
    if (peer !== this.peer) return;
    this.reach("signaling");
    const refused = await peer.answer(reply.sdp, reply.tracks, reply.rejected ?? []);
    for (const { key, message } of refused) {
      this.refusals.set(key, message);
      this.wanted.delete(key);
    }
    if (this.sending.size && [...this.sending.keys()].every((key) => this.refusals.has(key))) {
      throw new RoomError(refused[0]?.code ?? "not_allowed", refused[0]?.message ?? "The room refused every track.");
    }
    this.#peerState(peer);
    this.changed("remote");
    this.#waitForOthers();
  }

  /** With nobody to watch the clock stands still: that is no fault. */
  #waitForOthers() {
    if (this.role === "viewer" && this.phases.current === "first frame") {
      if (this.wanted.size) this.phases.resume(clockNow());
      else this.phases.pause(clockNow());
      this.changed("phase");
    }
  }

  /** @param {PeerLink} peer */
  #peerState(peer) {
    if (peer !== this.peer) return;
    const { iceConnectionState: ice, connectionState: state } = peer.pc;
    if (ice === "connected" || ice === "completed") {
      this.restarts = 0;
      this.reach("ICE");
    }
    if (state === "connected") {
      this.reach("DTLS");
      this.#waitForOthers();
    }
    if (ice === "disconnected") setTimeout(() => this.#restartIce(peer, ["disconnected"]), RESTART_AFTER_MS);
    else if (ice === "failed") this.#restartIce(peer, ["failed"]);
    else if (state === "failed") this.#renew();
    this.#setLink();
  }

  /** @param {PeerLink} peer @param {string[]} states in which it is still called for */
  #restartIce(peer, states) {
    if (peer !== this.peer || this.status !== "joined" || !states.includes(peer.pc.iceConnectionState)) return;
    this.restarts += 1;
    if (this.restarts > RESTARTS_BEFORE_NEW_PEER) return this.#renew();
    peer.pc.restartIce();
    this.negotiate();
  }

  /** A new peer connection for the same session. */
  #renew() {
    this.restarts = 0;
    this.#dropPeer();
    this.phases.rewind("signaling", clockNow());
    this.changed("phase");
    setTimeout(() => this.status === "joined" && this.negotiate(), RESTART_AFTER_MS);
  }

  #dropPeer() {
    this.peer?.close();
    this.peer = null;
  }

  /** @returns {Map<string, MediaStreamTrack>} */
  get remote() {
    return this.peer?.remote ?? new Map();
  }

  // ---- phases and figures ----

  /** @param {string} phase */
  reach(phase) {
    if (!this.phases.reach(phase, clockNow())) return;
    this.#tell(phase);
    this.changed("phase");
  }

  /** @param {string} phase @param {string} [detail] */
  #tell(phase, detail) {
    const elapsed = this.phases.done.get(phase) ?? this.phases.elapsed(clockNow());
    const message = { type: "phase", phase, elapsed_s: Math.round(elapsed * 1e4) / 1e4, ...(detail ? { detail } : {}) };
    this.#send(message);
  }

  async #tick() {
    this.#setLink();
    this.changed("tick");
    const { peer } = this;
    const got = await peer?.measure();
    if (!got || peer !== this.peer) return;
    this.summary = summarise(got.report, got.byMid, this.summary);
    if (this.summary.bytes > this.moved.bytes) this.moved = { bytes: this.summary.bytes, at: clockNow() };
    this.moved.bytes = this.summary.bytes;
    const tracks = [...this.summary.rows].map(([track, row]) => ({ track, ...flat(row) }));
    if (tracks.length) this.#send({ type: "stats", time: Date.now() / 1000, tracks });
    this.changed("stats");
  }

  /** Polls fast, but only while the first frame is what we wait for. */
  async #watchFirstFrame() {
    if (this.phases.current !== "first frame" || this.phases.pausedAt !== null) return;
    const { peer } = this;
    const got = await peer?.measure();
    if (got && peer === this.peer && hasFrames(got.report, got.byMid)) this.reach("first frame");
  }
}
