// @ts-check
/**
 * Which way a widget's signaling goes: by a WebSocket through the Jupyter server where the room can be reached there, else by the comm.
 *
 * The WebSocket goes past the kernel's cells, the comm waits for them. A WebSocket that does not open within 2 s, or dies and does
 * not come back in that time, gives way to the comm, and is tried again now and then. Each move is a join with the session's token.
 */

import { RoomSocket } from "./socket.js";

const OPEN_WITHIN_MS = 2000;
const FIRST_TRY_AGAIN_MS = 4000;
const LONGEST_TRY_AGAIN_MS = 60000;
/** How long a join by comm may be without a reply before its place is taken by one by WebSocket. */
const JOIN_BY_COMM_MS = 1000;
/** After so long without a word, in seconds, a WebSocket is taken for dead. */
const DEAD_AFTER_S = 8;
/** Why it is the comm. */
const NO_ROOM = "the kernel has found no Jupyter server with rtclab's extension";
const NO_ADDRESS = "this page does not say where its Jupyter server is";
const NOT_OPEN = "the WebSocket through the Jupyter server does not open";
const NOT_REACHED = "the Jupyter server is not reached";
const NO_LOGIN = "the Jupyter server asks for a login";
const NOT_KNOWN = "the Jupyter server does not know this room";

/** The room's address at the Jupyter server that this page comes from. @param {string} path @returns {string | null} */
export function serverUrl(path) {
  try {
    const { baseUrl, wsUrl } = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
    const url = new URL(wsUrl || baseUrl, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}/signaling`;
    return url.href;
  } catch {
    return null;
  }
}

/** Why a WebSocket is refused: a page is not told, but the list of rooms has it. @param {string} address @returns {Promise<string>} */
async function refusalOf(address) {
  const [, list, room] = /^ws(.*)\/(.*)\/signaling$/.exec(address) ?? [];
  const reply = await fetch(`http${list}`).catch(() => null);
  if (!reply) return NOT_REACHED;
  if (reply.status === 401 || reply.status === 403) return NO_LOGIN;
  const { rooms } = await reply.json().catch(() => ({}));
  return rooms?.some((/** @type {{id: string}} */ { id }) => id === room) ? NOT_OPEN : NOT_KNOWN;
}

/** The comm that the pages of a widget share, as the carrier of one of them. */
export class CommCarrier {
  /** @param {any} model @param {string} id the client's */
  constructor(model, id) {
    this.model = model;
    this.id = id;
    /** @type {"comm"} */
    this.kind = "comm";
    this.reason = "";
    this.unsent = 0;
  }

  /** @param {any} message */
  send(message) {
    this.model.send({ client: this.id, message });
  }

  /** @param {Uint8Array} bytes */
  sendMedia(bytes) {
    // a copy: of a part of a larger buffer all would be sent
    return this.say({ media: true }, [bytes.slice().buffer]);
  }

  /** @param {object} content @param {ArrayBuffer[]} [buffers] @returns {boolean} whether the comm is alive */
  say(content, buffers = []) {
    try {
      this.model.send({ client: this.id, ...content }, undefined, buffers);
      return true;
    } catch {
      return false;
    }
  }
}

/** The WebSocket to the Jupyter server. Of the phases the kernel's side of the widget is told by comm: `connected` waits for them. */
class ServerSocket extends RoomSocket {
  /** @param {string} url @param {CommCarrier} comm @param {import("./socket.js").SocketEvents} events */
  constructor(url, comm, events) {
    super(url, "server", OPEN_WITHIN_MS, events);
    this.comm = comm;
  }

  /** @param {any} message */
  send(message) {
    super.send(message);
    if (message.type === "phase") this.comm.say({ note: message });
  }
}

export class Carriers {
  /** @param {import("./client.js").RoomClient} client @param {CommCarrier} comm */
  constructor(client, comm) {
    this.client = client;
    this.comm = comm;
    /** @type {string | null} */
    this.url = null;
    /** The one that is used, or tried. @type {RoomSocket | null} */
    this.socket = null;
    this.wait = FIRST_TRY_AGAIN_MS;
    /** @type {any} */
    this.timer = 0;
    this.unobserve = client.observe((what) => what === "tick" && this.#watch());
  }

  /** @param {string} path the room's, below the Jupyter server's base URL; "" when it is not there */
  use(path) {
    this.url = path ? serverUrl(path) : null;
    clearTimeout(this.timer);
    this.wait = FIRST_TRY_AGAIN_MS;
    if (this.url) this.#try();
    else this.#fallBack(path ? NO_ADDRESS : NO_ROOM);
  }

  close() {
    this.unobserve();
    clearTimeout(this.timer);
    this.socket?.close();
  }

  #try() {
    const { client, url } = this;
    if (!url || this.socket) return;
    /** @type {ServerSocket} */
    const socket = new ServerSocket(url, this.comm, {
      receive: (message) => client.carrier === socket && client.receive(message),
      receiveMedia: (buffer) => client.carrier === socket && client.receiveMedia(buffer),
      opened: () => this.#opened(socket),
      lost: () => {
        if (!this.url) this.#fallBack(NO_ROOM);
        else if (client.carrier === socket) client.move(socket);
      },
      refused: () => {},
      failed: () => this.#failed(),
    });
    this.socket = socket;
    // the first message opens it
    if (client.status === "idle" || client.status === "closed") client.move(socket);
    else socket.open();
  }

  /** @param {RoomSocket} socket @param {number} [since] */
  #opened(socket, since = performance.now()) {
    const { client } = this;
    this.wait = FIRST_TRY_AGAIN_MS;
    if (client.carrier === socket || this.socket !== socket) return;
    if (client.status === "joining") {
      // its welcome, with the token, may be under way
      if (performance.now() - since < JOIN_BY_COMM_MS) {
        this.timer = setTimeout(() => this.#opened(socket, since), 50);
        return;
      }
      this.comm.say({ message: { type: "leave" } });
    }
    client.move(socket);
  }

  async #failed() {
    const { comm, url } = this;
    this.#fallBack(NOT_OPEN);
    this.timer = setTimeout(() => this.#try(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_TRY_AGAIN_MS);
    const reason = await refusalOf(url ?? "");
    if (this.url !== url) return;
    comm.reason = reason;
    this.client.changed("carrier");
  }

  /** @param {string} reason */
  #fallBack(reason) {
    const { client, comm, socket } = this;
    comm.reason = reason;
    // without an address a socket serves as long as it is open
    if (!this.url && socket?.isOpen && client.carrier === socket) return;
    this.socket = null;
    socket?.close();
    if (client.carrier !== comm) client.move(comm);
    else client.changed("carrier");
  }

  #watch() {
    const { client, socket } = this;
    const deaf = client.requests.silence(performance.now() / 1000) > DEAD_AFTER_S;
    if (deaf && socket?.isOpen && client.carrier === socket) socket.renew();
  }
}
