// @ts-check
/** Which ways lead to the room, and why these: a line for each. */

import { h } from "./ui.js";

const CARRIERS = { server: "Jupyter server", comm: "comm", websocket: "WebSocket" };

/** @param {import("./client.js").RoomClient} client @returns {string[]} */
export function routeLines({ carrier, choice, tunnel }) {
  const lines = [`Signaling: ${CARRIERS[carrier.kind]}${carrier.reason ? `, because ${carrier.reason}` : ""}`];
  if (carrier.waits) lines.push(carrier.waits);
  if (tunnel && !choice.asking) lines.push(`Media: ${carrier.kind === "comm" ? "comm" : "WebSocket"}, because ${tunnel.reason}${tunnel.note && ` (${tunnel.note})`}`);
  else if (choice.refusal) lines.push(`Media: only by UDP, because ${choice.refusal}`);
  return lines;
}

/** The lines of a client that is in a room, or on its way into it; changes are announced. */
export class Routes {
  constructor() {
    this.element = h("div", { class: "rtclab-routes", role: "status", "aria-label": "Ways to the room" });
  }

  /** @param {import("./client.js").RoomClient} client */
  update(client) {
    const lines = client.status === "joining" || client.status === "joined" ? routeLines(client) : [];
    this.element.hidden = !lines.length;
    if (this.element.dataset.shown === lines.join("\n")) return;
    this.element.dataset.shown = lines.join("\n");
    this.element.replaceChildren(...lines.map((line) => h("p", {}, line)));
  }
}
