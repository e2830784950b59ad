// @ts-check
/**
 * A client's place in the room: taken with a join, and again by the session's token whenever the room or the carrier has lost it.
 *
 * Until the welcome only a few messages count. Others are held back for it; what was asked for before is to be asked again.
 */

import { RoomError } from "./requests.js";

const BEFORE_WELCOME = ["join", "phase", "ping", "leave"];
const MOST_HELD = 100;

export class Joining {
  /** @param {import("./client.js").RoomClient} client */
  constructor(client) {
    this.client = client;
    /** @type {any[]} */
    this.held = [];
  }

  /** @returns {Promise<boolean>} whether it worked, over whichever carrier */
  async join() {
    const { client } = this;
    const { generation } = client;
    for (;;) {
      try {
        await this.#ask();
        return generation === client.generation;
      } catch (error) {
        if (generation !== client.generation) return false;
        if (error instanceof RoomError && error.code === "moved") continue;
        client.fail(error);
        return false;
      }
    }
  }

  async #ask() {
    const { client } = this;
    const join = { type: "join", version: 1, name: client.name, role: client.role, agent: navigator.userAgent.slice(0, 256) };
    try {
      return await client.requests.ask({ ...join, session: client.session });
    } catch (error) {
      if (client.session === null || !(error instanceof RoomError) || error.code !== "unknown_session") throw error;
      client.session = null;
      client.onSession(null);
      return client.requests.ask({ ...join, session: null });
    }
  }

  /** The room has forgotten us (a sleeping laptop, a long cell), or is to be found elsewhere now. */
  again() {
    const { client } = this;
    const joined = client.status === "joined";
    if (!joined && client.status !== "joining") return;
    client.status = "joining";
    this.held = this.held.filter((message) => !("id" in message));
    client.requests.clear(new RoomError("moved", "The connection to the room was renewed."));
    client.changed("state");
    if (!joined) return;
    this.join().then((again) => {
      if (again) client.negotiate();
    });
  }

  /** @param {any} message @returns {boolean} whether it is kept back */
  holds(message) {
    if (this.client.status !== "joining" || BEFORE_WELCOME.includes(message.type)) return false;
    if (this.held.push(message) > MOST_HELD) this.held.shift();
    return true;
  }

  /** @param {boolean} resumed whether the room still knows what is spoken of */
  release(resumed) {
    for (const message of this.held.splice(0)) {
      if (resumed) this.client.send(message);
      else if ("id" in message) this.client.requests.drop(message.id);
    }
  }
}
