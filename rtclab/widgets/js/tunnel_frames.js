// @ts-check
/**
 * The binary messages that carry media without UDP, in network byte order.
 *
 *   FRAME     u8 1 | u8 flags | u32 number | u64 time_us | u16 width | u16 height | u8 n | mid | u8 m | rid | payload
 *   ACK       u8 2 | u8 0 | u32 number | u32 waiting_ms
 *   KEYFRAME  u8 3 | u8 0 | u8 n | mid | u8 m | rid
 *
 * A payload is one access unit: VP8 (RFC 6386), H.264 with start codes (ITU-T H.264 Annex B), an Opus packet or a JPEG.
 */

const FRAME = 1;
const ACK = 2;
const KEYFRAME = 3;
const IS_KEY = 1;
const IS_AUDIO = 2;
const IS_JPEG = 4;
const HEAD = 18;

/**
 * @typedef {object} Frame
 * @property {"frame"} type
 * @property {boolean} key @property {boolean} audio @property {boolean} jpeg
 * @property {number} number counts every frame of one direction, from 1
 * @property {number} time Unix microseconds of the capture, on one clock for each publisher
 * @property {number} width @property {number} height 0 for sound
 * @property {string} mid @property {string} rid
 * @property {Uint8Array} payload
 *
 * @typedef {Frame | {type: "ack", number: number, waiting: number} | {type: "keyframe", mid: string, rid: string}} TunnelMessage
 */

/** @param {...string} names ASCII @returns {number[]} each with its length before it */
const named = (...names) => names.flatMap((name) => [name.length, ...[...name].map((letter) => letter.charCodeAt(0))]);

/**
 * @param {Omit<Frame, "type" | "jpeg" | "payload">} frame
 * @param {{byteLength: number, copyTo: (target: Uint8Array) => void}} chunk as WebCodecs encodes
 * @returns {Uint8Array}
 */
export function packFrame({ key, audio, number, time, width, height, mid, rid }, chunk) {
  const names = named(mid, rid);
  const bytes = new Uint8Array(HEAD + names.length + chunk.byteLength);
  const view = new DataView(bytes.buffer);
  bytes[0] = FRAME;
  bytes[1] = (key ? IS_KEY : 0) | (audio ? IS_AUDIO : 0);
  view.setUint32(2, number);
  view.setBigUint64(6, BigInt(Math.round(time)));
  view.setUint16(14, width);
  view.setUint16(16, height);
  bytes.set(names, HEAD);
  chunk.copyTo(bytes.subarray(HEAD + names.length));
  return bytes;
}

/** @param {number} number @param {number} waiting seconds @returns {Uint8Array} */
export function packAck(number, waiting) {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  bytes[0] = ACK;
  view.setUint32(2, number);
  view.setUint32(6, Math.round(1000 * waiting));
  return bytes;
}

/** @param {string} mid @param {string} rid @returns {Uint8Array} */
export const packKeyframe = (mid, rid) => new Uint8Array([KEYFRAME, 0, ...named(mid, rid)]);

/** @param {ArrayBuffer} buffer @returns {TunnelMessage | null} null when it is none */
export function unpack(buffer) {
  const view = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  let at = 0;
  const name = () => {
    const start = at + 1;
    at = start + view.getUint8(at);
    if (at > bytes.length) throw new RangeError();
    return String.fromCharCode(...bytes.subarray(start, at));
  };
  try {
    switch (view.getUint8(0)) {
      case FRAME: {
        const flags = bytes[1];
        at = HEAD;
        return {
          type: "frame",
          key: (flags & IS_KEY) > 0,
          audio: (flags & IS_AUDIO) > 0,
          jpeg: (flags & IS_JPEG) > 0,
          number: view.getUint32(2),
          time: Number(view.getBigUint64(6)),
          width: view.getUint16(14),
          height: view.getUint16(16),
          mid: name(),
          rid: name(),
          payload: bytes.subarray(at),
        };
      }
      case ACK:
        return { type: "ack", number: view.getUint32(2), waiting: view.getUint32(6) / 1000 };
      case KEYFRAME:
        at = 2;
        return { type: "keyframe", mid: name(), rid: name() };
    }
  } catch {
    // too short: nothing that can be used
  }
  return null;
}

/**
 * What a keyframe is coded with, from its first bytes; null when it cannot be told.
 * @param {Uint8Array} payload @returns {string | null} as WebCodecs names it
 */
export function codecOf(payload) {
  if (payload[3] === 0x9d && payload[4] === 0x01 && payload[5] === 0x2a) return "vp8";
  for (let i = 0; i + 6 < payload.length && i < 256; i++) {
    // a sequence parameter set begins with profile, constraints and level
    if (payload[i] || payload[i + 1] || payload[i + 2] !== 1 || (payload[i + 3] & 31) !== 7) continue;
    return `avc1.${[4, 5, 6].map((k) => payload[i + k].toString(16).padStart(2, "0")).join("")}`;
  }
  return null;
}
