// @ts-check
/**
 * What is watched through a tunnel: decoded, and given out as tracks of a MediaStream.
 *
 * Sound is scheduled packet after packet in an AudioContext; what it is early or late by is corrected by a slightly other
 * speed. A picture waits, still encoded, until it is due by the sound's clock. What comes too late, because a line became slow at
 * once or something stood still, is not shown, for two seconds at most; if all does for longer, it is how things are.
 */

import { Offset, STALE_S } from "./tunnel_clock.js";
import { codecOf } from "./tunnel_frames.js";
import { Tally } from "./tunnel_figures.js";

/** Decoding and showing take about this long. */
const DECODE_S = 0.01;
const MOST_DECODING = 20;
const MOST_SOUND_DECODING = 50;
/** A packet of Opus, as it is sent here. */
const PACKET_S = 0.02;
const ASK_AGAIN_S = 0.5;
const SAMPLE_RATE = 48_000;
/** Sound this much off its time is set right at once. */
const SOUND_JUMP_S = 0.2;
const STEADY_S = 0.01;
const MOST_BEND = 0.03;
const LEAD_S = 0.01;
/** What differs by more from what came before is on another clock, and not late. */
const FAR_S = 5;
/** After so long without a picture a late one is better than none. */
const DARK_S = 2;

/** @typedef {import("./tunnel_frames.js").Frame} Frame */

/** Whether this page may decode by itself: browsers let only secure pages do so. */
export const hasCodecs = () => "VideoDecoder" in globalThis && "AudioDecoder" in globalThis;

/** Pictures as a track: from a generator, or from a canvas where the browser has none on this thread. */
class Screen {
  constructor() {
    const { MediaStreamTrackGenerator } = /** @type {any} */ (globalThis);
    if (MediaStreamTrackGenerator && hasCodecs()) {
      /** @type {MediaStreamTrack} */
      this.track = new MediaStreamTrackGenerator({ kind: "video" });
      /** @type {WritableStreamDefaultWriter<VideoFrame> | null} */
      this.writer = /** @type {any} */ (this.track).writable.getWriter();
    } else {
      this.canvas = document.createElement("canvas");
      this.context = this.canvas.getContext("2d", { alpha: false });
      [this.track] = this.canvas.captureStream().getVideoTracks();
      this.writer = null;
    }
  }

  /** @param {VideoFrame | ImageBitmap} picture @param {number} width @param {number} height */
  show(picture, width, height) {
    if (this.writer) {
      if ((this.writer.desiredSize ?? 0) > 0) this.writer.write(/** @type {VideoFrame} */ (picture)).catch(() => {});
      else picture.close();
      return;
    }
    const { canvas, context } = this;
    if (canvas && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
    context?.drawImage(picture, 0, 0);
    picture.close();
  }
}

export class PicturePlayer {
  /**
   * @param {import("./tunnel_clock.js").PlayoutClock} clock
   * @param {{now: () => number, askKeyframe: () => void, shown: () => void}} hooks
   */
  constructor(clock, { now, askKeyframe, shown }) {
    this.clock = clock;
    this.now = now;
    this.askKeyframe = askKeyframe;
    this.shown = shown;
    this.figures = new Tally();
    this.screen = new Screen();
    this.track = this.screen.track;
    this.shownAt = -Infinity;
    this.waitsForKey = true;
    this.askedAt = -Infinity;
    this.arrivals = new Offset(FAR_S);
    /** Times of what is decoded and not shown. @type {Set<number>} */
    this.stale = new Set();
    /** @type {string | null} */
    this.codec = null;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    /** Whether it took the last keyframe. */
    this.usable = false;
    /** @type {{frame: Frame, due: number}[]} */
    this.queue = [];
    /** @type {any} */
    this.timer = 0;
  }

  /** A frame before this one is missing. */
  broken() {
    this.waitsForKey = true;
  }

  /** @param {Frame} frame */
  take(frame) {
    const now = this.now();
    // the room may not know the time yet
    const left = frame.time ? STALE_S - this.arrivals.learn(frame.time / 1e6, now) : STALE_S;
    if (frame.key) this.waitsForKey = false;
    else if (this.waitsForKey) {
      this.figures.drop("waiting_for_keyframe");
      if (now - this.askedAt > ASK_AGAIN_S) {
        this.askedAt = now;
        this.askKeyframe();
      }
      return;
    }
    if (left < 0 && now - this.shownAt < DARK_S) this.stale.add(frame.time);
    this.queue.push({ frame, due: Math.min(this.clock.pictureDue(frame.time / 1e6, now), now + left) - DECODE_S });
    this.#work();
  }

  /** How long the oldest picture has waited beyond its time. @returns {number} seconds */
  get late() {
    return this.queue.length ? Math.max(0, this.now() - this.queue[0].due) : 0;
  }

  #work() {
    clearTimeout(this.timer);
    const now = this.now();
    while (this.queue.length && this.queue[0].due <= now) {
      const [{ frame }] = this.queue.splice(0, 1);
      if (frame.jpeg) this.#paint(frame);
      else this.#decode(frame);
    }
    if (this.queue.length) this.timer = setTimeout(() => this.#work(), 1000 * (this.queue[0].due - now));
  }

  /** @param {Frame} frame */
  #decode({ key, time, payload }) {
    if (key) {
      const codec = codecOf(payload) ?? this.codec;
      if (codec && (codec !== this.codec || this.decoder?.state !== "configured")) this.#configure(codec);
      this.usable = this.decoder?.state === "configured";
    } else if ((this.decoder?.decodeQueueSize ?? 0) > MOST_DECODING) {
      this.waitsForKey = true;
      this.figures.drop("decoder_busy", 1 + this.queue.splice(0).length);
      return;
    }
    if (this.decoder?.state !== "configured") {
      this.figures.drop(this.usable ? "waiting_for_keyframe" : "codec_not_supported");
      return;
    }
    this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: time, data: payload }));
    this.figures.pass(payload.length, key, 0, 0, this.now());
  }

  /** @param {string} codec */
  #configure(codec) {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.codec = codec;
    this.decoder = new VideoDecoder({
      output: (picture) => this.#show(picture, picture.timestamp, picture.displayWidth, picture.displayHeight),
      error: () => {
        this.waitsForKey = true;
        this.figures.drop("not_decoded");
      },
    });
    this.decoder.configure({ codec, optimizeForLatency: true });
  }

  /** @param {Frame} frame a whole picture */
  async #paint({ payload, time }) {
    try {
      const picture = await createImageBitmap(new Blob([/** @type {BlobPart} */ (payload)], { type: "image/jpeg" }));
      this.figures.pass(payload.length, true, 0, 0, this.now());
      this.#show(picture, time, picture.width, picture.height);
    } catch {
      this.figures.drop("not_decoded");
    }
  }

  /** @param {VideoFrame | ImageBitmap} picture @param {number} time @param {number} width @param {number} height */
  #show(picture, time, width, height) {
    if (this.stale.delete(time)) {
      this.figures.drop("behind");
      return picture.close();
    }
    Object.assign(this.figures, { width, height });
    this.screen.show(picture, width, height);
    this.shownAt = this.now();
    this.shown();
  }

  close() {
    clearTimeout(this.timer);
    this.queue = [];
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.track.stop();
  }
}

export class SoundPlayer {
  /**
   * @param {import("./tunnel_clock.js").PlayoutClock} clock @param {AudioContext} context
   * @param {{now: () => number, shown: () => void}} hooks
   */
  constructor(clock, context, { now, shown }) {
    this.clock = clock;
    this.context = context;
    this.now = now;
    this.shown = shown;
    this.figures = new Tally();
    this.out = context.createMediaStreamDestination();
    [this.track] = this.out.stream.getAudioTracks();
    this.shownAt = -Infinity;
    /** When the packet after the last one begins, on the context's clock. */
    this.nextAt = 0;
    this.offset = new Offset();
    this.arrivals = new Offset(FAR_S);
    /** When what is in the decoder was captured: it counts samples itself, and knows of none that were left out. @type {number[]} */
    this.times = [];
    /** Whether somebody had clicked here when sound was asked for last; null when that was granted. @type {boolean | null} */
    this.clicked = null;
    this.decoder = this.#decoder();
  }

  #decoder() {
    const decoder = new AudioDecoder({
      output: (data) => this.#schedule(data),
      // it is closed now, and what was in it is lost
      error: () => this.figures.drop("not_decoded", this.times.splice(0).length),
    });
    decoder.configure({ codec: "opus", sampleRate: SAMPLE_RATE, numberOfChannels: 2 });
    return decoder;
  }

  broken() {}

  /** How long the packets play that wait for the decoder. @returns {number} seconds */
  get late() {
    return PACKET_S * this.decoder.decodeQueueSize;
  }

  /** @param {Frame} frame */
  take({ time, payload }) {
    if (time && this.arrivals.learn(time / 1e6, this.now()) > STALE_S) return this.figures.drop("behind");
    if (this.decoder.state === "closed") this.decoder = this.#decoder();
    if (this.decoder.decodeQueueSize > MOST_SOUND_DECODING) {
      this.figures.drop("decoder_busy");
      return;
    }
    this.times.push(time);
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: time, data: payload }));
    this.figures.pass(payload.length, false, 0, 0, this.now());
  }

  /** Asks for sound. Where it is not allowed that is never answered, even after a click: then it is asked for once more. */
  #resume() {
    const clicked = navigator.userActivation.hasBeenActive;
    if (this.clicked === clicked) return;
    this.clicked = clicked;
    this.context.resume().then(() => (this.clicked = null), () => {});
  }

  /** @param {AudioData} data */
  #schedule(data) {
    const { context, clock } = this;
    const now = this.now();
    const time = this.times.shift() ?? data.timestamp;
    if (context.state !== "running") {
      this.#resume();
      this.figures.drop("sound_not_allowed");
      data.close();
      return;
    }
    this.offset.learn(context.currentTime, now);
    const due = clock.due(time / 1e6) - (this.offset.value ?? 0);
    const gap = due - this.nextAt;
    const soonest = context.currentTime + LEAD_S;
    const broke = this.nextAt < soonest || Math.abs(gap) > SOUND_JUMP_S;
    const at = broke ? Math.max(due, soonest) : this.nextAt;
    const buffer = context.createBuffer(data.numberOfChannels, data.numberOfFrames, data.sampleRate);
    for (let planeIndex = 0; planeIndex < data.numberOfChannels; planeIndex++) {
      data.copyTo(buffer.getChannelData(planeIndex), { planeIndex, format: "f32-planar" });
    }
    data.close();
    const bend = broke || Math.abs(gap) < STEADY_S ? 0 : Math.max(-MOST_BEND, Math.min(MOST_BEND, 0.3 * gap));
    const source = new AudioBufferSourceNode(context, { buffer, playbackRate: 1 - bend });
    source.connect(this.out);
    source.start(at);
    this.nextAt = at + buffer.duration / (1 - bend);
    clock.heard(at - due, now);
    this.shownAt = now;
    this.shown();
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
    this.track.stop();
    this.out.disconnect();
  }
}
