// @ts-check
/** What a person sees of the viewer: a tile for each participant. */

import { wayText } from "./architecture.js";
import { clockNow } from "./requests.js";
import { Routes } from "./routes.js";
import { Tile } from "./tile.js";
import { button, describe, h, Notice, PhaseRow, setText, StatusLine } from "./ui.js";

/** @param {import("./viewer.js").Viewer} viewer @param {HTMLElement} el @returns {() => void} cleanup */
export function renderViewer(viewer, el) {
  const { client, of } = viewer;
  const status = new StatusLine("Viewer");
  const notice = new Notice();
  const phases = new PhaseRow();
  const routes = new Routes();
  const hear = button("Turn the sound on", () => viewer.allowSound(), { icons: ["sound"], text: true, primary: true });
  const again = button("Connect again", () => client.start(), { text: true });
  const empty = h("div", { class: "rtclab-empty" }, h("p", { class: "rtclab-empty-title" }), h("p"));
  const grid = h("div", { class: "rtclab-grid", role: "list", "aria-label": "Participants" });
  const root = h(
    "section",
    { class: "rtclab-root rtclab-viewer", "aria-label": "Viewer", "data-rtclab": "viewer" },
    status.element,
    notice.element,
    h("div", { class: "rtclab-row rtclab-actions" }, hear, again),
    grid,
    empty,
    phases.element,
    routes.element,
  );
  /** @type {Map<string, Tile>} */
  const tiles = new Map();

  const update = (/** @type {string} */ what) => {
    if (what === "levels") return tiles.forEach((tile) => tile.updateLevel());
    if (what === "switching") return tiles.forEach((tile) => tile.updateState());
    if (what === "stats") return tiles.forEach((tile) => tile.updateFigures());
    const now = clockNow();
    const state = describe(client, now, "");
    if (state.word === "Live" && !viewer.scenes.length) Object.assign(state, { tone: "idle", word: "Waiting" });
    const way = wayText(client.architecture, client.mesh.connected);
    status.update(state.tone, state.word, client.room ? `${client.room.name}, ${way}` : "");
    root.dataset.status = state.word.toLowerCase();
    notice.show(state.notice);
    phases.update(client.phases, now);
    routes.update(client);
    hear.hidden = !viewer.soundBlocked || client.status === "closed" || Boolean(client.tunnel?.note);
    again.hidden = client.status !== "closed" || client.link === "gone" || /^(room_closed|share_(?!rate))/.test(client.failure?.code ?? "");
    const scenes = client.status === "closed" ? [] : viewer.scenes;
    for (const [key, tile] of tiles) {
      if (scenes.some((scene) => scene.key === key)) continue;
      tile.close();
      tiles.delete(key);
    }
    for (const scene of scenes) {
      const tile = tiles.get(scene.key) ?? new Tile(viewer);
      tiles.set(scene.key, tile);
      tile.update(scene);
    }
    // whoever comes back goes where they were
    scenes.forEach(({ key }, place) => {
      const tile = /** @type {Tile} */ (tiles.get(key));
      if (grid.children[place] !== tile.element) grid.insertBefore(tile.element, grid.children[place] ?? null);
    });
    grid.dataset.tiles = String(Math.min(tiles.size, 3));
    grid.hidden = !tiles.size;
    empty.hidden = tiles.size > 0 || client.status === "closed";
    const joined = client.status === "joined";
    setText(empty.children[0], joined ? `Waiting for ${of ?? "someone"} to publish …` : "Connecting to the room …");
    setText(
      empty.children[1],
      joined ? `The picture appears here as soon as ${of ? `${of} publishes` : `anyone does${client.home === "kernel" ? ", for instance with room.publisher()" : ""}`}.` : "",
    );
  };

  const unobserve = client.observe(update);
  el.append(root);
  update("state");
  return () => {
    unobserve();
    tiles.forEach((tile) => tile.close());
    root.remove();
  };
}
