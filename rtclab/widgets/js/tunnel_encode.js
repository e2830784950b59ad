// @ts-check
/** Encoders of what is published through a tunnel: one for the sound, one for each simulcast layer of a picture. */

import { boundOf, isDemanded } from "./encodings.js";
import { piecesOf } from "./tunnel_capture.js";
import { CaptureClock } from "./tunnel_clock.js";
import { fit, share } from "./tunnel_layers.js";

const AUDIO_BPS = 48_000;
const PLAIN_VIDEO_BPS = 1_000_000;
const FRAMERATE = 30;
/** Of its bitrate that an encoder is told for a keyframe; it makes them as large as half a second of that. */
const KEYFRAME_SHARE = 0.25;
/** Frames that may be in an encoder: a machine that is too slow leaves some out. Its own queue does not tell of those it works on. */
const MOST_ENCODING = 2;
/** One that has not come out after so long was left out by the encoder. */
const OVERDUE_S = 0.5;
/** So many errors, with nothing encoded between them, and it cannot be encoded here. One alone may be a browser that took back what was idle. */
const MOST_FAILURES = 2;
/** A change of the bitrate that is worth telling the encoder. */
const RECONFIGURE = 0.1;

const CODECS = { vp8: "vp8", h264: "avc1.42E02A" };

/** @param {string} [name] as the answer names it @returns {string | null} as WebCodecs does; null: not in a tunnel */
export const tunnelCodec = (name) => CODECS[String(name).toLowerCase().replace("video/", "")] ?? null;

/**
 * @typedef {object} Encoded
 * @property {boolean} key @property {boolean} audio
 * @property {number} time seconds, on the page's clock
 * @property {number} width @property {number} height @property {string} rid
 * @property {EncodedVideoChunk | EncodedAudioChunk} chunk
 *
 * @typedef {object} Outlet where what is encoded goes
 * @property {() => number} now seconds
 * @property {(encoded: Encoded) => string | null} send why it did not go
 * @property {() => string | null} blocked why no picture may be sent now
 * @property {(error: Error) => void} failed
 */

/** @typedef {{rid: string, scale: number, most: number, bps: number, encoder: VideoEncoder, encoding: {timestamp: number, at: number}[], width: number, height: number, halved: number, every: number, told: number, wantsKey: boolean, broken: boolean, failures: number, figures: import("./tunnel_figures.js").Tally}} Layer */

export class PictureSender {
  /**
   * @param {import("./peer.js").Sending} sending @param {string} codec @param {Outlet} outlet
   * @param {() => import("./tunnel_figures.js").Tally} tally makes the figures of a layer
   */
  constructor({ media, encodings }, codec, outlet, tally) {
    this.media = media;
    this.encodings = encodings;
    this.codec = codec;
    this.outlet = outlet;
    this.clock = new CaptureClock();
    /** Of what is captured; and how many frames were. */
    this.size = { width: 0, height: 0 };
    this.frames = 0;
    /** Whether the bitrate has been limited so far. */
    this.careful = false;
    /** The smallest first. @type {Layer[]} */
    this.layers = encodings
      .map(({ rid = "", scaleResolutionDownBy = 1, maxBitrate = PLAIN_VIDEO_BPS }) => {
        const layer = /** @type {any} */ ({ rid, scale: scaleResolutionDownBy, most: maxBitrate, bps: maxBitrate });
        Object.assign(layer, { halved: 0, every: 1, told: 0, broken: false, failures: 0, figures: tally() });
        this.#renew(layer);
        return layer;
      })
      .sort((a, b) => b.scale - a.scale);
    this.end = media ? piecesOf(media, (frame) => this.#take(frame)) : () => {};
  }

  /** @param {Layer} layer */
  #renew(layer) {
    const encoder = new VideoEncoder({ output: (chunk) => this.#encoded(layer, chunk), error: (error) => this.#failed(layer, error) });
    Object.assign(layer, { encoder, encoding: [], width: 0, height: 0, wantsKey: true });
  }

  /** @param {Layer} layer @param {Error} error */
  #failed(layer, error) {
    layer.failures += 1;
    layer.figures.drop("not_encoded", layer.encoding.length);
    if (layer.failures < MOST_FAILURES) this.#renew(layer);
    else if (this.layers.every(({ failures }) => failures >= MOST_FAILURES)) this.outlet.failed(error);
  }

  /** How much its layers would have without a limit. @param {import("./encodings.js").Demand | undefined} demand */
  wanted(demand) {
    return this.layers.reduce((sum, layer) => sum + (this.#wants(layer, demand) ? boundOf(demand, layer.most) : 0), 0);
  }

  /** @param {Layer} layer @param {import("./encodings.js").Demand | undefined} demand */
  #wants({ rid, failures }, demand) {
    return failures < MOST_FAILURES && isDemanded(demand, rid);
  }

  /** @param {number} limit bit/s @param {import("./encodings.js").Demand | undefined} demand */
  allow(limit, demand) {
    this.careful = limit < Infinity;
    const given = share(limit, this.layers.map((layer) => ({ most: boundOf(demand, layer.most), wanted: this.#wants(layer, demand), sent: layer.bps > 0 })));
    this.layers.forEach((layer, i) => {
      if (given[i] && !layer.bps) layer.wantsKey = true;
      layer.bps = given[i];
      if (given[i] && this.size.height) Object.assign(layer, fit(given[i], layer.most, this.size.height / layer.scale, layer.halved));
      layer.figures.limited = isDemanded(demand, layer.rid) && given[i] < layer.most ? "bandwidth" : "none";
    });
  }

  /** @param {string} rid */
  refresh(rid) {
    for (const layer of this.layers) if (layer.rid === rid || !rid) layer.wantsKey = true;
  }

  /** What is in an encoder comes too late: only a keyframe can follow. */
  restart() {
    for (const layer of this.layers) layer.broken = layer.wantsKey = true;
  }

  /** @param {VideoFrame} frame */
  #take(frame) {
    const { outlet } = this;
    const now = outlet.now();
    this.clock.captured(frame.timestamp / 1e6, now);
    this.size = { width: frame.displayWidth, height: frame.displayHeight };
    this.frames += 1;
    const blocked = outlet.blocked();
    for (const layer of this.layers) {
      if (!layer.bps || layer.encoder.state === "closed" || this.frames % layer.every) continue;
      const reason = blocked ?? (this.#busy(layer, now) ? "encoder_busy" : null);
      if (reason) layer.figures.drop(reason);
      else this.#encode(layer, frame);
    }
    frame.close();
  }

  /** @param {Layer} layer @param {number} now */
  #busy(layer, now) {
    layer.encoding = layer.encoding.filter(({ at }) => now - at < OVERDUE_S);
    return layer.encoding.length >= MOST_ENCODING;
  }

  /** @param {Layer} layer @param {VideoFrame} frame */
  #encode(layer, frame) {
    const { encoder } = layer;
    const scale = layer.scale * 2 ** layer.halved;
    const even = (/** @type {number} */ size) => Math.max(2, 2 * Math.round(size / scale / 2));
    const [width, height] = [even(this.size.width), even(this.size.height)];
    const resized = width !== layer.width || height !== layer.height;
    const key = layer.wantsKey || resized;
    // an encoder counts with all frames; and on a line that was slow before a keyframe must not be as large as it would be
    const bps = layer.bps * layer.every * (key && this.careful ? KEYFRAME_SHARE : 1);
    if (resized || Math.abs(bps / layer.told - 1) > RECONFIGURE) {
      encoder.configure({
        codec: this.codec,
        width,
        height,
        bitrate: bps,
        framerate: FRAMERATE,
        latencyMode: "realtime",
        ...(this.codec === "vp8" ? {} : { avc: { format: /** @type {const} */ ("annexb") } }),
      });
      if (encoder.state === "closed") return; // it cannot, and has said so
      Object.assign(layer, { width, height, told: bps });
    }
    layer.encoding.push({ timestamp: frame.timestamp, at: this.outlet.now() });
    encoder.encode(frame, { keyFrame: key });
    layer.wantsKey = false;
  }

  /** @param {Layer} layer @param {EncodedVideoChunk} chunk */
  #encoded(layer, chunk) {
    const { rid, width, height } = layer;
    layer.encoding = layer.encoding.filter(({ timestamp }) => timestamp > chunk.timestamp);
    layer.failures = 0;
    const key = chunk.type === "key";
    if (layer.broken && !key) return layer.figures.drop("waiting_for_keyframe");
    const time = this.clock.time(chunk.timestamp / 1e6);
    const reason = this.outlet.send({ key, audio: false, time, width, height, rid, chunk });
    if (reason) {
      layer.broken = layer.wantsKey = true;
      layer.figures.drop(reason);
    } else {
      layer.broken = false;
      layer.figures.pass(chunk.byteLength, key, width, height, this.outlet.now());
    }
  }

  close() {
    this.end();
    for (const { encoder } of this.layers) if (encoder.state !== "closed") encoder.close();
  }
}

/** Bit of a frame's width that says: the rest is the byte of RFC 6464, by which the room knows who speaks. */
const LEVEL = 256;
const VOICE = 128;
const SILENCE = 127;
const VOICE_DBOV = -50;
const STRAYED_S = 0.04;

/** @param {AudioData} data @returns {number} how loud it is, as RFC 6464 says it */
function levelOf(data) {
  const samples = new Float32Array(data.numberOfFrames);
  data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const dbov = Math.max(-SILENCE, Math.round(10 * Math.log10(2 * power)));
  return (dbov > VOICE_DBOV ? VOICE : 0) | Math.min(SILENCE, Math.max(0, -dbov));
}

export class SoundSender {
  /**
   * @param {import("./peer.js").Sending} sending @param {Outlet} outlet
   * @param {() => import("./tunnel_figures.js").Tally} tally
   */
  constructor({ media, encodings }, outlet, tally) {
    this.media = media;
    this.encodings = encodings;
    this.outlet = outlet;
    this.clock = new CaptureClock();
    this.figures = tally();
    this.format = "";
    this.level = SILENCE;
    /** Where the encoder believes the next sample to be. */
    this.nextAt = 0;
    this.failures = 0;
    this.encoder = this.#encoder();
    this.end = media ? piecesOf(media, (data) => this.#take(data)) : () => {};
  }

  #encoder() {
    return new AudioEncoder({ output: (chunk) => this.#encoded(chunk), error: (error) => this.#failed(error) });
  }

  /** @param {Error} error */
  #failed(error) {
    this.failures += 1;
    this.figures.drop("not_encoded");
    if (this.failures >= MOST_FAILURES) return this.outlet.failed(error);
    this.encoder = this.#encoder();
    this.format = "";
  }

  /** @param {AudioData} data */
  #take(data) {
    this.level = levelOf(data);
    const { sampleRate, numberOfChannels, timestamp, numberOfFrames } = data;
    this.clock.captured(timestamp / 1e6 + numberOfFrames / sampleRate, this.outlet.now());
    const format = `${sampleRate} ${numberOfChannels}`;
    if (this.encoder.state !== "closed") {
      // the encoder counts samples from where it began, and knows of none that were left out
      const strayed = Math.abs(timestamp / 1e6 - this.nextAt) > STRAYED_S;
      if (format !== this.format || strayed) {
        if (this.format) {
          this.encoder.close();
          this.encoder = this.#encoder();
        }
        this.format = format;
        this.encoder.configure({ codec: "opus", sampleRate, numberOfChannels, bitrate: AUDIO_BPS });
        this.nextAt = timestamp / 1e6;
      }
      this.nextAt += numberOfFrames / sampleRate;
      if (this.encoder.state === "configured") this.encoder.encode(data);
    }
    data.close();
  }

  /** @param {EncodedAudioChunk} chunk */
  #encoded(chunk) {
    this.failures = 0;
    const time = this.clock.time(chunk.timestamp / 1e6);
    const reason = this.outlet.send({ key: true, audio: true, time, width: LEVEL | this.level, height: 0, rid: "", chunk });
    if (reason) this.figures.drop(reason);
    else this.figures.pass(chunk.byteLength, false, 0, 0, this.outlet.now());
  }

  refresh() {}

  restart() {}

  close() {
    this.end();
    if (this.encoder.state !== "closed") this.encoder.close();
  }
}
