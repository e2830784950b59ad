// @ts-check
/**
 * The connection to the room: offers, one at a time, whenever what we send or watch changes.
 *
 * A lost network is healed by an ICE restart, then by a new peer connection.
 */

import { PeerLink } from "./peer.js";
import { RoomError } from "./requests.js";

const RESTART_AFTER_MS = 3000;
const RESTARTS_BEFORE_NEW_PEER = 2;
/** Refusals of an offer that a later one need not meet: a track left meanwhile, the room has forgotten us, the carrier was lost. */
const PASSING = ["unknown_track", "offer_pending", "not_joined", "moved"];
const MOST_TRIES = 5;
const RETRY_AFTER_MS = 400;

export class RoomConnection {
  /** @param {import("./client.js").RoomClient} client */
  constructor(client) {
    this.client = client;
    /** @type {PeerLink | null} */
    this.peer = null;
    this.restarts = 0;
    this.dirty = false;
    /** @type {Promise<void> | null} */
    this.negotiation = null;
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
    const { client } = this;
    for (let tries = 0; this.dirty && client.status === "joined"; ) {
      this.dirty = false;
      const { generation } = client;
      try {
        await this.#offer();
        tries = 0;
      } catch (error) {
        if (generation !== client.generation) return;
        tries += 1;
        const passing = error instanceof RoomError && PASSING.includes(error.code) && tries < MOST_TRIES;
        if (!passing) return client.fail(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
        this.dirty = true;
      }
    }
  }

  async #offer() {
    const { client } = this;
    const { sending } = client;
    this.peer ??= new PeerLink(
      client.ice,
      (mid, candidate) => client.send({ type: "candidate", mid, candidate }),
      (peer) => this.#peerState(peer),
    );
    const { peer } = this;
    await peer.arrange(sending, client.wanted);
    const offer = await peer.offer(sending);
    let reply;
    try {
      reply = await client.requests.ask({ type: "offer", ...offer });
    } catch (error) {
      if (peer === this.peer) await peer.rollback();
      throw error;
    }
    if (peer !== this.peer) return;
    client.reach("signaling");
    // without candidates nothing connects, and nothing is encoded for a connection that is not to be used
    const sdp = client.choice.transport === "websocket" ? reply.sdp.replace(/^a=candidate:.*\r\n/gm, "") : reply.sdp;
    const refused = await peer.answer(sdp, reply.tracks, reply.rejected ?? []);
    for (const { key, message } of refused) {
      client.refusals.set(key, message);
      client.wanted.delete(key);
    }
    const keys = new Set(refused.map(({ key }) => key));
    if (client.sending.size && [...client.sending.keys()].every((key) => keys.has(key))) {
      throw new RoomError(refused[0]?.code ?? "not_allowed", refused[0]?.message ?? "The room refused every track.");
    }
    client.negotiated(peer);
    this.#peerState(peer);
  }

  /** @param {PeerLink} peer */
  #peerState(peer) {
    if (peer !== this.peer) return;
    const { iceConnectionState: ice, connectionState: state } = peer.pc;
    if (ice === "connected" || ice === "completed") {
      this.restarts = 0;
      this.client.reach("ICE");
    }
    if (state === "connected") {
      this.client.reach("DTLS");
      this.client.waitForOthers();
    }
    if (ice === "disconnected") setTimeout(() => this.#restartIce(peer, ["disconnected"]), RESTART_AFTER_MS);
    else if (ice === "failed") this.#restartIce(peer, ["failed"]);
    else if (state === "failed" && !this.client.tunnel) this.#renew();
    this.client.choice.tick();
    this.client.setLink();
  }

  /** Tries once more to find a way by UDP. */
  retry() {
    this.peer?.pc.restartIce();
    this.negotiate();
  }

  /** @param {PeerLink} peer @param {string[]} states in which it is still called for */
  #restartIce(peer, states) {
    if (peer !== this.peer || this.client.tunnel || this.client.status !== "joined" || !states.includes(peer.pc.iceConnectionState)) return;
    this.restarts += 1;
    if (this.restarts > RESTARTS_BEFORE_NEW_PEER) {
      this.#renew();
      return;
    }
    this.retry();
  }

  /** A new peer connection for the same session. */
  #renew() {
    this.restarts = 0;
    this.drop();
    this.client.rewind("signaling");
    setTimeout(() => this.client.status === "joined" && this.negotiate(), RESTART_AFTER_MS);
  }

  drop() {
    this.peer?.close();
    this.peer = null;
    this.client.ways.settle();
  }
}
