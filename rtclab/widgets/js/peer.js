// @ts-check
/**
 * One RTCPeerConnection as a set of slots. A slot is a transceiver that sends one of our tracks or receives one of the
 * room's; a vacated slot is used again for the next track of its kind, so the session description stays short.
 */

import { adjust, boundOf, isDemanded } from "./encodings.js";
import { Gathering } from "./ice.js";

/**
 * @typedef {object} Sending
 * @property {"audio" | "video"} kind
 * @property {string} source "camera", "microphone", "screen", ...
 * @property {MediaStreamTrack | null} media null while the camera is off
 * @property {boolean} muted
 * @property {RTCRtpEncodingParameters[]} encodings one for each simulcast layer
 * @property {number} [width] @property {number} [height]
 *
 * @typedef {object} Slot
 * @property {RTCRtpTransceiver} transceiver
 * @property {"send" | "receive"} direction
 * @property {"audio" | "video"} kind
 * @property {string | null} key name of the Sending or id of the room's track; null when vacant
 * @property {number} layers
 * @property {string | null} track id the room gave to what we send, or the id of what we receive
 * @property {string} [codec] of what we send, as the room names it
 */

/**
 * The answer in which an m-line that is inactive keeps the sources that it had. Chromium decodes a stream that has left the
 * description and comes back with the same SSRC, but shows nothing of it.
 * @param {string} sdp @param {string} former the answer before it @returns {string}
 */
export function keepSources(sdp, former) {
  const sections = (/** @type {string} */ text) => text.split(/^(?=m=)/m);
  const before = sections(former);
  return sections(sdp)
    .map((section, i) => (/^a=inactive/m.test(section) ? section + (before[i]?.match(/^a=ssrc.*\r\n/gm) ?? []).join("") : section))
    .join("");
}

export class PeerLink {
  /**
   * @param {import("./ice.js").Ice} ice
   * @param {(mid: string | null, candidate: string) => void} onCandidate
   * @param {(link: PeerLink) => void} onState
   */
  constructor(ice, onCandidate, onState) {
    this.pc = new RTCPeerConnection({ ...ice, bundlePolicy: "max-bundle" });
    this.gathering = new Gathering(this.pc, ice, () => onState(this));
    /** @type {Slot[]} */
    this.slots = [];
    /** @type {import("./stats.js").Summary | null} */
    this.summary = null;
    /** One stream for all we send: audio and video of one stream are kept in sync. */
    this.stream = new MediaStream();
    this.pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) onCandidate(candidate.sdpMid, candidate.candidate);
    };
    this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = () => onState(this);
  }

  /**
   * Makes the slots agree with what is to be sent and received.
   * @param {Map<string, Sending>} sending
   * @param {Map<string, "audio" | "video">} wanted
   */
  async arrange(sending, wanted) {
    for (const slot of this.slots) {
      if (slot.key === null) continue;
      if (slot.direction === "receive") {
        if (!wanted.has(slot.key)) slot.key = slot.track = null;
      } else if (sending.get(slot.key)?.encodings.length !== slot.layers) {
        slot.key = slot.track = null;
        slot.transceiver.direction = "inactive";
        await slot.transceiver.sender.replaceTrack(null);
      }
    }
    for (const [key, item] of sending) await this.#send(key, item);
    for (const [id, kind] of wanted) this.#receive(id, kind);
    if (!this.slots.length) {
      // nothing to watch yet: connect anyway, so that the first frame comes at once when somebody publishes
      this.#receive(null, "video");
      this.#receive(null, "audio");
    }
  }

  /** @param {string} key @param {Sending} item */
  async #send(key, item) {
    const layers = item.encodings.length;
    const slot =
      this.slots.find((s) => s.direction === "send" && s.key === key) ??
      this.slots.find((s) => s.direction === "send" && s.key === null && s.kind === item.kind && s.layers === layers);
    if (!slot) {
      const transceiver = this.pc.addTransceiver(item.media ?? item.kind, {
        direction: "sendonly",
        streams: [this.stream],
        sendEncodings: item.encodings,
      });
      this.slots.push({ transceiver, direction: "send", kind: item.kind, key, layers, track: null });
      return;
    }
    slot.key = key;
    slot.transceiver.direction = "sendonly";
    const { sender } = slot.transceiver;
    if (sender.track === item.media) return;
    await sender.replaceTrack(item.media);
    await adjust(sender, (_encoding, i) => {
      const { maxBitrate } = item.encodings[i];
      return maxBitrate ? { maxBitrate } : {};
    });
  }

  /** @param {string | null} id @param {"audio" | "video"} kind */
  #receive(id, kind) {
    if (id !== null && this.slots.some((s) => s.direction === "receive" && s.key === id)) return;
    const vacant = this.slots.find((s) => s.direction === "receive" && s.key === null && s.kind === kind);
    if (vacant && id !== null) {
      vacant.key = id;
      return;
    }
    const transceiver = this.pc.addTransceiver(kind, { direction: "recvonly" });
    this.slots.push({ transceiver, direction: "receive", kind, key: id, layers: 0, track: null });
  }

  /** @param {Map<string, Sending>} sending @returns {Promise<{sdp: string, tracks: object[]}>} */
  async offer(sending) {
    await this.pc.setLocalDescription(await this.pc.createOffer());
    const tracks = [];
    for (const slot of this.slots) {
      const { mid } = slot.transceiver;
      const item = slot.key === null ? undefined : sending.get(slot.key);
      if (slot.direction === "receive") tracks.push({ mid, direction: "receive", track: slot.key });
      else if (item) {
        const { source, muted, width, height } = item;
        tracks.push({ mid, direction: "send", source, muted, ...(width && height ? { width, height } : {}) });
      }
    }
    return { sdp: this.pc.localDescription?.sdp ?? "", tracks };
  }

  /**
   * @param {string} sdp @param {{mid: string, track: string | null, codec?: string}[]} tracks
   * @param {{mid: string, code: string, message: string}[]} rejected
   * @returns {Promise<{key: string, code: string, message: string}[]>} what the room refused
   */
  async answer(sdp, tracks, rejected) {
    const former = this.pc.currentRemoteDescription?.sdp ?? "";
    await this.pc.setRemoteDescription({ type: "answer", sdp: keepSources(sdp, former) });
    const given = new Map(tracks.map((track) => [track.mid, track]));
    const refused = new Map(rejected.map((item) => [item.mid, item]));
    const failures = [];
    for (const slot of this.slots) {
      const mid = slot.transceiver.mid ?? "";
      const refusal = refused.get(mid);
      if (refusal && slot.key !== null) failures.push({ ...refusal, key: slot.key });
      if (slot.direction === "receive" && refusal) slot.key = null;
      slot.track = slot.direction === "receive" ? slot.key : (given.get(mid)?.track ?? slot.track);
      slot.codec = given.get(mid)?.codec ?? slot.codec;
    }
    this.slots = this.slots.filter((slot) => slot.transceiver.currentDirection !== "stopped");
    return failures;
  }

  async rollback() {
    if (this.pc.signalingState === "have-local-offer") await this.pc.setLocalDescription({ type: "rollback" });
    this.slots = this.slots.filter((slot) => this.pc.getTransceivers().includes(slot.transceiver));
  }

  get connected() {
    return this.pc.connectionState === "connected";
  }

  /** @param {string} mid @returns {Slot | undefined} */
  slotOf(mid) {
    return this.slots.find((s) => s.transceiver.mid === mid);
  }

  /** @param {string} key @returns {string | null} the m-line of what we send under `key` */
  midOf(key) {
    return this.slots.find((s) => s.direction === "send" && s.key === key)?.transceiver.mid ?? null;
  }

  /** The room's tracks that are negotiated now. @returns {Map<string, RTCRtpReceiver>} */
  get receivers() {
    const receivers = new Map();
    for (const { direction, track, transceiver } of this.slots) {
      if (direction === "receive" && track !== null) receivers.set(track, transceiver.receiver);
    }
    return receivers;
  }

  /**
   * Sends what the room wants of each track, without another offer.
   * @param {Map<string, import("./encodings.js").Demand>} demands by track @param {Map<string, Sending>} sending
   */
  demand(demands, sending) {
    for (const { direction, key, track, transceiver } of this.slots) {
      if (direction !== "send" || key === null || track === null) continue;
      const demand = demands.get(track);
      const encodings = sending.get(key)?.encodings ?? [];
      adjust(transceiver.sender, ({ rid }, i) => {
        const bound = boundOf(demand, encodings[i]?.maxBitrate);
        return { active: isDemanded(demand, rid), maxBitrate: bound === Infinity ? undefined : bound };
      });
    }
  }

  /** What we send, by the id that the room gave to it. @param {Map<string, Sending>} sending @returns {Map<string, Sending>} */
  sent(sending) {
    const sent = new Map();
    for (const { direction, key, track } of this.slots) {
      const item = key === null ? undefined : sending.get(key);
      if (direction === "send" && track !== null && item) sent.set(track, item);
    }
    return sent;
  }

  /** @param {string} key @returns {string | null} the id the room gave to the track we send under `key` */
  sentTrack(key) {
    return this.slots.find((s) => s.direction === "send" && s.key === key)?.track ?? null;
  }

  /** The connection's statistics, and which track each m-line carries; null while there is nothing to measure. */
  async measure() {
    if (!this.connected) return null;
    const byMid = new Map();
    for (const { transceiver, track, kind, key } of this.slots) {
      if (transceiver.mid !== null && track !== null && key !== null) byMid.set(transceiver.mid, { track, kind });
    }
    return { report: await this.pc.getStats(), byMid };
  }

  close() {
    this.pc.onicecandidate = this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = null;
    this.pc.close();
  }
}
