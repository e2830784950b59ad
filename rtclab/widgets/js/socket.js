// @ts-check
/**
 * From a page to a client: a WebSocket to the server that sent the page.
 *
 * A socket that is lost is opened again. What had no reply is then said once more: the room has forgotten this client and
 * refuses it as `not_joined`, upon which the client joins again with its token. Code 1000 ends the session and is no loss.
 */

import { RoomClient } from "./client.js";

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
const GIVE_UP_MS = 30000;

export class RoomSocket {
  /** @param {string} url @param {(message: any) => void} receive @param {(error: Error | null) => void} opened or refused for good */
  constructor(url, receive, opened) {
    this.url = url;
    this.receive = receive;
    this.opened = opened;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Map<number, object>} requests without a reply */
    this.waiting = new Map();
    /** @type {object[]} other messages, said before the socket was open */
    this.queue = [];
    this.retry = FIRST_RETRY_MS;
    this.lostAt = 0;
    this.dead = false;
  }

  /** @param {any} message */
  send(message) {
    if (this.dead) throw new Error("the server is gone");
    const request = "id" in message;
    if (request) this.waiting.set(message.id, message);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
    else if (!request && message.type !== "leave") this.queue.push(message);
    if (!this.socket && !this.lostAt) this.#open();
  }

  #open() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    let welcome = false;
    socket.onopen = () => {
      welcome = true;
      this.retry = FIRST_RETRY_MS;
      const again = this.lostAt > 0;
      this.lostAt = 0;
      for (const message of [...this.waiting.values(), ...this.queue.splice(0)]) socket.send(JSON.stringify(message));
      if (again) this.opened(null);
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.waiting.delete(message.re);
      this.receive(message);
    };
    socket.onclose = ({ code }) => {
      this.socket = null;
      if (code === 1000) {
        this.waiting.clear();
        return;
      }
      if (!welcome) this.#askWhy();
      this.lostAt ||= performance.now();
      this.dead = performance.now() - this.lostAt > GIVE_UP_MS;
      if (this.dead) return;
      setTimeout(() => this.dead || this.#open(), this.retry);
      this.retry = Math.min(2 * this.retry, LONGEST_RETRY_MS);
    };
  }

  /** A page is not told why its socket was refused; a request is. */
  async #askWhy() {
    const asked = new URL(this.url.replace("ws", "http"));
    const reply = await fetch(asked).catch(() => null);
    if (reply?.status !== 401 && reply?.status !== 403) return;
    const { detail } = await reply.json();
    this.opened(new Error(`The server lets nobody in like this: ${detail}. Open the address that it printed when it started.`));
    this.dead = true;
  }
}

/** A client of the room that this page comes from. @param {"participant" | "viewer"} role @param {string | null} name */
export function clientOfServer(role, name) {
  const url = new URL("signaling", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  url.search = token ? `?token=${encodeURIComponent(token)}` : "";
  const socket = new RoomSocket(
    url.href,
    (message) => client.receive(message),
    (error) => (error ? client.fail(error) : client.probe()),
  );
  const client = new RoomClient({ send: (message) => socket.send(message), role, name, home: "server" });
  addEventListener("pagehide", () => client.wave());
  return client;
}
