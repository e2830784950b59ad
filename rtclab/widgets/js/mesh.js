// @ts-check
/**
 * The connections to other clients, where the room only signals: one for each peer that the room names.
 *
 * When the room takes the media over again the connections stay for a moment, so that pictures go on until its own arrive.
 */

import { MeshLink } from "./mesh_link.js";
import { clockNow } from "./requests.js";

const STAY_MS = 1000;
const CONNECT_WITHIN_S = 10;

/** @typedef {import("./mesh_link.js").PeerContent} PeerContent */

export class Mesh {
  /** @param {{say: (to: string, content: PeerContent) => void, changed: () => void}} hooks */
  constructor({ say, changed }) {
    this.say = say;
    this.changed = changed;
    /** @type {import("./ice.js").Ice} */
    this.ice = {};
    /** @type {Map<string, MeshLink>} */
    this.links = new Map();
    /** Those that are about to be closed. @type {Set<MeshLink>} */
    this.leaving = new Set();
    /** @type {Map<string, import("./peer.js").Sending>} by the room's track id */
    this.sending = new Map();
    /** When each link was begun. @type {WeakMap<MeshLink, number>} */
    this.begun = new WeakMap();
    /** Since when each of the others has been spoken to and not been reached, by client id. @type {Map<string, number>} */
    this.apart = new Map();
    /** @type {any} */
    this.timer = 0;
  }

  /** Connects to exactly these. @param {import("./architecture.js").Architecture} architecture */
  update({ direct, peers }) {
    if (!direct) {
      this.#retire();
      return;
    }
    this.#closeLeaving();
    const named = new Set(peers.map(({ id }) => id));
    for (const [id, link] of this.links) {
      if (named.has(id)) continue;
      link.close();
      this.links.delete(id);
      this.apart.delete(id);
    }
    for (const peer of peers) if (!this.links.has(peer.id)) this.#begin(peer);
    this.changed();
  }

  /** @param {{id: string, name: string, polite: boolean}} peer @returns {MeshLink} */
  #begin(peer) {
    const former = this.links.get(peer.id);
    former?.close();
    /** @type {MeshLink} */
    const link = new MeshLink(peer, this.ice, {
      say: (content) => this.say(peer.id, content),
      changed: this.changed,
      failed: () => this.links.get(peer.id) === link && this.#begin(peer),
    });
    for (const [url, failure] of former?.gathering.failures ?? []) link.gathering.failures.set(url, failure);
    this.links.set(peer.id, link);
    this.begun.set(link, clockNow());
    link.arrange(this.sending);
    return link;
  }

  /** What to send to everyone: exactly these. @param {Map<string, import("./peer.js").Sending>} sending by the room's track id */
  arrange(sending) {
    this.sending = sending;
    for (const link of this.links.values()) link.arrange(sending);
  }

  /** @param {PeerContent & {from: string}} message forwarded by the room */
  receive({ from, ...content }) {
    let link = this.links.get(from);
    if (link?.isOfAnother(content)) link = this.#begin(link.peer);
    link?.receive(content);
  }

  /** Begins again with those who cannot be reached. @param {number} now */
  tick(now) {
    for (const [id, link] of this.links) {
      const { connectionState, remoteDescription } = link.pc;
      if (link.connected) this.apart.delete(id);
      else if (remoteDescription && !this.apart.has(id)) this.apart.set(id, now);
      if (connectionState === "connected" || !remoteDescription) this.begun.set(link, now);
      else if (now - (this.begun.get(link) ?? now) > CONNECT_WITHIN_S) this.#begin(link.peer);
    }
  }

  /** What is wrong while some of the others cannot be reached; null when nothing is known to be. @param {number} now */
  problem(now) {
    const isLate = (/** @type {MeshLink} */ { peer }) => now - (this.apart.get(peer.id) ?? now) > CONNECT_WITHIN_S;
    const waiting = [...this.links.values()].filter((link) => !link.connected && (link.gathering.relayOnly || isLate(link)));
    const noRelay = waiting.map(({ gathering }) => gathering.problem).find(Boolean);
    if (noRelay) return noRelay;
    const late = waiting.filter(isLate);
    if (!late.length) return null;
    const relays = this.ice.iceServers?.some(({ urls }) => [urls].flat().some((url) => url.startsWith("turn")));
    const advice = relays
      ? "The TURN server in ice_servers= does not help: check that both sides can reach it"
      : "Give the room a TURN server, Room(ice_servers=[…])";
    return {
      title: `No connection to ${late.map(({ peer }) => peer.name).join(" and ")}.`,
      text: `In a mesh everyone connects to everyone, and nothing gets through between you. ${advice}, or let the room forward: room.architecture = "sfu".`,
    };
  }

  get connected() {
    return [...this.links.values()].filter(({ connected }) => connected).length;
  }

  /** What comes from the others, by the room's track id. @returns {Map<string, RTCRtpReceiver>} */
  get receivers() {
    return new Map([...this.leaving, ...this.links.values()].flatMap(({ receivers }) => [...receivers]));
  }

  #retire() {
    if (!this.links.size) return;
    for (const link of this.links.values()) {
      link.retire();
      this.leaving.add(link);
    }
    this.links.clear();
    this.apart.clear();
    this.timer = setTimeout(() => {
      this.#closeLeaving();
      this.changed();
    }, STAY_MS);
    this.changed();
  }

  #closeLeaving() {
    clearTimeout(this.timer);
    for (const link of this.leaving) link.close();
    this.leaving.clear();
  }

  close() {
    this.#closeLeaving();
    for (const link of this.links.values()) link.close();
    this.links.clear();
    this.apart.clear();
    this.sending = new Map();
  }
}
