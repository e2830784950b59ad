// @ts-check
/** The ways from a page to the kernel that the doctor tries: WebSockets of the Jupyter server, and WebRTC. */

import { capital, within } from "./doctor_browser.js";

/** @typedef {import("./doctor_browser.js").Finding} Finding */

const SOCKET_MS = 5000;
const ANSWER_MS = 5000;
export const CONNECT_MS = 12_000;
export const GATHER_MS = 12_000;
export const PINGS = 5;

/** What JupyterLab and Notebook tell of their server; null in VS Code and Colab. @returns {any} */
export function serverConfig() {
  try {
    return JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "null");
  } catch {
    return null;
  }
}

/** @param {any} config @param {string} path @param {boolean} socket @returns {string} */
function jupyterUrl(config, path, socket) {
  const url = new URL((socket && config.wsUrl) || config.baseUrl, location.href);
  if (socket) url.protocol = url.protocol.replace("http", "ws");
  url.pathname += path;
  return url.href;
}

/** @param {number[]} times milliseconds @returns {number} */
export const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

/** @param {number} ms */
export const msText = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

/** @param {string} url @returns {Promise<WebSocket>} */
function opened(url) {
  const socket = new WebSocket(url);
  const open = new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onerror = socket.onclose = () => reject(new Error("it was refused or cut on the way"));
  });
  return within(/** @type {Promise<WebSocket>} */ (open), SOCKET_MS, "opening it").catch((error) => {
    socket.close();
    throw error;
  });
}

/** @param {any} config @returns {Promise<Finding>} */
export async function checkServer(config) {
  if (!config) return { state: "none", detail: "This page names no Jupyter server (VS Code, Colab): only comm reaches the kernel." };
  const begun = performance.now();
  try {
    const socket = await opened(jupyterUrl(config, "api/events/subscribe", true));
    socket.close();
    return { state: "ok", detail: `A WebSocket to it opened in ${msText(performance.now() - begun)}.` };
  } catch (error) {
    return { state: "fail", detail: `No WebSocket to it: ${/** @type {Error} */ (error).message}. A proxy in between must pass WebSocket upgrades.` };
  }
}

/** Signaling over the extension's WebSocket, for one room. */
export class Line {
  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    this.receive = (/** @type {any} */ _message) => {};
    socket.onmessage = ({ data }) => typeof data === "string" && this.receive(JSON.parse(data));
    this.nextId = 1_000_000;
  }

  /** The time to the room and back. Before joining a ping is refused, which is a reply as well. @returns {Promise<number>} ms */
  async ping() {
    const id = this.nextId++;
    const begun = performance.now();
    const replied = new Promise((resolve) => (this.receive = ({ re }) => re === id && resolve(null)));
    this.socket.send(JSON.stringify({ type: "ping", id }));
    await within(replied, ANSWER_MS, "a reply of the room");
    return performance.now() - begun;
  }
}

/** @param {any} config @param {string} path of the room @returns {Promise<Line>} */
export async function openLine(config, path) {
  return new Line(await opened(jupyterUrl(config, `${path}/signaling`, true)));
}

/** @param {any} config @param {string | null} path of the room @returns {Promise<Finding & {line?: Line}>} */
export async function checkExtension(config, path) {
  if (!config) return { state: "none", detail: "There is no Jupyter server to ask." };
  const enable = "Install rtclab where the server runs, too (that enables it), and restart the server.";
  try {
    const reply = await within(fetch(jupyterUrl(config, "rtclab/rooms", false), { credentials: "same-origin" }), SOCKET_MS, "its list of rooms");
    if (reply.status === 404) return { state: "warn", detail: `The Jupyter server has no rtclab extension: signaling goes by comm, which waits for running cells. ${enable}` };
    if (!reply.ok) return { state: "fail", detail: `It answers ${reply.status} ${reply.statusText} to this page's login.` };
    if (!path) return { state: "fail", detail: "It is there, but this kernel has not registered a room with it: does the kernel run on the server's machine?" };
    const line = await openLine(config, path);
    const times = [];
    for (let i = 0; i < PINGS; i++) times.push(await line.ping());
    return { state: "ok", detail: `A WebSocket to the room: ${msText(median(times))} there and back.`, line };
  } catch (error) {
    return { state: "fail", detail: `${capital(/** @type {Error} */ (error).message)}.` };
  }
}

/**
 * A real call to the doctor's room without media: join, offer, ICE, DTLS.
 * @param {(message: any) => void} send @param {(receive: (message: any) => void) => void} listen
 * @param {() => Promise<boolean | null>} arrived did anything reach the room?
 * @returns {Promise<Finding & {iceServers?: RTCIceServer[], absent?: true}>} with what the room says of STUN and TURN
 */
export async function checkUdp(send, listen, arrived) {
  if (typeof RTCPeerConnection === "undefined") return { state: "fail", detail: "This browser has no WebRTC, or it is switched off.", absent: true };
  /** @type {RTCPeerConnection | null} */
  let pc = null;
  /** @type {RTCIceServer[] | undefined} */
  let iceServers;
  const replies = new Map();
  listen((message) => {
    replies.get(message.re)?.(message);
    if (message.type === "bye") replies.forEach((resolve) => resolve({ type: "error", ...message }));
  });
  let id = 1;
  const ask = async (/** @type {any} */ message) => {
    const replied = new Promise((resolve) => replies.set(id, resolve));
    send({ ...message, id: id++ });
    const reply = await within(replied, ANSWER_MS, "the room's reply");
    if (reply.type === "error") throw new Error(`the room refuses: ${reply.message}`);
    return reply;
  };
  const begun = performance.now();
  try {
    const welcome = await ask({ type: "join", version: 1, name: null, role: "viewer", session: null, agent: "doctor" });
    iceServers = welcome.ice_servers;
    pc = new RTCPeerConnection({ iceServers });
    pc.addTransceiver("audio", { direction: "recvonly" });
    await pc.setLocalDescription();
    await gathered(pc, 1000);
    const sdp = pc.localDescription?.sdp ?? "";
    const answer = await ask({ type: "offer", sdp, tracks: [{ mid: pc.getTransceivers()[0].mid, direction: "receive", track: null }] });
    const connected = settled(pc);
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await within(connected, CONNECT_MS, "connecting");
    const took = performance.now() - begun;
    const pair = await selectedPair(pc);
    const relayed = pair.local === "relay";
    const how = relayed ? "through the TURN server" : "both ways";
    return { state: "ok", detail: `Connected in ${msText(took)}, ICE and DTLS ${how}; ${msText(pair.rtt)} there and back (${pair.text}).`, relayed, iceServers };
  } catch (error) {
    const reason = /** @type {Error} */ (error).message;
    if (!/ICE failed|connecting/.test(reason)) return { state: "fail", detail: `Not tried to the end: ${reason}.`, iceServers };
    const seen = await arrived();
    const where =
      seen === null
        ? "The kernel does not say whether anything arrived."
        : seen
          ? "This page's datagrams reach the kernel, but its answers do not come back: a firewall near this page."
          : "None of this page's datagrams reached the kernel: a firewall, a NAT or a proxy that passes only HTTP.";
    return { state: "fail", detail: `No connection within ${CONNECT_MS / 1000} s. ${where}`, iceServers };
  } finally {
    send({ type: "leave" });
    pc?.close();
  }
}

/** @param {RTCPeerConnection} pc @returns {Promise<void>} when ICE and DTLS are through */
function settled(pc) {
  return new Promise((resolve, reject) => {
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected") resolve();
      if (pc.connectionState === "failed") reject(new Error("ICE failed"));
    };
  });
}

/** @param {RTCPeerConnection} pc @param {number} ms */
async function gathered(pc, ms) {
  if (pc.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve(null);
    });
  });
}

/** @param {RTCPeerConnection} pc @returns {Promise<{rtt: number, local: string, text: string}>} */
async function selectedPair(pc) {
  const report = await pc.getStats();
  const all = [...report.values()];
  const chosen = all.find(({ type }) => type === "transport")?.selectedCandidatePairId;
  const pair = report.get(chosen) ?? all.find(({ type, nominated }) => type === "candidate-pair" && nominated);
  const local = report.get(pair?.localCandidateId);
  const remote = report.get(pair?.remoteCandidateId);
  const place = (/** @type {any} */ end) => `${end?.candidateType ?? "?"} ${end?.address ?? "hidden"}:${end?.port ?? "?"}`;
  return { rtt: 1000 * (pair?.currentRoundTripTime ?? 0), local: local?.candidateType ?? "", text: `${place(local)} to ${place(remote)}` };
}

/** @param {RTCIceServer[] | undefined} iceServers undefined: the room has not said @returns {Promise<Finding>} */
export async function checkIceServers(iceServers) {
  if (!iceServers) return { state: "none", detail: "The room could not be asked for them." };
  if (!iceServers.length) return { state: "none", detail: "None were given. To try some: rtclab.doctor(ice_servers=[{\"urls\": \"stun:…\"}])." };
  const servers = iceServers.flatMap((server) => [server.urls].flat().map((urls) => ({ ...server, urls })));
  const findings = await Promise.all(servers.map(tryServer));
  const failed = findings.filter(({ ok }) => !ok);
  return { state: failed.length ? "fail" : "ok", detail: findings.map(({ text }) => text).join(" ") };
}

/** @param {any} server with one URL @returns {Promise<{ok: boolean, text: string}>} */
async function tryServer(server) {
  const relay = /^turns?:/.test(server.urls);
  /** @type {RTCPeerConnection | null} */
  let pc = null;
  let problem = "";
  const found = new Set();
  try {
    pc = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: relay ? "relay" : "all" });
    pc.onicecandidate = ({ candidate }) => candidate?.type && found.add(candidate.type);
    pc.onicecandidateerror = ({ errorCode, errorText }) => (problem = `${errorCode} ${errorText}`.replace(/[. ]+$/, ""));
    pc.addTransceiver("audio");
    await pc.setLocalDescription();
    await gathered(pc, GATHER_MS);
  } catch (error) {
    problem = /** @type {Error} */ (error).message;
  }
  const complete = pc?.iceGatheringState === "complete";
  pc?.close();
  if (found.has(relay ? "relay" : "srflx")) return { ok: true, text: `${server.urls} ${relay ? "relays" : "answers"}.` };
  if (!relay && complete && !problem) return { ok: true, text: `${server.urls} answers: there is no NAT in between.` };
  return { ok: false, text: `${server.urls} fails: ${problem || `nothing within ${GATHER_MS / 1000} s`}.` };
}
