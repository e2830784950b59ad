// @ts-check
/** getStats made short: one row of figures for each track, as rates over the time since the previous report. */

import { reasonText } from "./architecture.js";

/**
 * @typedef {Record<string, any>} Row units are in the names
 * @typedef {object} Summary
 * @property {number} at seconds
 * @property {Map<string, Row>} rows by the room's track id
 * @property {number | null} rtt seconds, of the selected candidate pair
 * @property {number | null} available bit/s, the estimate for what may be sent
 * @property {number} bytes both ways, to see whether media flows
 * @property {Map<string, Row>} raw counters for the next call
 */

/**
 * @param {RTCStatsReport | Map<string, any>} report
 * @param {Map<string, {track: string, kind: string}>} byMid which track each m-line carries
 * @param {Summary | null} previous
 * @returns {Summary}
 */
export function summarise(report, byMid, previous) {
  /** @type {Summary} */
  const summary = { at: 0, rows: new Map(), rtt: null, available: null, bytes: 0, raw: new Map() };
  /** @type {Map<string, any>} */
  const remote = new Map();
  for (const item of report.values()) {
    summary.at = Math.max(summary.at, item.timestamp / 1000);
    if (item.type === "remote-inbound-rtp") remote.set(item.localId, item);
    if (item.type === "transport") {
      const pair = report.get(item.selectedCandidatePairId);
      summary.rtt = pair?.currentRoundTripTime ?? null;
      summary.available = pair?.availableOutgoingBitrate ?? null;
      summary.bytes += (item.bytesReceived ?? 0) + (item.bytesSent ?? 0);
    }
  }
  for (const item of report.values()) {
    const slot = byMid.get(item.mid);
    if (!slot || (item.type !== "inbound-rtp" && item.type !== "outbound-rtp")) continue;
    summary.raw.set(item.id, item);
    const before = previous?.raw.get(item.id);
    const row = item.type === "inbound-rtp" ? inboundRow(item, before) : outboundRow(item, before, remote.get(item.id));
    const known = summary.rows.get(slot.track);
    if (!known) summary.rows.set(slot.track, { kind: slot.kind, rtt_s: summary.rtt, ...row });
    else if (row.layers) mergeLayer(known, row);
  }
  return summary;
}

/** @param {any} item @param {any} before @param {string} name */
function delta(item, before, name) {
  return Math.max(0, (item[name] ?? 0) - (before?.[name] ?? 0));
}

/** @param {any} item @param {any} before @param {string} name bytes @returns {number | null} */
function bitrate(item, before, name) {
  const seconds = before ? (item.timestamp - before.timestamp) / 1000 : 0;
  return seconds > 0 ? (8 * delta(item, before, name)) / seconds : null;
}

/** @param {any} item @param {any} before @returns {Row} */
function inboundRow(item, before) {
  const lost = delta(item, before, "packetsLost");
  const received = delta(item, before, "packetsReceived");
  const emitted = delta(item, before, "jitterBufferEmittedCount");
  return {
    width: item.frameWidth ?? null,
    height: item.frameHeight ?? null,
    fps: item.framesPerSecond ?? null,
    bitrate_bps: bitrate(item, before, "bytesReceived"),
    loss: lost + received > 0 ? lost / (lost + received) : 0,
    jitter_s: item.jitter ?? null,
    buffer_s: emitted > 0 ? delta(item, before, "jitterBufferDelay") / emitted : null,
    bytes: item.bytesReceived ?? 0,
    header_bytes: item.headerBytesReceived ?? 0,
    packets: item.packetsReceived ?? 0,
    packets_lost: item.packetsLost ?? 0,
    frames: item.framesDecoded ?? 0,
    frames_dropped: item.framesDropped ?? 0,
    keyframes: item.keyFramesDecoded ?? 0,
    freezes: item.freezeCount ?? 0,
    frozen_s: item.totalFreezesDuration ?? 0,
    nacks: item.nackCount ?? 0,
    plis: item.pliCount ?? 0,
  };
}

/** @param {any} item @param {any} before @param {any} remote what the room reported back @returns {Row} */
function outboundRow(item, before, remote) {
  const layer = {
    rid: item.rid ?? "",
    active: item.active !== false && (item.framesPerSecond ?? 1) > 0,
    width: item.frameWidth ?? null,
    height: item.frameHeight ?? null,
    fps: item.framesPerSecond ?? null,
    bitrate_bps: bitrate(item, before, "bytesSent"),
    limited: item.qualityLimitationReason ?? null,
  };
  return {
    ...layer,
    loss: remote?.fractionLost ?? null,
    jitter_s: remote?.jitter ?? null,
    bytes: item.bytesSent ?? 0,
    header_bytes: item.headerBytesSent ?? 0,
    packets: item.packetsSent ?? 0,
    frames: item.framesSent ?? 0,
    keyframes: item.keyFramesEncoded ?? 0,
    nacks: item.nackCount ?? 0,
    plis: item.pliCount ?? 0,
    layers: [layer],
  };
}

/** Simulcast layers are one track: rates add up, the picture is the largest one that is sent. @param {Row} row @param {Row} other */
function mergeLayer(row, other) {
  const layers = [...row.layers, ...other.layers];
  for (const name of ["bitrate_bps", "bytes", "header_bytes", "packets", "nacks", "plis", "keyframes"]) {
    other[name] = row[name] === null && other[name] === null ? null : (row[name] ?? 0) + (other[name] ?? 0);
  }
  other.frames = Math.max(row.frames, other.frames);
  other.loss = row.loss === null ? other.loss : Math.max(row.loss, other.loss ?? 0);
  const size = (/** @type {Row} */ one) => (one.active ? (one.width ?? 0) : -1);
  const larger = size(other) >= size(row);
  for (const name of ["width", "height", "fps", "limited", "rid", "active"]) if (!larger) other[name] = row[name];
  Object.assign(row, other, { layers: layers.sort((a, b) => "fhq".indexOf(a.rid) - "fhq".indexOf(b.rid)) });
}

/**
 * Adds what one more connection to another client carries of a track that we send.
 * @param {Map<string, Row>} rows @param {string} track @param {Row} row
 */
export function joinRows(rows, track, row) {
  const known = rows.get(track);
  const copy = { ...row, via: "direct", connections: 1 + (known?.connections ?? 0) };
  if (known) {
    mergeLayer(known, copy);
    known.rtt_s = Math.max(known.rtt_s ?? 0, row.rtt_s ?? 0) || null;
    known.layers = known.layers.slice(0, 1);
  } else rows.set(track, copy);
}

/**
 * Whether a picture has passed, or sound where there is no picture.
 * @param {RTCStatsReport | Map<string, any>} report @param {Map<string, {track: string, kind: string}>} byMid
 */
export function hasFrames(report, byMid) {
  const rows = [...summarise(report, byMid, null).rows.values()];
  const pictured = [...byMid.values()].some(({ kind }) => kind === "video");
  return rows.some((row) => (pictured ? row.kind === "video" && row.frames > 0 : row.packets > 0));
}

const MOST_OF_ONE = 12;

/**
 * ICE's candidate pairs, those in use first.
 * @param {RTCStatsReport | Map<string, any>} report @param {string} connection with whom @returns {Row[]}
 */
export function pairsOf(report, connection) {
  const all = [...report.values()];
  const transport = all.find(({ type }) => type === "transport");
  const address = (/** @type {any} */ { address, port } = {}) => (address ? `${address}:${port}` : null);
  return all
    .filter(({ type }) => type === "candidate-pair")
    .map((pair) => {
      const [local, remote] = [report.get(pair.localCandidateId) ?? {}, report.get(pair.remoteCandidateId) ?? {}];
      return {
        id: `${connection} ${pair.id}`.slice(-64),
        connection,
        selected: pair.id === transport?.selectedCandidatePairId,
        state: pair.state,
        nominated: pair.nominated === true,
        local_type: local.candidateType ?? null,
        local: address(local),
        local_protocol: local.protocol ?? null,
        relay_protocol: local.relayProtocol ?? null,
        remote_type: remote.candidateType ?? null,
        remote: address(remote),
        local_priority: local.priority ?? null,
        remote_priority: remote.priority ?? null,
        requests_sent: pair.requestsSent ?? null,
        responses_received: pair.responsesReceived ?? null,
        requests_received: pair.requestsReceived ?? null,
        responses_sent: pair.responsesSent ?? null,
        bytes_sent: pair.bytesSent ?? null,
        bytes_received: pair.bytesReceived ?? null,
        rtt_s: pair.currentRoundTripTime ?? null,
        role: transport?.iceRole ?? null,
        ufrag: transport?.iceLocalUsernameFragment ?? null,
      };
    })
    .sort((a, b) => pairRank(b) - pairRank(a))
    .slice(0, MOST_OF_ONE);
}

/** @param {Row} pair */
const pairRank = (pair) => 4 * Number(pair.selected) + 2 * Number(pair.nominated) + Number(pair.state === "succeeded");

/** A row with the figures of its layers beside its own, as `q_bitrate_bps`. @param {Row} row @returns {Row} */
export function flat({ layers = [], ...row }) {
  for (const { rid, ...figures } of layers.length > 1 ? layers : []) {
    for (const [name, value] of Object.entries(figures)) row[`${rid}_${name}`] = value;
  }
  return row;
}

/** @param {number | null | undefined} bps */
export function bitrateText(bps) {
  if (bps === null || bps === undefined) return "– kbit/s";
  return bps >= 999_500 ? `${(bps / 1e6).toFixed(bps >= 9.95e6 ? 0 : 1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}

/** @param {number | null | undefined} seconds */
export function millisText(seconds) {
  if (seconds === null || seconds === undefined) return "– ms";
  const ms = seconds * 1000;
  return `${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** The figures a person reads, each with its label. @param {Row | undefined} row @returns {{label: string, text: string}[]} */
export function figures(row) {
  if (!row) return [];
  const always = [
    { label: "Resolution", text: row.width ? `${row.width}×${row.height}` : "no picture" },
    { label: "Frame rate", text: `${Math.round(row.fps ?? 0)} fps` },
    { label: "Bitrate", text: bitrateText(row.bitrate_bps) },
  ];
  if (row.via === "tunnel") {
    const why = row.drop_reason ? `: ${reasonText(row.drop_reason)}` : "";
    return [...always, { label: "Frames left out", text: `${row.frames_dropped} dropped${why}` }];
  }
  return [
    ...always,
    { label: "Packet loss", text: row.loss === null ? "loss –" : `loss ${(100 * row.loss).toFixed(1)} %` },
    { label: "Round trip time", text: `RTT ${millisText(row.rtt_s)}` },
    { label: "Jitter", text: `jitter ${millisText(row.jitter_s)}` },
  ];
}
