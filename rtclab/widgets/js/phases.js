// @ts-check
/** The way to the first frame, step by step: which phase is on, how long each took, and what to try when one hangs. */

export const STUCK_AFTER_S = 10;

/**
 * A clock over named phases. Time is passed in, in seconds; `pause` takes waiting for other people out of the count.
 */
export class PhaseClock {
  /** @param {string[]} names phases in order */
  constructor(names) {
    this.names = names;
    /** @type {Map<string, number>} */
    this.done = new Map();
    /** Those that the media need not pass. @type {Set<string>} */
    this.skipped = new Set();
    /** @type {string | null} */
    this.failed = null;
    /** @type {number | null} */
    this.startedAt = null;
    /** @type {number | null} */
    this.pausedAt = null;
    this.enteredAt = 0;
  }

  reset() {
    this.done.clear();
    this.skipped.clear();
    this.failed = this.startedAt = this.pausedAt = null;
    this.enteredAt = 0;
  }

  /** @param {number} now */
  start(now) {
    this.reset();
    this.startedAt = now;
    this.enteredAt = now;
  }

  /** Back to before `name`: it and all that follow are to be done again. @param {string} name @param {number} now */
  rewind(name, now) {
    for (const later of this.names.slice(this.names.indexOf(name))) this.done.delete(later);
    this.skipped.clear();
    this.failed = null;
    this.startedAt = now;
    this.pausedAt = null;
    this.enteredAt = now;
  }

  /** The phase that is on now, or null when idle or through. @returns {string | null} */
  get current() {
    if (this.startedAt === null) return null;
    return this.names.find((name) => !this.done.has(name) && !this.skipped.has(name)) ?? null;
  }

  /** What follows goes on without these. @param {string[]} names @param {number} now */
  skip(names, now) {
    for (const name of names) this.skipped.add(name);
    this.enteredAt = now;
  }

  /** @param {number} now @returns {number} */
  elapsed(now) {
    if (this.startedAt === null) return 0;
    return Math.max(0, (this.pausedAt ?? now) - this.startedAt);
  }

  /** Marks `name` as reached. @param {string} name @param {number} now @returns {boolean} whether it is news */
  reach(name, now) {
    if (this.startedAt === null || this.done.has(name) || !this.names.includes(name)) return false;
    this.resume(now);
    this.done.set(name, this.elapsed(now));
    this.enteredAt = now;
    return true;
  }

  /** @param {number} now */
  fail(now) {
    this.failed = this.current;
    this.pause(now);
  }

  /** @param {number} now */
  pause(now) {
    if (this.startedAt !== null) this.pausedAt ??= now;
  }

  /** @param {number} now */
  resume(now) {
    if (this.pausedAt === null || this.startedAt === null || this.failed !== null) return;
    this.startedAt += now - this.pausedAt;
    this.enteredAt += now - this.pausedAt;
    this.pausedAt = null;
  }

  /** The phase that has hung for too long, if any. @param {number} now @returns {string | null} */
  stuck(now) {
    if (this.current === null || this.pausedAt !== null || this.failed !== null) return null;
    return now - this.enteredAt >= STUCK_AFTER_S ? this.current : null;
  }

  /** @returns {{name: string, state: "todo" | "now" | "done" | "failed" | "skipped", elapsed: number | null}[]} */
  get steps() {
    const current = this.current;
    return this.names.map((name) => ({
      name,
      state: this.done.has(name)
        ? "done"
        : this.skipped.has(name)
          ? "skipped"
          : name === this.failed
            ? "failed"
            : name === current && this.pausedAt === null
              ? "now"
              : "todo",
      elapsed: this.done.get(name) ?? null,
    }));
  }
}

/**
 * What is stuck and what to try.
 * @param {string} phase @param {"participant" | "viewer"} role @param {string} source @param {"kernel" | "server"} [home]
 */
export function stuckAdvice(phase, role, source, home) {
  const served = home === "server";
  switch (phase) {
    case "permission":
      return source === "screen"
        ? ["Waiting for you to choose what to share.", "Pick a tab, window or screen in the browser's dialog, or press Stop."]
        : [
            "Waiting for permission to capture.",
            "Look for the browser's question near the address bar and allow it, or press Stop and choose the test pattern.",
          ];
    case "signaling":
      if (served) return ["The server has not answered.", "Look whether it is still running, and reload this page."];
      return [
        "The kernel has not answered.",
        "By comm it hears of this page only between cells: if one is running, let it finish or interrupt the kernel; " +
          "if the room was closed, run its cell again.",
      ];
    case "ICE":
      return [
        "No UDP path between this browser and the room.",
        served
          ? "UDP may be blocked on the way to the server: try a firewall setting, or rtclab serve --udp-port with a port that is open."
          : "If the kernel runs elsewhere (a hub, Binder, a container), UDP may be blocked: try a VPN or firewall setting, or " +
            "Room(udp_port=…, host_candidates=[…]) with an address this browser can reach.",
      ];
    case "DTLS":
      return [
        "A path was found, but the encrypted handshake does not finish.",
        `A firewall may pass only small packets. ${served ? "Reload this page." : "Run the cell again; if it stays, restart the kernel."}`,
      ];
    default:
      return role === "viewer"
        ? [
            "Connected, but no picture has arrived.",
            "The publisher may be paused, or this browser cannot play the codec. room.stats() shows what is sent and dropped.",
          ]
        : [
            "Connected, but no picture has been sent.",
            "The source gives no frames: another program may hold the camera. Choose another source or press Stop and Start.",
          ];
  }
}
