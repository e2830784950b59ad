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
    }
    for (const peer of peers) if (!this.links.has(peer.id)) this.#begin(peer);
    this.changed();
  }

  /** @param {{id: string, name: string, polite: boolean}} peer @returns {MeshLink} */
  #begin(peer) {
    this.links.get(peer.id)?.close();
    /** @type {MeshLink} */
    const link = new MeshLink(peer, this.ice, {
      say: (content) => this.say(peer.id, content),
      changed: this.changed,
      failed: () => this.links.get(peer.id) === link && this.#begin(peer),
    });
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
    for (const link of this.links.values()) {
      const { connectionState, remoteDescription } = link.pc;
      if (connectionState === "connected" || !remoteDescription) this.begun.set(link, now);
      else if (now - (this.begun.get(link) ?? now) > CONNECT_WITHIN_S) this.#begin(link.peer);
    }
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
    this.sending = new Map();
  }
}
