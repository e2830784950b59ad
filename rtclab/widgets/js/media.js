// @ts-check
/** What can be published from a page, and how: cameras, microphones, the screen, the test pattern; simulcast encodings. */

import { openPattern } from "./pattern.js";
import { RoomError } from "./requests.js";

/** Bitrates that libwebrtc gives a simulcast layer of this many pixels, in bit/s. */
const LAYER_BITRATES = [
  [0, 100_000],
  [320 * 180, 200_000],
  [480 * 270, 450_000],
  [640 * 360, 700_000],
  [960 * 540, 1_200_000],
  [1280 * 720, 2_500_000],
  [1920 * 1080, 5_000_000],
];
const SCREEN_BITRATE = 2_500_000;
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/** @param {number} width @param {number} height @returns {number} bit/s */
export function layerBitrate(width, height) {
  const pixels = width * height;
  const above = LAYER_BITRATES.findIndex(([size]) => size >= pixels);
  if (above <= 0) return LAYER_BITRATES[above === 0 ? 0 : LAYER_BITRATES.length - 1][1];
  const [[size0, rate0], [size1, rate1]] = LAYER_BITRATES.slice(above - 1, above + 1);
  return Math.round(rate0 + ((rate1 - rate0) * (pixels - size0)) / (size1 - size0));
}

/**
 * @param {string} source @param {boolean} simulcast @param {number} width @param {number} height
 * @returns {RTCRtpEncodingParameters[]}
 */
export function encodingsFor(source, simulcast, width, height) {
  if (source === "screen") return [{ maxBitrate: SCREEN_BITRATE }]; // still pictures and simulcast do not go together
  if (!simulcast) return [{ maxBitrate: layerBitrate(width, height) }];
  return [4, 2, 1].map((scale, i) => ({
    rid: "qhf"[i],
    scaleResolutionDownBy: scale,
    maxBitrate: layerBitrate(width / scale, height / scale),
    scalabilityMode: "L1T3",
  }));
}

/**
 * @typedef {object} Capture
 * @property {MediaStreamTrack | null} video
 * @property {MediaStreamTrack | null} audio
 * @property {string} note what had to be left out, to be shown
 */

/**
 * Opens what was chosen. Video: "camera", "camera:<device>", "screen", "pattern"; audio: "microphone",
 * "microphone:<device>", "screen-audio", "pattern-audio", "none". Null means: not this one.
 * @param {string | null} video @param {string | null} audio @param {string} label shown in the pattern
 * @returns {Promise<Capture>}
 */
export async function capture(video, audio, label) {
  /** @type {Capture} */
  const got = { video: null, audio: null, note: "" };
  try {
    if (video === "screen" || audio === "screen-audio") {
      const stream = await devices().getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: audio === "screen-audio" });
      [got.video, got.audio] = [stream.getVideoTracks()[0] ?? null, stream.getAudioTracks()[0] ?? null];
      if (audio === "screen-audio" && !got.audio) got.note = "What you share has no sound, or sharing it was not ticked.";
    }
    const camera = video?.startsWith("camera") ? video : null;
    const microphone = audio?.startsWith("microphone") ? audio : null;
    if (camera || microphone) await captureDevices(camera, microphone, got);
    if (video === "pattern" || audio === "pattern-audio") {
      const pattern = openPattern({ label, picture: video === "pattern", sound: audio === "pattern-audio" });
      [got.video, got.audio] = [pattern.video ?? got.video, pattern.audio ?? got.audio];
    }
  } catch (error) {
    got.video?.stop();
    got.audio?.stop();
    throw error instanceof RoomError ? error : captureError(error, video ?? audio ?? "");
  }
  if (got.video) got.video.contentHint = video === "screen" ? "detail" : "motion";
  return got;
}

function devices() {
  if (!navigator.mediaDevices?.getUserMedia) throw captureError({ name: "InsecureContext" }, "");
  return navigator.mediaDevices;
}

/** One question for both; a missing or busy microphone does not keep the camera from working. */
async function captureDevices(
  /** @type {string | null} */ camera,
  /** @type {string | null} */ microphone,
  /** @type {Capture} */ got,
) {
  const which = (/** @type {string} */ choice) => {
    const id = choice.slice(choice.indexOf(":") + 1);
    return choice.includes(":") ? { deviceId: { exact: id } } : {};
  };
  const constraints = {
    video: camera ? { ...CAMERA, ...which(camera) } : false,
    audio: microphone ? { ...which(microphone) } : false,
  };
  let stream;
  try {
    stream = await devices().getUserMedia(constraints);
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    if (name === "OverconstrainedError") {
      stream = await devices().getUserMedia({ video: camera ? CAMERA : false, audio: Boolean(microphone) });
      got.note = "The device chosen before is not there any more; another one is used.";
    } else if (camera && microphone && (name === "NotFoundError" || name === "NotReadableError")) {
      stream = await devices().getUserMedia({ ...constraints, audio: false });
      got.note = "No microphone can be used, so there is no sound.";
    } else throw error;
  }
  got.video ??= stream.getVideoTracks()[0] ?? null;
  got.audio ??= stream.getAudioTracks()[0] ?? null;
}

/** @param {any} error @param {string} choice @returns {RoomError} what went wrong and what to try */
export function captureError(error, choice) {
  const thing = choice.startsWith("microphone") ? "microphone" : choice === "screen" ? "screen" : "camera";
  const pattern = "The test pattern works without it.";
  const texts = {
    NotAllowedError:
      thing === "screen"
        ? "Sharing the screen was refused or the dialog was closed. Press Start to be asked again."
        : `Access to the ${thing} was refused. Allow it at the left end of the address bar and press Start again. ` +
          `Some notebooks (VS Code) never allow it. ${pattern}`,
    NotFoundError: `No ${thing} was found. Connect one and press Start again. ${pattern}`,
    NotReadableError: `The ${thing} is there but gives no picture or sound: another program may hold it. Close that program and press Start again. ${pattern}`,
    OverconstrainedError: `The ${thing} chosen cannot be used. Choose another one. ${pattern}`,
    AbortError: `The ${thing} stopped while it was being opened. Press Start again. ${pattern}`,
    InsecureContext:
      "Browsers capture only on secure pages. Open this notebook as https:// or through localhost " +
      `(ssh -L 8888:localhost:8888 host). ${pattern}`,
    InvalidStateError: "This page must be in front to be allowed to capture. Press Start again.",
  };
  const name = String(error?.name ?? "Error");
  return new RoomError(name, texts[name] ?? `The ${thing} could not be opened (${name}${error?.message ? `: ${error.message}` : ""}). ${pattern}`);
}

/** @returns {Promise<{cameras: {id: string, label: string}[], microphones: {id: string, label: string}[]}>} */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const ofKind = (/** @type {string} */ kind) =>
    all
      .filter((device) => device.kind === kind && device.label && !["", "default", "communications"].includes(device.deviceId))
      .map(({ deviceId, label }) => ({ id: deviceId, label }));
  return { cameras: ofKind("videoinput"), microphones: ofKind("audioinput") };
}
