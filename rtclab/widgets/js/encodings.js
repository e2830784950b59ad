// @ts-check
/** Which encodings of a track are sent: what the room wants of it, as the `active` flags of RTCRtpSender.setParameters. */

/**
 * @typedef {object} Demand what the room wants of a track that we publish; everything until it says so
 * @property {boolean} active @property {string[] | null} rids exactly these layers; null: all
 * @property {string | null} reason why not everything
 * @property {number} [max_bitrate] bit/s
 */

/** @param {Demand | undefined} demand @param {string | undefined} rid @returns {boolean} */
export function isDemanded(demand, rid) {
  if (!demand) return true;
  return demand.active && (!rid || !demand.rids || demand.rids.includes(rid));
}

/** Bit/s that a layer may have. @param {Demand | undefined} demand @param {number | undefined} most */
export const boundOf = (demand, most) => Math.min(most ?? Infinity, demand?.max_bitrate ?? Infinity);

/** Parameters must be set as they were got, so each sender's changes wait for one another. @type {WeakMap<RTCRtpSender, Promise<void>>} */
const turns = new WeakMap();

/**
 * Changes the encodings of a sender; neither the capture nor the session description is touched.
 * @param {RTCRtpSender} sender @param {(encoding: RTCRtpEncodingParameters, index: number) => Partial<RTCRtpEncodingParameters>} change
 * @returns {Promise<void>}
 */
export function adjust(sender, change) {
  const turn = (turns.get(sender) ?? Promise.resolve()).then(async () => {
    const parameters = sender.getParameters();
    let changed = false;
    parameters.encodings.forEach((encoding, index) => {
      for (const [name, value] of Object.entries(change(encoding, index))) {
        changed ||= encoding[name] !== value;
        encoding[name] = value;
      }
    });
    // a refusal keeps the former parameters, which still work; the next answer tries again
    if (changed) await sender.setParameters(parameters).catch(() => {});
  });
  turns.set(sender, turn);
  return turn;
}
