// @ts-check
/**
 * How much may be sent over a carrier that loses nothing but may be slow: acknowledgements tell how late it is.
 *
 * Late is how much longer than the quickest round trip the oldest frame has been under way. From `LATE_S` the bitrate goes
 * down, from `BEHIND_S` frames are dropped before they are encoded; after `SILENT_S` without an ack nothing is sent until one
 * comes. The bitrate follows what was delivered, is at most halved at a time, and comes back slowly. And no more is under way than
 * the carrier has taken in such a time before, so that one that becomes slow at once has little to catch up with.
 * Time is passed in, in seconds.
 */

const LATE_S = 0.3;
const BEHIND_S = 0.4;
const SILENT_S = 4;
const ROOM_S = 0.12;
const LEAST_ROOM = 48_000;
const STEP_S = 0.5;
const HOLD_S = 1.5;
const GROWTH_PER_S = 1.4;
/** An encoder given less than this makes nothing that can be seen. */
const LEAST_LAYER_BPS = 80_000;
const WINDOW_S = 1;
const FORGET_S = 4;
/** The least share of its bitrate that makes another layer worth sending. */
const WORTH = 0.5;

export class Pace {
  constructor() {
    /** Frames under way, oldest first. @type {{number: number, bytes: number, at: number}[]} */
    this.flight = [];
    /** What arrived of late. @type {{bytes: number, at: number}[]} */
    this.arrived = [];
    /** The quickest round trips of this stretch of time and of the one before. */
    this.quickest = [Infinity, Infinity];
    this.stretch = 0;
    /** @type {number | null} seconds */
    this.rtt = null;
    this.waiting = 0;
    this.underway = 0;
    this.ackedAt = -Infinity;
    /** bit/s for everything; infinite while nothing holds it back */
    this.limit = Infinity;
    this.changedAt = -Infinity;
    this.grownAt = -Infinity;
  }

  /** @param {number} number @param {number} bytes @param {number} now */
  sent(number, bytes, now) {
    this.flight.push({ number, bytes, at: now });
    this.underway += bytes;
  }

  /** @param {number} number the highest that arrived @param {number} waiting seconds it waits there @param {number} now */
  acked(number, waiting, now) {
    let last = null;
    while (this.flight.length && this.flight[0].number <= number) {
      last = /** @type {{bytes: number, at: number}} */ (this.flight.shift());
      this.underway -= last.bytes;
      this.arrived.push({ bytes: last.bytes, at: now });
    }
    this.waiting = waiting;
    this.ackedAt = now;
    if (!last) return;
    const rtt = now - last.at;
    this.rtt = this.rtt === null ? rtt : 0.8 * this.rtt + 0.2 * rtt;
    if (now - this.stretch > FORGET_S) {
      this.stretch = now;
      this.quickest = [Infinity, this.quickest[0]];
    }
    this.quickest[0] = Math.min(this.quickest[0], rtt);
  }

  /** How late the carrier is. @param {number} now @returns {number} seconds */
  late(now) {
    if (!this.flight.length) return this.waiting;
    return Math.max(this.waiting, now - this.flight[0].at - this.#quickest);
  }

  get #quickest() {
    const quickest = Math.min(...this.quickest);
    return quickest === Infinity ? LATE_S : quickest;
  }

  /**
   * Whether a picture may be sent now, and if not, why.
   * @param {number} now @param {number} unsent bytes that wait in the carrier @returns {"behind" | "silent" | null}
   */
  blocked(now, unsent) {
    const quiet = this.flight.length ? now - Math.max(this.ackedAt, this.flight[0].at) : 0;
    if (quiet > SILENT_S) return "silent";
    const room = Math.max(LEAST_ROOM, (1.25 * this.delivered(now) * (this.#quickest + ROOM_S)) / 8);
    return this.late(now) > BEHIND_S || Math.max(this.underway, unsent) > room ? "behind" : null;
  }

  /**
   * Thinks the bitrate over; a few times a second.
   * @param {number} now @param {number} wanted bit/s without a limit @returns {number} bit/s
   */
  update(now, wanted) {
    const delivered = this.delivered(now);
    const late = this.late(now) > LATE_S;
    if (late && now - this.changedAt > STEP_S) {
      const from = Math.min(this.limit, wanted);
      this.limit = Math.max(LEAST_LAYER_BPS, 0.5 * from, Math.min(0.85 * from, 0.9 * delivered));
      this.changedAt = now;
    }
    const still = now - Math.max(this.changedAt + HOLD_S, this.grownAt);
    if (!late && still > 0 && this.limit < Infinity) {
      this.limit *= GROWTH_PER_S ** Math.min(still, 1);
      if (this.limit > wanted) this.limit = Infinity;
    }
    this.grownAt = Math.max(now, this.changedAt + HOLD_S);
    return this.limit;
  }

  /** @param {number} now @returns {number} bit/s that arrived in the last second */
  delivered(now) {
    this.arrived = this.arrived.filter(({ at }) => now - at <= WINDOW_S);
    return (8 * this.arrived.reduce((sum, { bytes }) => sum + bytes, 0)) / WINDOW_S;
  }
}

/**
 * What each layer may have of a bitrate. The lowest that is wanted is always sent, each higher one only when enough is left.
 * @param {number} limit bit/s @param {{most: number, wanted: boolean}[]} layers the smallest first
 * @returns {number[]} bit/s, 0 where nothing is to be sent
 */
export function share(limit, layers) {
  let left = limit;
  let lowest = true;
  return layers.map(({ most, wanted }) => {
    if (!wanted || (!lowest && left < WORTH * most)) {
      if (wanted) left = 0;
      return 0;
    }
    const given = Math.min(most, Math.max(left, LEAST_LAYER_BPS));
    lowest = false;
    left = Math.max(0, left - given);
    return given;
  });
}

const ACK_FRAMES = 10;
const ACK_S = 0.1;

/** When to acknowledge what comes: after ten frames, or 100 ms after the first that was not acknowledged. */
export class Acks {
  constructor() {
    this.number = 0;
    this.acked = 0;
    this.since = 0;
  }

  /** @param {number} number @param {number} now @returns {boolean} whether none before it was lost */
  taken(number, now) {
    const next = number === this.number + 1;
    if (this.number === this.acked) this.since = now;
    this.number = Math.max(this.number, number);
    return next;
  }

  /** @param {number} now @returns {boolean} */
  due(now) {
    const waiting = this.number - this.acked;
    return waiting >= ACK_FRAMES || (waiting > 0 && now - this.since >= ACK_S - 0.001);
  }

  /** @returns {number} the number to acknowledge */
  take() {
    return (this.acked = this.number);
  }
}
