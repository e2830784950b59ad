// @ts-check
/**
 * Where the media of each watched track come from: by the connection to the room, through the tunnel that stands in for it, or
 * directly from who publishes them.
 *
 * At a switch the former way stays until something has come by the new one, so that a picture is never taken away early.
 */

const POLL_MS = 50;
const POLL_FOR_MS = 8000;

/** @typedef {"room" | "tunnel" | "direct"} Way */

/** Whether a frame of a receiver has been shown since a time. @param {RTCRtpReceiver} receiver @param {number} since Unix milliseconds */
function flows(receiver, since) {
  return receiver.getSynchronizationSources().some(({ timestamp }) => timestamp > since);
}

export class Ways {
  /** @param {import("./client.js").RoomClient} client */
  constructor(client) {
    this.client = client;
    /** The media of each track. @type {Map<string, MediaStreamTrack>} */
    this.remote = new Map();
    /** @type {Map<string, Way>} */
    this.taken = new Map();
    this.switchedAt = 0;
    /** @type {any} */
    this.timer = 0;
  }

  /** The architecture, or what carries the room's media, has changed: what flows already says nothing any more. */
  switched() {
    this.switchedAt = performance.timeOrigin + performance.now();
    this.#poll(performance.now() + POLL_FOR_MS);
  }

  /** @param {number} until */
  #poll(until) {
    clearTimeout(this.timer);
    if (performance.now() > until) return;
    this.timer = setTimeout(() => {
      this.settle();
      this.client.changed("switching");
      this.#poll(until);
    }, POLL_MS);
  }

  /** Chooses again; tells when something has changed. */
  settle() {
    const { client } = this;
    const room = client.peer?.receivers ?? new Map();
    const mesh = client.mesh.receivers;
    const { players } = client.choice;
    const taken = new Map();
    const remote = new Map();
    for (const id of new Set([...room.keys(), ...mesh.keys()])) {
      if (!client.wanted.has(id)) continue;
      const way = this.#way(room.get(id), mesh.get(id), players.get(id), this.taken.get(id) === "direct");
      const source = { room, direct: mesh, tunnel: players }[way].get(id);
      if (!source) continue;
      taken.set(id, way);
      remote.set(id, source.track);
    }
    const same = remote.size === this.remote.size && [...remote].every(([id, track]) => this.remote.get(id) === track);
    this.taken = taken;
    this.remote = remote;
    if (!same) client.changed("remote");
  }

  /**
   * @param {RTCRtpReceiver | undefined} room @param {RTCRtpReceiver | undefined} mesh
   * @param {{shownAt: number} | undefined} player what has come through the tunnel
   * @param {boolean} direct whether it came directly until now
   * @returns {Way}
   */
  #way(room, mesh, player, direct) {
    const tunnel = player !== undefined && player.shownAt > 0;
    const flowing = room !== undefined && flows(room, this.switchedAt);
    const byRoom = tunnel && (this.client.tunnel || !flowing) ? "tunnel" : "room";
    if (!mesh) return byRoom;
    if (!room) return "direct";
    if (this.client.architecture.direct) return direct || !mesh.track.muted ? "direct" : byRoom;
    const brought = flowing || (tunnel && performance.timeOrigin + 1000 * player.shownAt > this.switchedAt);
    return direct && !brought ? "direct" : byRoom;
  }

  clear() {
    clearTimeout(this.timer);
    this.taken.clear();
    this.remote.clear();
  }
}
