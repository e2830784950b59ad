// @ts-check
/** What an architecture is called and what it means, in the words that people read. */

/**
 * @typedef {object} Architecture how the room forwards
 * @property {string} name
 * @property {boolean} direct clients connect to each of `peers`
 * @property {boolean} mixed clients get what the room mixes, in place of each other's tracks
 * @property {{id: string, name: string, polite: boolean}[]} peers
 */

/** @param {string} name @returns {Architecture} */
export const plainArchitecture = (name) => ({ name, direct: false, mixed: false, peers: [] });

const TITLES = { mesh: "mesh", relay: "relay", sfu: "SFU", mcu: "MCU" };
const HOW = {
  relay: "the room forwards one encoding to those who ask",
  sfu: "the room forwards a layer to each view",
  mcu: "the room mixes everyone into one picture",
};

/** @param {string} name */
export const titleOf = (name) => TITLES[name] ?? name;

/** How media come and go. @param {Architecture} architecture @param {number} connected how many peers are reached @returns {string} */
export function wayText({ name, direct, mixed, peers }, connected) {
  const title = titleOf(name);
  if (direct) {
    const all = peers.length;
    if (!all) return `${title}: nobody else to connect to`;
    const others = all === 1 ? "1 other" : `${all} others`;
    return `${title}: directly to ${connected === all ? others : `${connected} of ${others}`}`;
  }
  return `${title}: ${HOW[name] ?? (mixed ? HOW.mcu : "the room forwards")}`;
}

/** Why there is less than there could be, or nothing: the codes of rtclab/forwarding/layers.py. */
const REASONS = {
  publisher_sends_nothing: "nothing is being sent",
  muted: "switched off by the publisher",
  hidden: "not in view",
  codec_not_supported: "this browser cannot play the codec",
  waiting_for_keyframe: "waiting for a keyframe",
  layer_not_sent: "what was picked is not being sent",
  view_size: "fits this view",
  loss: "packets are lost",
  bandwidth: "the way to here carries no more",
  picked: "as picked",
  direct: "it goes directly from one to the other",
  mixed: "it is in the mixed picture",
  last_n: "not among the N who spoke last",
  not_asked: "not in view, so not asked for",
  not_watched: "nobody watches",
  layer_not_needed: "nobody needs it",
  behind: "the connection cannot keep up",
  silent: "nothing is acknowledged",
  encoder_busy: "this machine encodes too slowly",
  decoder_busy: "this machine decodes too slowly",
  not_decoded: "it cannot be decoded",
  not_encoded: "it cannot be encoded",
  carrier_lost: "the connection is being made anew",
};

/** @param {string} code */
export function reasonText(code) {
  return REASONS[code] ?? code.replaceAll("_", " ");
}
