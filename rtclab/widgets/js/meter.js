// @ts-check
/** What a client measures: getStats of all its connections, as one row for each track, told to the room once a second. */

import { clockNow } from "./requests.js";
import { flat, hasFrames, joinRows, pairsOf, summarise } from "./stats.js";

const PAIRS_EVERY_S = 5;
const MOST_PAIRS_TOLD = 64;

/** @typedef {{number: number | null, time: number}} Picture a frame that was shown: its number if it bears one, Unix seconds */

export class Meter {
  /** @param {import("./client.js").RoomClient} client */
  constructor(client) {
    this.client = client;
    /** @type {import("./stats.js").Summary | null} */
    this.summary = null;
    /** The picture shown last, by track. @type {Map<string, Picture>} */
    this.pictures = new Map();
    this.moved = { bytes: 0, at: 0 };
    /** What was told of candidate pairs, and when. */
    this.told = { pairs: "", at: -Infinity };
  }

  reset() {
    this.told.at = -Infinity;
    this.summary = null;
    this.pictures.clear();
  }

  /** Measures, and tells the room. */
  async tick() {
    const { client } = this;
    const { peer, mesh, tunnel } = client;
    const got = await peer?.measure();
    const pairs = await this.#pairs();
    if (!peer || peer !== client.peer) return;
    if (!(got || tunnel)) {
      if (pairs.length) client.send({ type: "stats", time: Date.now() / 1000, tracks: [], pairs });
      return;
    }
    const summary = (peer.summary = summarise(got?.report ?? new Map(), got?.byMid ?? new Map(), peer.summary));
    /** @type {Map<string, import("./stats.js").Row>} */
    const rows = new Map(this.#roomRows(summary.rows));
    for (const [track, row] of tunnel?.measure() ?? []) {
      if (row.layers || client.ways.taken.get(track) === "tunnel") rows.set(track, row);
    }
    let bytes = summary.bytes + (tunnel?.bytes ?? 0);
    for (const link of mesh.links.values()) {
      const measured = await link.measure();
      if (!measured) continue;
      link.summary = summarise(measured.report, measured.byMid, link.summary);
      bytes += link.summary.bytes;
      for (const [track, row] of link.summary.rows) {
        if (row.layers) joinRows(rows, track, row);
        else if (client.ways.taken.get(track) === "direct") rows.set(track, { ...row, via: "direct" });
      }
    }
    if (peer !== client.peer) return;
    this.summary = { ...summary, rows, bytes };
    if (bytes > this.moved.bytes) this.moved.at = clockNow();
    this.moved.bytes = bytes;
    const tracks = [...rows].map(([track, row]) => ({ track, ...flat(row), ...this.#shown(track) }));
    if (tracks.length || pairs.length) client.send({ type: "stats", time: Date.now() / 1000, tracks, pairs });
    client.changed("stats");
  }

  /** The candidate pairs of all connections, when one has changed or they were not told for a while. */
  async #pairs() {
    const { peer, mesh } = this.client;
    /** @type {import("./stats.js").Row[]} */
    const pairs = [];
    if (peer) pairs.push(...pairsOf(await peer.pc.getStats(), "room"));
    for (const { pc, peer: other } of mesh.links.values()) pairs.push(...pairsOf(await pc.getStats(), other.name));
    pairs.splice(MOST_PAIRS_TOLD);
    const states = JSON.stringify(pairs.map(({ id, state, selected, ufrag }) => [id, state, selected, ufrag]));
    const now = clockNow();
    if (states === this.told.pairs && now - this.told.at < PAIRS_EVERY_S) return [];
    this.told = { pairs: states, at: now };
    return pairs;
  }

  /** What the room's connection carries of the tracks that come or go by it now. @param {Map<string, import("./stats.js").Row>} rows */
  *#roomRows(rows) {
    const { architecture, ways, tracks, tunnel } = this.client;
    for (const [track, row] of rows) {
      const sent = Boolean(row.layers);
      if (sent ? architecture.direct || tunnel : ways.taken.get(track) !== "room") continue;
      yield /** @type {const} */ ([track, { ...row, via: tracks.get(track)?.source === "mix" ? "mix" : "room" }]);
    }
  }

  /** @param {string} track */
  #shown(track) {
    const picture = this.pictures.get(track);
    return picture ? { frame_number: picture.number, frame_time: picture.time } : {};
  }

  /** Looks for the first frame, while that is what we wait for. */
  async watchFirstFrame() {
    const { client } = this;
    if (client.phases.current !== "first frame" || client.phases.pausedAt !== null) return;
    const { peer, tunnel } = client;
    if (tunnel?.passed) return client.reach("first frame");
    for (const connection of [peer, ...client.mesh.links.values()]) {
      const got = await connection?.measure();
      if (got && peer === client.peer && hasFrames(got.report, got.byMid)) client.reach("first frame");
    }
  }
}
