// @ts-check
/** From the stand-alone page to a client: a WebSocket to the server that sent the page. */

import { RoomClient } from "./client.js";
import { linkOf } from "./link.js";
import { RoomError } from "./requests.js";
import { RoomSocket } from "./socket.js";

const UNTOLD_S = 5;
const GIVE_UP_MS = 120_000; // a Jupyter server that is started again may take a minute

/** A client of the room that this page comes from. @param {"participant" | "viewer"} role @param {string | null} name */
export function clientOfServer(role, name) {
  const url = new URL("signaling", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  const { token } = linkOf(location.hash);
  url.search = token ? `?token=${encodeURIComponent(token)}` : "";
  const socket = new RoomSocket(url.href, "websocket", GIVE_UP_MS, {
    receive: (message) => client.receive(message),
    receiveMedia: (buffer) => client.receiveMedia(buffer),
    opened: () => {},
    lost: () => client.move(socket),
    refused: () => askWhy(),
    failed: () => client.lost(),
  });
  const client = new RoomClient({ carrier: socket, role, name, home: "server" });
  addEventListener("pagehide", () => client.wave());
  return client;

  /** A page is not told why its socket was refused; a request is. */
  async function askWhy() {
    const reply = await fetch(url.href.replace("ws", "http")).catch(() => null);
    if (reply === null || ![401, 403, 429].includes(reply.status)) return;
    const { detail, code = "" } = await reply.json();
    const sentence = `${detail[0].toUpperCase()}${detail.slice(1)}.`;
    if (reply.status === 429) {
      const seconds = Number(reply.headers.get("Retry-After")) || UNTOLD_S;
      socket.hold(1000 * seconds, `${sentence} This page does so by itself.`);
      client.changed("carrier");
    } else if (code.startsWith("share_")) client.fail(new RoomError(code, sentence));
    else client.fail(new Error(`The server lets nobody in like this: ${detail}. Open the address that it printed when it started.`));
  }
}
