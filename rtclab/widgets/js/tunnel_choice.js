// @ts-check
/**
 * Which way media go between this page and the room: by UDP (WebRTC), or through the tunnel (tunnel.js).
 *
 * WebRTC is tried first. When it is not connected 2 s after the room's answer the tunnel opens, and soon after a connection was
 * lost; WebRTC may still connect and then takes over. While the tunnel is open WebRTC is tried again: at once where it was
 * lost, after 30 s, then every 60 s.
 */

import { remembered } from "./local.js";
import { clockNow } from "./requests.js";
import { Tunnel } from "./tunnel.js";
import { hasCodecs } from "./tunnel_play.js";

const UDP_WITHIN_S = 2;
/** ICE has waited some seconds before it says so. */
const LOST_S = 0.5;
const FIRST_RETRY_S = 30;
const RETRY_S = 60;
/** Refusals that say nothing about the tunnel. */
const NOT_REFUSED = ["moved", "gone", "closed", "not_joined"];
/** How long the pictures of a tunnel that was closed may stay until WebRTC has its own. */
const STAY_S = 8;

/**
 * What to do now. Times are in seconds.
 * @param {object} state
 * @param {"auto" | "webrtc" | "websocket"} state.transport as the room was made
 * @param {boolean} state.open @param {boolean} state.connected by WebRTC
 * @param {number | null} state.aloneSince when the room answered while WebRTC was not connected, or when that was lost
 * @param {boolean} state.lost whether it was connected before
 * @param {boolean} state.needed whether this tab needed it before
 * @param {number} state.retryAt when to try WebRTC again
 * @param {number} now
 * @returns {{step: "open" | "close" | "retry", reason: string} | null}
 */
export function nextStep({ transport, open, connected, aloneSince, lost, needed, retryAt }, now) {
  if (open) {
    if (transport === "websocket") return null;
    if (connected) return { step: "close", reason: "UDP gets through now" };
    return now >= retryAt ? { step: "retry", reason: "" } : null;
  }
  if (aloneSince === null || transport === "webrtc") return null;
  if (transport === "websocket") return { step: "open", reason: 'the room was made with transport="websocket"' };
  if (connected) return null;
  if (lost) return now - aloneSince >= LOST_S ? { step: "open", reason: "UDP does not get through any more" } : null;
  if (needed) return { step: "open", reason: "UDP did not get through when this tab tried it last" };
  const late = now - aloneSince >= UDP_WITHIN_S;
  return late ? { step: "open", reason: `UDP did not get through within ${UDP_WITHIN_S} s` } : null;
}

export class TunnelChoice {
  /** @param {import("./client.js").RoomClient} client */
  constructor(client) {
    this.client = client;
    /** @type {"auto" | "webrtc" | "websocket"} */
    this.transport = "auto";
    /** @type {number | null} */
    this.aloneSince = null;
    /** The connection that was connected last. @type {import("./peer.js").PeerLink | null} */
    this.proven = null;
    this.retryAt = Infinity;
    /** Why the room, or this browser, does without a tunnel. @type {string | null} */
    this.refusal = null;
    /** A tunnel that was closed, whose pictures are still shown. @type {{tunnel: Tunnel, since: number} | null} */
    this.leaving = null;
    this.asking = false;
  }

  get #key() {
    return `tunnel.${this.client.room?.id}`;
  }

  /** The room has taken us in, perhaps again over another carrier, to which it has to be told of the tunnel once more. @param {"auto" | "webrtc" | "websocket"} transport */
  welcomed(transport) {
    this.transport = transport;
    const { tunnel } = this.client;
    if (!tunnel) return;
    tunnel.begin();
    this.#ask(true, tunnel.reason);
  }

  /** The room has answered an offer. */
  answered() {
    const { client } = this;
    if (client.tunnel) client.tunnel.arrange();
    else if (client.peer?.connected === false) this.aloneSince ??= clockNow();
    this.tick();
  }

  /** Looks what is to be done; a few times a second. */
  tick() {
    const { client, transport, retryAt } = this;
    const now = clockNow();
    const connected = client.peer?.connected ?? false;
    const lost = this.proven !== null && this.proven === client.peer;
    if (connected) {
      this.aloneSince = null;
      this.proven = client.peer;
    } else if (lost) this.aloneSince ??= now;
    if (this.leaving && now - this.leaving.since > STAY_S) this.#left();
    if (this.asking || this.refusal !== null || client.status !== "joined") return;
    const needed = remembered.get("session", this.#key) !== null;
    const next = nextStep({ transport, open: client.tunnel !== null, connected, aloneSince: this.aloneSince, lost, needed, retryAt }, now);
    if (next?.step === "open") this.#open(next.reason, lost);
    else if (next?.step === "close") this.#close(next.reason);
    else if (next) {
      this.retryAt = now + RETRY_S;
      client.connection.retry();
    }
  }

  /** @param {boolean} open @param {string} reason @returns {Promise<boolean>} */
  async #ask(open, reason) {
    const { client } = this;
    const { generation } = client;
    this.asking = true;
    try {
      const reply = await client.requests.ask({ type: "tunnel", open, reason, decode: hasCodecs() ? "webcodecs" : "images" });
      if (client.tunnel && client.role === "viewer" && reply.reason !== reason) client.tunnel.note = reply.reason;
      return generation === client.generation;
    } catch (error) {
      const { code, message } = /** @type {RoomError} */ (error);
      if (generation === client.generation && !NOT_REFUSED.includes(code)) this.refusal = message;
      return false;
    } finally {
      this.asking = false;
    }
  }

  /** @param {string} reason @param {boolean} lost */
  async #open(reason, lost) {
    const { client } = this;
    // before the reply: frames may come with it
    this.#left();
    client.tunnel = new Tunnel(client, reason);
    if (!(await this.#ask(true, reason))) {
      client.tunnel?.close();
      client.tunnel = null;
      client.changed("state");
      return;
    }
    this.retryAt = clockNow() + FIRST_RETRY_S;
    if (this.transport === "auto") remembered.set("session", this.#key, "1");
    client.tunnel.arrange();
    client.skip(["ICE", "DTLS"], "tunnel");
    client.changed("state");
    // the room may have ended what went by a connection that it had lost, too
    if (lost) client.connection.retry();
    else client.negotiate();
  }

  /** @param {string} reason */
  async #close(reason) {
    const { client } = this;
    if (!(await this.#ask(false, reason)) || !client.tunnel) return;
    client.tunnel.retire();
    this.leaving = { tunnel: client.tunnel, since: clockNow() };
    client.tunnel = null;
    remembered.set("session", this.#key, null);
    client.ways.switched();
    client.changed("state");
  }

  /** What is to be seen by way of the tunnel. @returns {Map<string, import("./tunnel_play.js").PicturePlayer | import("./tunnel_play.js").SoundPlayer>} */
  get players() {
    return (this.client.tunnel ?? this.leaving?.tunnel)?.players ?? new Map();
  }

  #left() {
    const { leaving } = this;
    this.leaving = null;
    if (!leaving) return;
    this.client.ways.settle();
    leaving.tunnel.close();
  }

  drop() {
    this.aloneSince = this.proven = this.refusal = null;
    this.client.tunnel?.close();
    this.client.tunnel = null;
    this.#left();
  }
}
