// @ts-check
/** Requests and their replies, matched by number, and the pings that tell how long the kernel has been silent. */

const MOST_PINGS = 32;

/** The room's refusal of a request, or why a source cannot be captured: a code for programs, a sentence for people. */
export class RoomError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** @returns {number} seconds, monotonic */
export const clockNow = () => performance.now() / 1000;

export class Requests {
  /** @param {(message: object) => boolean} send says whether the carrier took it */
  constructor(send) {
    this.send = send;
    this.nextId = 1;
    /** @type {Map<number, {resolve: (reply: any) => void, reject: (error: Error) => void, track?: string, at: number}>} */
    this.pending = new Map();
    /** @type {Map<number, number>} when each unanswered ping left */
    this.pings = new Map();
  }

  /**
   * @param {Record<string, any>} message
   * @param {string} [track] a `consumer` message for this track is the reply, too
   * @returns {Promise<any>} the room's reply; waits as long as the kernel is busy
   */
  ask(message, track) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, track, at: clockNow() });
      if (this.send({ ...message, id })) return;
      this.pending.delete(id);
      reject(new RoomError("gone", "The kernel is gone."));
    });
  }

  ping() {
    const id = this.nextId++;
    this.pings.set(id, clockNow());
    if (this.pings.size > MOST_PINGS) this.pings.delete(this.pings.keys().next().value ?? 0);
    this.send({ type: "ping", id });
  }

  /** Hands a message to whoever waits for it. @param {any} message */
  settle(message) {
    if (message.type === "pong") this.pings.clear();
    if (message.type === "consumer") {
      for (const [id, { track, resolve }] of this.pending) {
        if (track !== message.track) continue;
        this.pending.delete(id);
        resolve(message);
      }
    }
    const waiting = this.pending.get(message.re);
    if (!waiting) return;
    this.pending.delete(message.re);
    if (message.type === "error") waiting.reject(new RoomError(message.code, message.message));
    else waiting.resolve(message);
  }

  /** How long the oldest ping has waited for its pong, in seconds. @param {number} now */
  silence(now) {
    return this.pings.size ? now - Math.min(...this.pings.values()) : 0;
  }

  /** How long the oldest request has waited for its reply, in seconds. @param {number} now */
  waited(now) {
    return Math.max(0, ...[...this.pending.values()].map(({ at }) => now - at));
  }

  /** Ends one wait: what is asked for has no meaning any more. @param {number} id */
  drop(id) {
    this.settle({ type: "error", re: id, code: "moved", message: "The room has begun anew with this client." });
  }

  /** Ends every wait. @param {RoomError} why */
  clear(why) {
    for (const { reject } of this.pending.values()) reject(why);
    this.pending.clear();
    this.pings.clear();
  }
}
