// @ts-check
/** From an anywidget model to a client: one for each model and page, any number of views. */

import { Carriers, CommCarrier } from "./carriers.js";
import { RoomClient } from "./client.js";
import { remembered } from "./local.js";

const LINGER_MS = 5000;

/** A random id that also works on insecure pages, which have no crypto.randomUUID. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A client of the room that a model belongs to.
 * @param {any} model @param {"participant" | "viewer"} role @returns {{client: RoomClient, close: () => void}}
 */
export function clientOn(model, role) {
  const id = randomId();
  const key = `session.${model.get("key")}`;
  const comm = new CommCarrier(model, id);
  const client = new RoomClient({
    carrier: comm,
    role,
    name: model.get("name") || null,
    session: remembered.get("session", key),
    onSession: (token) => remembered.set("session", key, token),
  });
  const carriers = new Carriers(client, comm);
  const onServer = () => carriers.use(model.get("server") ?? "");
  const onMessage = (/** @type {any} */ content, /** @type {DataView[]} */ buffers) => {
    if (content?.client !== id || client.carrier !== comm) return;
    if (content.media) for (const buffer of buffers) client.receiveMedia(bytesOf(buffer));
    else client.receive(content.message);
  };
  // a comm that dies says so with this event, and throws at the next message
  const onLive = () => {
    if (comm.say({ note: null })) return;
    client.lost();
    carriers.close();
  };
  const onLeave = () => client.wave();
  onServer();
  model.on("change:server", onServer);
  model.on("msg:custom", onMessage);
  model.on("comm_live_update", onLive);
  addEventListener("pagehide", onLeave);
  return {
    client,
    close() {
      client.stop();
      carriers.close();
      model.off("change:server", onServer);
      model.off("msg:custom", onMessage);
      model.off("comm_live_update", onLive);
      removeEventListener("pagehide", onLeave);
    },
  };
}

/** @param {DataView} view @returns {ArrayBuffer} */
function bytesOf({ buffer, byteOffset, byteLength }) {
  return /** @type {ArrayBuffer} */ (buffer.slice(byteOffset, byteOffset + byteLength));
}

/** Counts the views of a model, and calls `empty` when the last has been gone for a while: cells are re-run. */
export class ViewCount {
  /** @param {() => void} empty */
  constructor(empty) {
    this.empty = empty;
    this.count = 0;
    /** @type {any} */
    this.timer = 0;
  }

  /** @returns {() => void} */
  add() {
    this.count += 1;
    clearTimeout(this.timer);
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.count -= 1;
      if (this.count === 0) this.timer = setTimeout(this.empty, LINGER_MS);
    };
  }
}
