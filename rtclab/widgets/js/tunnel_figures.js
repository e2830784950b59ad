// @ts-check
/** What is counted of one stream in a tunnel, and the rows of figures made of it: the same names as getStats gives (stats.js). */

export class Tally {
  constructor() {
    this.bytes = 0;
    this.frames = 0;
    this.keyframes = 0;
    this.width = 0;
    this.height = 0;
    /** Frames that were left out, by reason. @type {Map<string, number>} */
    this.dropped = new Map();
    /** @type {string | null} the reason of the last that was left out */
    this.reason = null;
    this.limited = "none";
    this.before = { at: 0, bytes: 0, frames: 0, dropped: 0 };
    this.rates = { fps: 0, bitrate_bps: /** @type {number | null} */ (null), drop_reason: /** @type {string | null} */ (null) };
  }

  /** @param {number} bytes @param {boolean} key @param {number} width @param {number} height @param {number} now */
  pass(bytes, key, width, height, now) {
    this.before.at ||= now;
    this.bytes += bytes;
    this.frames += 1;
    if (key) this.keyframes += 1;
    if (width) [this.width, this.height] = [width, height];
  }

  /** @param {string} reason @param {number} [count] */
  drop(reason, count = 1) {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + count);
    this.reason = reason;
  }

  get drops() {
    return [...this.dropped.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The rates since the last time. @param {number} now seconds */
  measure(now) {
    const { before, bytes, frames, drops: dropped } = this;
    const seconds = now - before.at;
    if (!before.at || seconds < 0.2) return;
    this.rates = {
      fps: Math.round((frames - before.frames) / seconds),
      bitrate_bps: (8 * (bytes - before.bytes)) / seconds,
      drop_reason: dropped > before.dropped ? this.reason : null,
    };
    this.before = { at: now, bytes, frames, dropped };
  }
}

/** @param {Tally} tally @param {"audio" | "video"} kind @param {number | null} rtt seconds @returns {import("./stats.js").Row} */
export function tunnelRow(tally, kind, rtt) {
  const { width, height, bytes, frames, keyframes, drops, rates } = tally;
  const pictured = kind === "video" ? { width: width || null, height: height || null, keyframes } : { width: null, height: null };
  return { kind, via: "tunnel", rtt_s: rtt, loss: null, jitter_s: null, ...pictured, ...rates, bytes, frames, packets: frames, frames_dropped: drops };
}

/** @param {{rid: string, figures: Tally}[]} layers the smallest first @param {number | null} rtt @returns {import("./stats.js").Row} */
export function tunnelSentRow(layers, rtt) {
  const rows = [...layers].reverse().map(({ rid, figures }) => ({ rid, active: figures.rates.fps > 0, limited: figures.limited, ...tunnelRow(figures, "video", rtt) }));
  const largest = rows.find(({ active }) => active) ?? rows[0];
  const sum = (/** @type {string} */ name) => rows.reduce((total, row) => total + (row[name] ?? 0), 0);
  const sums = Object.fromEntries(["bitrate_bps", "bytes", "packets", "keyframes", "frames_dropped"].map((name) => [name, sum(name)]));
  const shown = rows.map(({ rid, active, width, height, fps, bitrate_bps, limited }) => ({ rid, active, width, height, fps, bitrate_bps, limited }));
  return { ...largest, ...sums, layers: shown };
}
