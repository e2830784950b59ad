// @ts-check
/**
 * One connection to another client, by perfect negotiation (W3C webrtc-pc section 10.7).
 *
 * Either side may offer at any time. When both do, the impolite one ignores what it gets and the polite one takes its own
 * offer back by an implicit rollback. Each m-line goes one way: whoever sends on it has made it.
 */

import { adjust } from "./encodings.js";
import { Gathering } from "./ice.js";

/**
 * @typedef {object} PeerContent what one client says to another, through the room
 * @property {{type: "offer" | "answer", sdp: string} | null} [description]
 * @property {{candidate: string, sdpMid: string | null, sdpMLineIndex: number | null} | null} [candidate]
 * @property {{mid: string, track: string}[]} [tracks] which of the sender's tracks travel on its description's m-lines
 *
 * @typedef {object} MeshSlot a transceiver that sends
 * @property {RTCRtpTransceiver} transceiver @property {"audio" | "video"} kind
 * @property {string | null} track the room's id of what we send; null when vacant
 */

/** A certificate's fingerprint names one RTCPeerConnection. @param {string} sdp @returns {string | null} */
const fingerprintOf = (sdp) => sdp.match(/^a=fingerprint:\S+ (\S+)/m)?.[1] ?? null;

/** No layers here: each connection has an encoder of its own. @param {import("./peer.js").Sending} item */
const bitrateOf = ({ encodings }) => encodings.at(-1)?.maxBitrate;

/** What a direct connection needs. Others would take numbers that another implementation's offer may have given to these. */
const EXTENSIONS = /(sdes:mid|abs-send-time|transport-wide-cc-extensions-01)$/;

/** @param {any} transceiver with the methods of W3C webrtc-extensions, where there are any */
function limitExtensions(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  for (const extension of extensions) if (!EXTENSIONS.test(extension.uri)) extension.direction = "stopped";
  if (extensions.length) transceiver.setHeaderExtensionsToNegotiate(extensions);
}

export class MeshLink {
  /**
   * @param {{id: string, name: string, polite: boolean}} peer
   * @param {import("./ice.js").Ice} ice
   * @param {{say: (content: PeerContent) => void, changed: () => void, failed: () => void}} hooks
   */
  constructor(peer, ice, { say, changed, failed }) {
    this.peer = peer;
    this.polite = peer.polite;
    this.say = say;
    this.changed = changed;
    this.failed = failed;
    this.makingOffer = false;
    this.ignoreOffer = false;
    this.isSettingRemoteAnswerPending = false;
    this.described = Promise.resolve();
    /** @type {string | null} */
    this.fingerprint = null;
    this.restarted = false;
    /** @type {MeshSlot[]} */
    this.slots = [];
    /** The other's tracks, by m-line. @type {Map<string, string>} */
    this.incoming = new Map();
    this.announced = "[]";
    /** @type {import("./stats.js").Summary | null} */
    this.summary = null;
    this.stream = new MediaStream();
    // not "max-bundle": with it Chromium may gather nothing after an offer was taken back
    const pc = new RTCPeerConnection({ ...ice });
    this.pc = pc;
    this.gathering = new Gathering(pc, ice, changed);
    /** Settled with the first candidate, or when there is none. */
    this.gathered = new Promise((done) => pc.addEventListener("icecandidate", done, { once: true }));
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      const { sdpMid, sdpMLineIndex } = candidate;
      this.say({ candidate: { candidate: candidate.candidate, sdpMid, sdpMLineIndex } });
    };
    pc.oniceconnectionstatechange = () => {
      if (pc.iceConnectionState === "failed") this.#restartIce();
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected") this.restarted = false;
      changed();
    };
    pc.ontrack = ({ track }) => {
      track.onunmute = track.onmute = track.onended = changed;
    };
  }

  get connected() {
    return this.pc.connectionState === "connected";
  }

  /** What to send: exactly these. @param {Map<string, import("./peer.js").Sending>} sending by the room's track id */
  arrange(sending) {
    for (const slot of this.slots) {
      if (slot.track === null || sending.has(slot.track)) continue;
      slot.track = null;
      slot.transceiver.direction = "inactive";
      slot.transceiver.sender.replaceTrack(null);
    }
    for (const [track, item] of sending) this.#send(track, item);
    this.#announce();
  }

  /** @param {string} track @param {import("./peer.js").Sending} item */
  #send(track, item) {
    const slot =
      this.slots.find((one) => one.track === track) ?? this.slots.find((one) => one.track === null && one.kind === item.kind);
    const maxBitrate = bitrateOf(item);
    if (!slot) {
      const transceiver = this.pc.addTransceiver(item.media ?? item.kind, {
        direction: "sendonly",
        streams: [this.stream],
        sendEncodings: [maxBitrate ? { maxBitrate } : {}],
      });
      limitExtensions(transceiver);
      this.slots.push({ transceiver, kind: item.kind, track });
      return;
    }
    slot.track = track;
    slot.transceiver.direction = "sendonly";
    const { sender } = slot.transceiver;
    if (sender.track === item.media) return;
    sender.replaceTrack(item.media);
    if (maxBitrate) adjust(sender, () => ({ maxBitrate }));
  }

  /** @returns {{mid: string, track: string}[]} */
  get #tracks() {
    return this.slots.flatMap(({ track, transceiver: { mid } }) => (track !== null && mid !== null ? [{ mid, track }] : []));
  }

  /** A vacant m-line that was taken again needs no negotiation, but the other must hear what it carries. */
  #announce() {
    if (this.pc.signalingState !== "stable" || this.makingOffer) return;
    if (JSON.stringify(this.#tracks) !== this.announced) this.#offer();
  }

  async #offer() {
    try {
      this.makingOffer = true;
      await this.#describe();
    } catch (error) {
      if (this.pc.signalingState !== "closed") throw error;
    } finally {
      this.makingOffer = false;
    }
  }

  async #describe() {
    await this.pc.setLocalDescription();
    const { type, sdp } = /** @type {any} */ (this.pc.localDescription);
    const tracks = this.#tracks;
    this.announced = JSON.stringify(tracks);
    this.say({ description: { type, sdp }, tracks });
  }

  /** Whether a description is of another connection than the one we have been talking to: the other has begun anew. @param {PeerContent} content */
  isOfAnother({ description }) {
    return Boolean(description && this.fingerprint !== null && fingerprintOf(description.sdp) !== this.fingerprint);
  }

  /** @param {PeerContent} content */
  async receive({ description, candidate, tracks }) {
    const { pc } = this;
    try {
      if (description) {
        const readyForOffer = !this.makingOffer && (pc.signalingState === "stable" || this.isSettingRemoteAnswerPending);
        const offerCollision = description.type === "offer" && !readyForOffer;
        this.ignoreOffer = !this.polite && offerCollision;
        if (this.ignoreOffer) return;
        this.isSettingRemoteAnswerPending = description.type === "answer";
        this.fingerprint = fingerprintOf(description.sdp);
        this.incoming = new Map((tracks ?? []).map(({ mid, track }) => [mid, track]));
        try {
          this.described = this.#accept(description, offerCollision);
          await this.described;
        } finally {
          this.isSettingRemoteAnswerPending = false;
        }
        if (description.type === "offer") await this.#describe();
        this.changed();
        this.#announce();
      } else if (candidate) {
        try {
          await this.described; // Chromium refuses a candidate while the first description is being set
          await pc.addIceCandidate(candidate);
        } catch (error) {
          if (!this.ignoreOffer) throw error;
        }
      }
    } catch (error) {
      // what belongs to an offer that was taken back, or comes after the end, is of no use any more
      if (pc.signalingState !== "closed") console.debug("rtclab: not taken from another client:", error);
    }
  }

  /** @param {RTCSessionDescriptionInit} description @param {boolean} rollback whether our own offer is taken back for it */
  async #accept(description, rollback) {
    // Chromium gathers nothing any more when an offer is taken back before the page has found its first candidate
    if (rollback) await this.gathered;
    await this.pc.setRemoteDescription(description);
  }

  #restartIce() {
    if (this.restarted) {
      this.failed();
      return;
    }
    this.restarted = true;
    this.pc.restartIce();
  }

  /** What comes from the other, by the room's track id. @returns {Map<string, RTCRtpReceiver>} */
  get receivers() {
    const receivers = new Map();
    for (const { mid, receiver } of this.pc.getTransceivers()) {
      const track = mid === null ? undefined : this.incoming.get(mid);
      if (track !== undefined) receivers.set(track, receiver);
    }
    return receivers;
  }

  /** The connection's statistics, and which track each m-line carries; null while there is nothing to measure. */
  async measure() {
    if (!this.connected) return null;
    const byMid = new Map();
    for (const { mid, receiver } of this.pc.getTransceivers()) {
      const track = this.incoming.get(mid ?? "") ?? this.slots.find(({ transceiver }) => transceiver.mid === mid)?.track;
      if (mid !== null && track) byMid.set(mid, { track, kind: receiver.track.kind });
    }
    return { report: await this.pc.getStats(), byMid };
  }

  /** Says nothing more to the other; media go on until one of the two closes. */
  retire() {
    this.say = () => {};
    this.failed = () => {};
  }

  close() {
    const { pc } = this;
    pc.onnegotiationneeded = pc.onicecandidate = pc.oniceconnectionstatechange = null;
    pc.onconnectionstatechange = pc.ontrack = null;
    pc.close();
  }
}
