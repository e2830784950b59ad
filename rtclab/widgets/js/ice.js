// @ts-check
/** What a connection finds of the room's STUN and TURN servers, and what to say when that is nothing. */

/**
 * @typedef {{iceServers?: RTCIceServer[], iceTransportPolicy?: RTCIceTransportPolicy}} Ice
 * @typedef {{url: string, errorCode: number, errorText: string}} Failure as RTCPeerConnectionIceErrorEvent has it
 */

const REFUSED = [401, 403, 437, 441, 486, 508];

/** @param {Failure} failure @returns {string} a sentence */
export function describeFailure({ url, errorCode, errorText }) {
  const text = errorText ? ` (${errorCode} ${errorText.replace(/\.$/, "")})` : ` (${errorCode})`;
  if (errorCode === 401) return `${url} refused the username or the password${text}.`;
  if (errorCode === 486) return `${url} gives this user no more relays${text}.`;
  return REFUSED.includes(errorCode) ? `${url} refused${text}.` : `${url} could not be reached${text}.`;
}

export class Gathering {
  /** @param {RTCPeerConnection} pc @param {Ice} ice @param {() => void} changed */
  constructor(pc, ice, changed) {
    this.relayOnly = ice.iceTransportPolicy === "relay";
    this.relays = 0;
    this.ended = false;
    /** The last failure of each server. @type {Map<string, Failure>} */
    this.failures = new Map();
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.type === "relay") this.relays += 1;
      else if (!candidate) this.ended = true;
      if (!candidate) changed();
    });
    pc.addEventListener("icecandidateerror", ({ url, errorCode, errorText }) => {
      if (!url?.startsWith("turn")) return;
      this.failures.set(url, { url, errorCode, errorText });
      changed();
    });
  }

  /** What is wrong while there is no relay; null when nothing is known to be. @returns {{title: string, text: string} | null} */
  get problem() {
    const failures = [...this.failures.values()];
    if (this.relays || !(failures.length || (this.relayOnly && this.ended))) return null;
    const reasons = failures.map(describeFailure).join(" ") || "The browser found no TURN server that it can use.";
    const advice = this.relayOnly
      ? 'The room allows no other way: check ice_servers, or use Room(ice_transport_policy="all").'
      : "Only a direct way is left: check the room's ice_servers if there is none.";
    return { title: "The TURN server gives no relay.", text: `${reasons} ${advice}` };
  }
}
