// @ts-check
/**
 * How much may be sent over a carrier that loses nothing but may be slow: acknowledgements tell how late it is.
 *
 * A queue on the way shows as round trips above the smallest of the last seconds. One that is there in every sample of a while
 * (`LATE_S`) makes the bitrate a share of what was delivered, before much waits; from `DRAIN_S` no picture is sent until all have
 * arrived, which also tells how long the way takes when it is empty. A carrier that was fast may become slow at once: as long as
 * nothing limits the bitrate, pictures wait sooner (`SOON_S`, `FREE_ROOM_S`) until all have arrived, and the rate at which they
 * came becomes the limit; what came all at once stood still and tells none. Then the bitrate comes back, slowly near the rate at
 * which there was a queue, and hardly beyond what is really delivered: of what was not sent nothing is known. After a while without
 * a queue it tries, and after a try that failed it waits longer (so do BBR, draft-cardwell-iccrg-bbr-congestion-control, and
 * draft-ietf-rmcat-gcc).
 *
 * A machine that stands still for a moment is no slow carrier: the time in which nothing ran here does not count, and what was held
 * up elsewhere arrives at once, so the newest frame of it is not late. Beyond `BEHIND_S`, or what the carrier can have taken,
 * pictures are left out before they are encoded; after `SILENT_S` without an ack nothing is sent until one comes.
 * Time is passed in, in seconds.
 */

const LATE_S = 0.18;
const DRAIN_S = 0.3;
const BEHIND_S = 0.4;
/** As long as nothing limits the bitrate. */
const SOON_S = 0.25;
const SILENT_S = 4;
/** Samples of the round trip that have to agree: those of so long, and so many. */
const AGREE_S = 0.8;
const AGREE = 3;
const SPREAD_S = 0.15;
/** Half of how long the smallest round trip counts. */
const FORGET_S = 5;
/** So long without a call nothing ran here. */
const STALL_S = 0.25;
/** How often `update` is called; a page too busy for it also reads acks late. */
const UPDATE_S = 0.1;
const LAG_SHARE = 0.2;
const MOST_DRAIN_S = 1.5;
/** How long after a drain frames that travel alone tell how long the way is. */
const ALONE_S = 1;
const LEAST_CAPACITY_BPS = 50_000;

/** What may be under way: what the carrier takes in so long, without a limit in less, or so many bytes before and after it was found slow. */
const ROOM_S = 0.2;
const FREE_ROOM_S = 0.1;
const FIRST_ROOM = 48_000;
const LEAST_ROOM = 12_000;

const TARGET = 0.85;
const STEP_S = 0.5;
const HOLD_S = 2;
/** A queue that falls by this between two looks needs nothing more. */
const FALLING_S = 0.03;
const CLIMB_PER_S = 1.06;
const GROWTH_PER_S = 1.4;
/** How far beyond what is delivered the bitrate may go without a try. */
const BEYOND = 1.25;
const PATIENCE_S = 10;
const MOST_PATIENCE_S = 60;
export const LEAST_BPS = 40_000;
const WINDOW_S = 1;
const PEAK_S = 3;
/** A share of the most that was delivered in so long: less is believed only after a drain. */
const GOOD = 0.7;
const GOOD_S = 15;
const KEEPS_UP = 0.8;

/**
 * @typedef {{number: number, bytes: number, at: number, picture: boolean, alone: boolean, stood: boolean}} UnderWay
 * `alone`: no picture was under way before it; `stood`: something stood still meanwhile, so its round trip tells nothing
 */

export class Pace {
  constructor() {
    /** Frames under way, oldest first. @type {UnderWay[]} */
    this.flight = [];
    /** What arrived of late. @type {{bytes: number, at: number}[]} */
    this.arrived = [];
    /** Round trips of late. @type {{rtt: number, at: number}[]} */
    this.trips = [];
    /** The smallest round trips of this stretch of time and of the one before. */
    this.smallest = [Infinity, Infinity];
    this.stretch = 0;
    /** @type {number | null} seconds */
    this.rtt = null;
    this.waiting = 0;
    this.underway = 0;
    this.pictures = 0;
    this.ackedAt = -Infinity;
    this.seenAt = -Infinity;
    this.updatedAt = Infinity;
    /** bit/s without a limit */
    this.wanted = 0;
    /** By how much `update` is late of late. */
    this.lag = 0;
    /** bit/s for everything; infinite until something has held it back */
    this.limit = Infinity;
    /** What was delivered when there was a queue. */
    this.ceiling = Infinity;
    /** How long the way took then. */
    this.way = 0;
    /** The most that was delivered lately, and when. */
    this.peak = { rate: 0, at: -Infinity };
    this.good = { rate: 0, at: -Infinity };
    /** The limit before it was lowered. */
    this.before = Infinity;
    /** Of a drain: how long what was under way had taken to send and took to arrive, and the round trip before. */
    this.proof = { sending: 0, arriving: Infinity, rtt: 0 };
    this.changedAt = -Infinity;
    this.queuedAt = -Infinity;
    this.queuedBefore = 0;
    this.grownAt = -Infinity;
    this.triedAt = -Infinity;
    this.patience = PATIENCE_S;
    /** Since when pictures wait for those under way. @type {number | null} */
    this.draining = null;
    this.drainedAt = -Infinity;
    /** Bytes that arrived after the first of a drain, when that came, and when the newest did. */
    this.drained = { bytes: 0, from: 0, to: 0 };
    /** Whether it was seen since the last drain how long the way takes. */
    this.knows = true;
  }

  /** @param {number} number @param {number} bytes @param {number} now @param {boolean} [picture] */
  sent(number, bytes, now, picture = true) {
    this.#wake(now);
    this.flight.push({ number, bytes, at: now, picture, alone: this.pictures === 0, stood: false });
    this.underway += bytes;
    if (picture) this.pictures += bytes;
  }

  /** @param {number} number the highest that arrived @param {number} waiting seconds it waits there @param {number} now */
  acked(number, waiting, now) {
    this.#wake(now);
    let last = null;
    let bytes = 0;
    while (this.flight.length && this.flight[0].number <= number) {
      last = /** @type {UnderWay} */ (this.flight.shift());
      this.underway -= last.bytes;
      if (last.picture) this.pictures -= last.bytes;
      bytes += last.bytes;
    }
    this.waiting = waiting;
    this.ackedAt = now;
    if (!last) return;
    this.arrived.push({ bytes, at: now });
    const { drained } = this;
    if (drained.from) drained.bytes += bytes;
    else drained.from = now;
    drained.to = now;
    if (last.stood) return;
    const rtt = now - last.at;
    this.rtt = this.rtt === null ? rtt : 0.8 * this.rtt + 0.2 * rtt;
    this.trips.push({ rtt, at: now });
    while (this.trips.length > AGREE && this.trips[0].at < now - AGREE_S) this.trips.shift();
    if (now - this.stretch > FORGET_S) {
      this.stretch = now;
      this.smallest = [Infinity, this.smallest[0]];
    }
    this.smallest[0] = Math.min(this.smallest[0], rtt);
    if (last.alone && last.at >= this.drainedAt && last.at < this.drainedAt + ALONE_S) this.#learn(rtt - (8 * last.bytes) / this.#capacity);
  }

  /** The way was empty: that is how long it takes. @param {number} rtt */
  #learn(rtt) {
    if (this.knows) return;
    const { sending, arriving, rtt: former } = this.proof;
    // it came as fast as it was sent, and the way takes as long when nothing is under way: there was no queue
    if (arriving < KEEPS_UP * sending && former - rtt < LATE_S) this.limit = Math.max(this.limit, this.before);
    this.knows = true;
    this.smallest = [rtt, Infinity];
    this.trips = [];
  }

  get #capacity() {
    return Math.max(LEAST_CAPACITY_BPS, Math.min(this.ceiling, this.peak.rate || Infinity));
  }

  /** @param {number} now */
  #wake(now) {
    const stood = now - this.seenAt;
    if (stood > STALL_S) for (const frame of this.flight) Object.assign(frame, { at: frame.at + stood, stood: true });
    this.seenAt = Math.max(this.seenAt, now);
  }

  get #quickest() {
    const quickest = Math.min(...this.smallest);
    return quickest === Infinity ? LATE_S : quickest;
  }

  /** How late the oldest frame under way is. @param {number} now @returns {number} seconds */
  late(now) {
    if (!this.flight.length) return this.waiting;
    return Math.max(this.waiting, now - this.flight[0].at - this.#quickest);
  }

  /** How long what is sent waits on the way: so much in every sample. @returns {number} seconds */
  get queue() {
    const span = this.trips.length < AGREE ? 0 : this.trips[this.trips.length - 1].at - this.trips[0].at;
    if (span < SPREAD_S) return 0; // what comes at once was held up together
    return Math.min(...this.trips.map(({ rtt }) => rtt)) - this.#quickest;
  }

  /**
   * Whether a picture may be sent now, and if not, why.
   * @param {number} now @param {number} unsent bytes that wait in the carrier @returns {"behind" | "silent" | null}
   */
  blocked(now, unsent) {
    this.#wake(now);
    const quiet = this.flight.length ? now - Math.max(this.ackedAt, this.flight[0].at) : 0;
    if (quiet > SILENT_S) return "silent";
    return this.draining !== null || this.#full(now, unsent) ? "behind" : null;
  }

  /** Whether nothing limits the bitrate. */
  get #free() {
    return this.limit >= this.wanted;
  }

  /** Whether too much is under way, or for too long. @param {number} now @param {number} unsent */
  #full(now, unsent) {
    const least = this.ceiling === Infinity ? FIRST_ROOM : LEAST_ROOM;
    const room = (BEYOND * this.peak.rate * (this.#quickest + (this.#free ? FREE_ROOM_S : ROOM_S))) / 8;
    return (this.knows && this.late(now) > (this.#free ? SOON_S : BEHIND_S)) || Math.max(this.underway, unsent) > Math.max(least, room);
  }

  /**
   * Thinks the bitrate over; a few times a second.
   * @param {number} now @param {number} wanted bit/s without a limit @returns {number} bit/s
   */
  update(now, wanted) {
    this.#wake(now);
    this.lag += LAG_SHARE * (Math.max(0, now - this.updatedAt - UPDATE_S) - this.lag);
    this.updatedAt = now;
    const delivered = this.delivered(now);
    if (delivered > this.peak.rate || now - this.peak.at > PEAK_S) this.peak = { rate: delivered, at: now };
    if (delivered > this.good.rate || now - this.good.at > GOOD_S) this.good = { rate: delivered, at: now };
    this.wanted = wanted;
    if (this.draining !== null) {
      if (this.pictures === 0 || now - this.draining > MOST_DRAIN_S) this.#drained(now);
    } else if (this.#free && this.#full(now, 0)) {
      this.before = this.limit;
      this.#drain(now);
    }
    const queued = this.knows || now - this.drainedAt > 2 * ALONE_S ? this.queue - 2 * this.lag : 0;
    if (this.draining === null) {
      if (queued <= LATE_S) this.#more(now, wanted);
      else if (now - this.changedAt > STEP_S) this.#less(now, wanted, delivered, queued);
    }
    this.grownAt = now;
    return this.limit;
  }

  /** @param {number} now @param {number} wanted @param {number} delivered @param {number} queued */
  #less(now, wanted, delivered, queued) {
    const falling = queued < this.queuedBefore - FALLING_S;
    const again = now - this.queuedAt < HOLD_S;
    this.queuedBefore = queued;
    this.#slow(now);
    if (falling && again) return;
    const from = Math.min(this.limit, wanted);
    if (!again) this.before = this.limit;
    this.ceiling = Math.max(delivered, GOOD * this.good.rate);
    this.limit = Math.max(LEAST_BPS, from / 2, TARGET * Math.min(from, this.ceiling));
    if (queued > DRAIN_S || again) this.#drain(now);
  }

  /** There was a queue. @param {number} now */
  #slow(now) {
    if (now - this.triedAt < PATIENCE_S) this.patience = Math.min(2 * this.patience, MOST_PATIENCE_S);
    this.triedAt = -Infinity;
    this.way = this.#quickest;
    this.queuedAt = this.changedAt = now;
  }

  /** @param {number} now */
  #drain(now) {
    this.draining = now;
    this.drained = { bytes: 0, from: 0, to: 0 };
    this.proof = { sending: now - (this.flight[0]?.at ?? now), arriving: Infinity, rtt: this.trips.at(-1)?.rtt ?? 0 };
  }

  /** @param {number} now */
  #drained(now) {
    const { bytes, from, to } = this.drained;
    const rate = to - from < SPREAD_S ? Infinity : (8 * bytes) / (to - from);
    if (TARGET * rate < this.wanted) {
      this.ceiling = rate;
      this.good = { rate, at: now };
      this.limit = Math.max(LEAST_BPS, Math.min(this.limit, TARGET * rate));
      this.#slow(now);
    }
    this.proof.arriving = now - (this.draining ?? now);
    this.draining = null;
    this.drainedAt = this.changedAt = now;
    this.knows = false;
    this.trips = [];
  }

  /** @param {number} now @param {number} wanted */
  #more(now, wanted) {
    const seconds = Math.min(now - Math.max(this.changedAt + HOLD_S, this.grownAt), 1);
    if (seconds <= 0 || this.limit === Infinity) return;
    if (this.#quickest < this.way / 2) this.patience = PATIENCE_S; // it is another way now
    const quiet = now - this.queuedAt;
    const near = quiet < PATIENCE_S && this.limit > TARGET * this.ceiling;
    const known = BEYOND * this.peak.rate;
    const { limit } = this;
    const next = limit * (near ? CLIMB_PER_S : GROWTH_PER_S) ** seconds;
    if (next <= known) this.limit = next;
    else if (quiet < this.patience) this.limit = Math.max(limit, known);
    else {
      this.limit = next;
      this.triedAt = now;
    }
    // of more than is wanted nothing is known
    this.limit = Math.min(this.limit, Math.max(limit, BEYOND * wanted));
  }

  /** @param {number} now @returns {number} bit/s that arrived in the last second */
  delivered(now) {
    this.arrived = this.arrived.filter(({ at }) => now - at <= WINDOW_S);
    return (8 * this.arrived.reduce((sum, { bytes }) => sum + bytes, 0)) / WINDOW_S;
  }
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
