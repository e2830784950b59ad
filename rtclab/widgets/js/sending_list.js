// @ts-check
/** What a publisher sends, line by line: its layers and why some are off, or one line for each client it connects to. */

import { reasonText } from "./architecture.js";
import { isDemanded } from "./encodings.js";
import { bitrateText, millisText } from "./stats.js";
import { h } from "./ui.js";

/** @typedef {{label: string, text: string, rid?: string}} Line */

/** @param {import("./stats.js").Row} row */
const sizeText = ({ width, height }) => (width ? `${width}×${height}` : "");

/** @param {import("./client.js").RoomClient} client @param {string} track @returns {Line[]} */
export function sendingLines(client, track) {
  const { architecture, demands, mesh, meter } = client;
  if (architecture.direct) {
    if (!mesh.links.size) return [{ label: "", text: "nothing is sent: nobody else is here" }];
    return [...mesh.links.values()].map((link) => {
      const row = link.summary?.rows.get(track);
      const text = row ? `${sizeText(row)} ${bitrateText(row.bitrate_bps)} RTT ${millisText(row.rtt_s)}` : "connected";
      return { label: `to ${link.peer.name}`, text: link.connected ? text : "connecting …" };
    });
  }
  const demand = demands.get(track);
  if (demand && !demand.active) return [{ label: "", text: `not sent: ${reasonText(demand.reason ?? "not_asked")}` }];
  const layers = meter.summary?.rows.get(track)?.layers ?? [];
  if (layers.length < 2) return [];
  return layers.map((/** @type {any} */ layer) => {
    const limited = layer.limited && layer.limited !== "none" ? `, limited by ${layer.limited}` : "";
    const why = isDemanded(demand, layer.rid) ? "" : `: ${reasonText(demand?.reason ?? "layer_not_needed")}`;
    const sent = !why && layer.active && layer.width;
    return { label: layer.rid, rid: layer.rid, text: sent ? `${sizeText(layer)} ${bitrateText(layer.bitrate_bps)}${limited}` : `not sent${why || limited}` };
  });
}

/** @param {HTMLElement} list @param {Line[]} lines */
export function showLines(list, lines) {
  list.hidden = !lines.length;
  list.replaceChildren(
    ...lines.map(({ label, text, rid }) =>
      h("li", { class: "rtclab-layer", "data-rid": rid ?? null }, label ? h("b", {}, label) : null, label ? ` ${text}` : text),
    ),
  );
}
