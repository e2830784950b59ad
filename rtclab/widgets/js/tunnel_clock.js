// @ts-check
/** Time in a tunnel: when something was captured, and when it is to be shown. Both learn from when things arrive. */

const JUMP_S = 1;
/** Half of how long the smallest difference counts. */
const MEMORY_S = 3;
/** A clock that has fallen behind is followed at this pace, and at once from this far. */
const FOLLOW = 0.02;
const ASTRAY_S = 0.1;
const LEAST_DELAY_S = 0.02;
const MOST_DELAY_S = 0.5;
const MARGIN_S = 0.01;
/** What arrives so much later than the quickest of its track in the last seconds is not shown. */
export const STALE_S = 0.6;

/**
 * The smallest difference between two clocks in the last seconds: either may drift, or stand still for a while, as that of sound does
 * on a machine that is too slow for it. Times are in seconds.
 */
export class Offset {
  /** @param {number} [jump] a larger difference is another clock, and taken at once */
  constructor(jump = JUMP_S) {
    this.jump = jump;
    /** @type {number | null} */
    this.value = null;
    this.at = 0;
    /** The smallest of this stretch of time and of the one before. */
    this.smallest = [Infinity, Infinity];
    this.since = 0;
  }

  /** @param {number} time on the one clock @param {number} now on the other @returns {number} how much later than the quickest */
  learn(time, now) {
    const seen = now - time;
    if (this.value === null || Math.abs(seen - this.value) > this.jump) {
      this.value = seen;
      this.smallest = [seen, seen];
      this.since = now;
    } else if (now - this.since > MEMORY_S) {
      this.smallest = [Infinity, this.smallest[0]];
      this.since = now;
    }
    this.smallest[0] = Math.min(this.smallest[0], seen);
    const behind = Math.min(...this.smallest) - this.value;
    this.value += behind > ASTRAY_S ? behind : Math.min(behind, FOLLOW * Math.max(0, now - this.at));
    this.at = now;
    return seen - this.value;
  }
}

/** From the timestamps of a track to one clock for all tracks of a page: what was captured together has the same time. */
export class CaptureClock {
  constructor() {
    this.offset = new Offset();
  }

  /** @param {number} timestamp seconds, of the end of what was captured @param {number} now */
  captured(timestamp, now) {
    this.offset.learn(timestamp, now);
  }

  /** @param {number} timestamp seconds @returns {number} seconds on the clock of `now` */
  time(timestamp) {
    return timestamp + (this.offset.value ?? 0);
  }
}

/** When the sound and the pictures of one publisher are due: late enough for most to have arrived. */
export class PlayoutClock {
  constructor() {
    this.offset = new Offset();
    this.jitter = 0;
    /** How much later than due the sound really is; pictures follow it. @type {number} */
    this.soundLate = 0;
    this.soundAt = -Infinity;
  }

  /** @param {number} time seconds, of the capture @param {number} now */
  arrived(time, now) {
    const later = this.offset.learn(time, now);
    this.jitter += (later > this.jitter ? 0.15 : 0.005) * (later - this.jitter);
  }

  get delay() {
    return Math.min(MOST_DELAY_S, Math.max(LEAST_DELAY_S, this.jitter + MARGIN_S));
  }

  /** @param {number} time @returns {number} when it is due here */
  due(time) {
    return time + (this.offset.value ?? 0) + this.delay;
  }

  /** @param {number} late seconds @param {number} now */
  heard(late, now) {
    this.soundLate = late;
    this.soundAt = now;
  }

  /** When a picture is due: with the sound, as long as there is some. @param {number} time @param {number} now @returns {number} */
  pictureDue(time, now) {
    return this.due(time) + (now - this.soundAt < 0.5 ? this.soundLate : 0);
  }
}
