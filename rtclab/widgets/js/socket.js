// @ts-check
/**
 * A WebSocket as a client's carrier: JSON messages in text frames, media in binary ones.
 *
 * A socket that is lost is opened again, with growing pauses and for a limited time; the client joins again meanwhile, and what it
 * says waits for the socket. Code 1000 ends the session and is no loss.
 */

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;

/**
 * @typedef {object} SocketEvents
 * @property {(message: any) => void} receive
 * @property {(buffer: ArrayBuffer) => void} receiveMedia
 * @property {() => void} opened
 * @property {() => void} lost it was open; it is being opened again
 * @property {() => void} refused it was not opened, and will be tried again
 * @property {() => void} failed the time is up
 */

export class RoomSocket {
  /** @param {string} url @param {"server" | "websocket"} kind @param {number} giveUpMs @param {SocketEvents} events */
  constructor(url, kind, giveUpMs, events) {
    this.url = url;
    this.kind = kind;
    this.reason = "";
    /** A sentence of a server that asks for patience. */
    this.waits = "";
    this.giveUpMs = giveUpMs;
    this.events = events;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {object[]} said before it was open */
    this.queue = [];
    this.retry = FIRST_RETRY_MS;
    /** @type {any} */
    this.pause = 0;
    /** @type {any} */
    this.deadline = 0;
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  get unsent() {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** @param {any} message */
  send(message) {
    if (this.isOpen) this.socket?.send(JSON.stringify(message));
    else if (message.type !== "leave") this.queue.push(message);
    if (message.type === "leave") this.close();
    else this.open();
  }

  /** @param {Uint8Array} bytes */
  sendMedia(bytes) {
    if (!this.isOpen) return false;
    this.socket?.send(bytes);
    return true;
  }

  /** Nothing more is received; it opens again when something is to be sent. */
  close() {
    this.#rest();
    this.queue = [];
    const { socket } = this;
    this.socket = null;
    socket?.close(1000);
  }

  /** It is open and yet nothing comes: another one. */
  renew() {
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.events.lost();
    this.open();
  }

  #rest() {
    clearTimeout(this.pause);
    clearTimeout(this.deadline);
    this.pause = this.deadline = 0;
    this.retry = FIRST_RETRY_MS;
  }

  open() {
    if (this.socket || this.pause) return;
    this.deadline ||= setTimeout(() => this.#fail(), this.giveUpMs);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    let wasOpen = false;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      wasOpen = true;
      this.waits = "";
      this.#rest();
      for (const message of this.queue.splice(0)) socket.send(JSON.stringify(message));
      this.events.opened();
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this.events.receive(JSON.parse(data));
      else this.events.receiveMedia(data);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      this.socket = null;
      if (code === 1000) return;
      this.deadline ||= setTimeout(() => this.#fail(), this.giveUpMs);
      this.#openIn(this.retry);
      this.retry = Math.min(2 * this.retry, LONGEST_RETRY_MS);
      if (wasOpen) this.events.lost();
      else this.events.refused();
    };
  }

  /** @param {number} ms */
  #openIn(ms) {
    this.pause = setTimeout(() => {
      this.pause = 0;
      this.open();
    }, ms);
  }

  /** The server is there and asks for patience: the next attempt comes later. @param {number} ms @param {string} sentence */
  hold(ms, sentence) {
    if (!this.pause) return; // it is being tried already
    clearTimeout(this.pause);
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.#fail(), ms + this.giveUpMs);
    this.#openIn(ms);
    this.waits = sentence;
  }

  #fail() {
    this.close();
    this.events.failed();
  }
}
