// @ts-check
/** The page's side of the doctor: makes its checks one after the other and tells the kernel, which sums up. */

import { browserName, checkCamera, checkCodecs, checkPermission, checkSecure, within } from "./doctor_browser.js";
import { checkExtension, checkIceServers, checkServer, checkUdp, CONNECT_MS, GATHER_MS, median, msText, openLine, PINGS, serverConfig } from "./doctor_ways.js";

const KERNEL_MS = 10_000;
const WAITS = 0.6; // of the time that a cell runs: a reply that takes longer has waited for the cell
const UDP_HINT = `Where no datagram passes this takes ${CONNECT_MS / 1000} s.`;
const ICE_HINT = `A silent server takes ${GATHER_MS / 1000} s.`;
const NO_REPLY = "The kernel does not reply: a cell is running, or the kernel is gone.";

/** @typedef {{check: string, title: string, where: string, state: string, detail: string}} Row */

export class Examination {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2);
    /** @type {Row[]} */
    this.rows = model.get("checks").map(([check, title, where]) => ({ check, title, where, state: "waiting", detail: "" }));
    /** @type {{tone: "info" | "warn" | "error", sentence: string} | null} */
    this.verdict = null;
    this.running = false;
    this.started = false;
    this.dead = false;
    /** @type {Set<() => void>} */
    this.observers = new Set();
    /** @type {Map<string, (content: any) => void>} who waits for what the kernel says */
    this.waiting = new Map();
    this.nextPing = 1;
    /** Numbers what is told: the kernel may handle it on several threads, out of order. */
    this.nextResult = 1;
    this.relayed = this.absent = false;
    this.onContent = (/** @type {any} */ content) => this.receive(content);
    this.onSignal = (/** @type {any} */ _message) => {};
    this.signalId = "";
    model.on("msg:custom", this.onContent);
  }

  close() {
    this.model.off("msg:custom", this.onContent);
    this.dead = true;
  }

  /** @param {() => void} observer @returns {() => void} */
  observe(observer) {
    this.observers.add(observer);
    return () => this.observers.delete(observer);
  }

  changed() {
    for (const observer of this.observers) observer();
  }

  /** @param {string} check @returns {Row} */
  row(check) {
    return /** @type {Row} */ (this.rows.find((row) => row.check === check));
  }

  get done() {
    return this.rows.filter(({ state }) => state !== "waiting" && state !== "running").length;
  }

  // with the kernel

  /** @param {any} content */
  say(content) {
    try {
      this.model.send({ doctor: this.id, ...content });
    } catch {
      this.dead = true; // the comm is gone; what is asked is not replied to
    }
  }

  /** @param {any} content @param {string} reply @param {number} [ms] @returns {Promise<any>} */
  ask(content, reply, ms = KERNEL_MS) {
    const replied = new Promise((resolve) => this.waiting.set(reply, resolve));
    this.say(content);
    return within(replied, ms, NO_REPLY);
  }

  /** @param {any} content */
  receive(content) {
    if (content?.client === this.signalId) this.onSignal(content.message);
    if (content?.doctor !== this.id && content?.doctor !== "") return;
    if (content.say === "rows") {
      for (const { check, state, detail } of content.rows) Object.assign(this.row(check), { state, detail });
    } else if (content.say === "verdict") {
      this.verdict = content;
    } else {
      const key = content.say === "pong" ? `pong ${content.n}` : content.say;
      this.waiting.get(key)?.(content);
      this.waiting.delete(key);
    }
    this.changed();
  }

  /** @param {Row} row */
  tell({ check, state, detail }) {
    this.say({ say: "result", n: this.nextResult++, check, state, detail, relayed: this.relayed, absent: this.absent });
  }

  async ping() {
    const n = this.nextPing++;
    const begun = performance.now();
    await this.ask({ say: "ping", n }, `pong ${n}`);
    return performance.now() - begun;
  }

  // the examination

  start() {
    if (!this.started) this.again();
  }

  async again() {
    if (this.running) return;
    this.started = this.running = true;
    this.verdict = null;
    for (const row of this.rows) if (row.where === "page") Object.assign(row, { state: "waiting", detail: "" });
    this.changed();
    try {
      await this.examine();
    } finally {
      this.running = false;
      this.say({ say: "end" });
      for (const row of this.rows) if (row.where === "page") this.tell(row);
      this.changed();
    }
  }

  /**
   * Shows a check while it runs, then what it found; tells the kernel.
   * @param {string} check @param {() => any} make @param {string} [hint] shown while it runs @returns {Promise<any>} the finding
   */
  async check(check, make, hint = "") {
    const row = this.row(check);
    Object.assign(row, { state: "running", detail: hint });
    this.tell(row);
    this.changed();
    const finding = await Promise.resolve()
      .then(make)
      .catch((error) => ({ state: "fail", detail: `${error?.message ?? error}` }));
    Object.assign(row, { state: finding.state, detail: finding.detail });
    if (check === "udp") {
      this.relayed = finding.relayed === true;
      this.absent = finding.absent === true;
    }
    this.tell(row);
    this.changed();
    return finding;
  }

  async examine() {
    const config = serverConfig();
    // first of all: what follows is told to the kernel, which listens to the page that began
    const room = this.ask({ say: "begin", browser: browserName(config) }, "room").catch(() => null);
    await this.check("secure", checkSecure);
    const { granted } = await this.check("permission", checkPermission);
    const later = { state: "none", detail: "Not tried, as the browser would ask you first: press Try the camera." };
    await this.check("camera", granted ? checkCamera : () => later);
    await this.check("webcodecs", checkCodecs);
    await this.check("jupyter", () => checkServer(config));
    const { path = null } = (await room) ?? {};
    const opened = (await room) !== null;
    await this.check("comm", () => this.checkComm());
    const { line = null } = await this.check("extension", () => checkExtension(config, path));
    const { iceServers } = await this.check("udp", () => (opened ? this.checkUdp(line) : { state: "none", detail: NO_REPLY }), UDP_HINT);
    line?.socket.close();
    await this.check("ice", () => checkIceServers(iceServers), iceServers?.length ? ICE_HINT : "");
    // the room has closed the first one when this page left
    const again = line && (await openLine(config, path).catch(() => null));
    await this.check("busy", () => (opened ? this.checkBusy(again) : { state: "none", detail: NO_REPLY }));
    again?.socket.close();
  }

  tryCamera() {
    return this.check("camera", checkCamera);
  }

  async checkComm() {
    const times = [];
    for (let i = 0; i < PINGS; i++) times.push(await this.ping());
    return { state: "ok", detail: `${msText(median(times))} to the kernel and back while no cell runs.` };
  }

  /** @param {import("./doctor_ways.js").Line | null} line */
  async checkUdp(line) {
    const id = (this.signalId = `${this.id}-${this.nextPing++}`);
    const arrived = () => this.ask({ say: "arrived" }, "arrived").then(({ seen }) => seen, () => null);
    if (line) {
      const send = (/** @type {any} */ message) => line.socket.send(JSON.stringify(message));
      return checkUdp(send, (receive) => (line.receive = receive), arrived);
    }
    const send = (/** @type {any} */ message) => this.model.send({ client: id, message });
    return checkUdp(send, (receive) => (this.onSignal = receive), arrived);
  }

  /** @param {import("./doctor_ways.js").Line | null} line */
  async checkBusy(line) {
    const { seconds } = await this.ask({ say: "busy" }, "busy");
    if (!seconds) return { state: "none", detail: "This kernel has no loop that a cell could hold up." };
    const comm = this.ping();
    const socket = line ? line.ping().catch(() => null) : null;
    const waited = await comm;
    const through = await socket;
    const held = waited > 1000 * seconds * WAITS;
    const byComm = `By comm a message took ${msText(waited)} while the kernel was held up for ${seconds} s`;
    const bySocket = through === null ? "" : `; by the Jupyter server's WebSocket ${msText(through)}`;
    const why = held && through === null ? " What is pressed here while a cell runs waits for its end." : "";
    return { state: held && through === null ? "warn" : "ok", detail: `${byComm}${bySocket}.${why}` };
  }
}
