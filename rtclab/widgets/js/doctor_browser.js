// @ts-check
/** What the doctor finds out about the browser by itself. Each check gives a state and a sentence, and never throws. */

/** @typedef {{state: "ok" | "warn" | "fail" | "none", detail: string, [more: string]: any}} Finding */

const CAPTURE_MS = 8000;
const CODEC_MS = 4000;
const WIDTH = 320;
const HEIGHT = 180;
const SAMPLES = 960; // 20 ms

/** @template T @param {Promise<T>} promise @param {number} ms @param {string} what @returns {Promise<T>} */
export function within(promise, ms, what) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms / 1000} s`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Name and version of the browser, and of JupyterLab if this is one. @param {any} config @returns {string} */
export function browserName(config) {
  const brands = /** @type {any} */ (navigator).userAgentData?.brands ?? [];
  const brand = brands.find(({ brand }) => !/not.?a.?brand|^chromium$/i.test(brand)) ?? brands.find(({ brand }) => brand === "Chromium");
  const known = navigator.userAgent.match(/(Firefox|Edg|OPR|Chrome|Version)\/([\d.]+)/);
  const browser = brand ? `${brand.brand} ${brand.version}` : known ? `${known[1].replace("Version", "Safari")} ${known[2]}` : "unknown browser";
  return config?.appVersion ? `${browser}, ${config.appName ?? "JupyterLab"} ${config.appVersion}` : browser;
}

/** @returns {Finding} */
export function checkSecure() {
  if (isSecureContext) return { state: "ok", detail: `${location.origin} is a secure context.` };
  return { state: "fail", detail: `${location.origin} is not: browsers give no camera and no WebCodecs to it. Use https, or http://localhost.` };
}

/** @returns {Promise<Finding>} */
export async function checkPermission() {
  if (!navigator.mediaDevices) return { state: "fail", detail: "This page has no navigator.mediaDevices: it is not secure." };
  const policy = /** @type {any} */ (document).featurePolicy;
  const blocked = ["camera", "microphone"].filter((name) => policy && !policy.allowsFeature(name));
  if (blocked.length) return { state: "fail", detail: `What this page is embedded in forbids: ${blocked.join(" and ")}. Open the notebook in a tab of its own.` };
  const said = [];
  const states = [];
  for (const name of ["camera", "microphone"]) {
    try {
      const { state } = await navigator.permissions.query({ name: /** @type {any} */ (name) });
      states.push(state);
      said.push(`${name} ${{ granted: "allowed", denied: "refused", prompt: "will be asked for" }[state]}`);
    } catch {
      said.push(`${name} unknown`); // a browser that does not tell
    }
  }
  if (states.includes("denied")) return { state: "fail", detail: `${capital(said.join(", "))}. Allow it in the browser's settings for this site.` };
  return { state: "ok", detail: `${capital(said.join(", "))}.`, granted: states.length === 2 && states.every((state) => state === "granted") };
}

/** @returns {Promise<Finding>} */
export async function checkCamera() {
  if (!navigator.mediaDevices) return { state: "fail", detail: "Nothing can be captured on a page that is not secure." };
  const said = [];
  let state = /** @type {"ok" | "warn" | "fail"} */ ("ok");
  for (const [kind, name] of [["video", "camera"], ["audio", "microphone"]]) {
    const asked = navigator.mediaDevices.getUserMedia({ [kind]: true });
    try {
      const stream = await within(asked, CAPTURE_MS, `the ${name}`);
      const [track] = stream.getTracks();
      const { width, height } = track.getSettings();
      said.push(`${name} "${track.label}"${width ? `, ${width}x${height}` : ""}`);
      track.stop();
    } catch (error) {
      asked.then((stream) => stream.getTracks().forEach((track) => track.stop())).catch(() => {});
      const none = error instanceof DOMException && error.name === "NotFoundError";
      said.push(none ? `no ${name}` : `${name}: ${error instanceof Error ? error.message : error}`);
      state = none && state !== "fail" ? "warn" : "fail";
    }
  }
  return { state, detail: `${capital(said.join("; "))}.${state === "ok" ? "" : " The test pattern can be published without."}` };
}

/** @returns {Promise<Finding>} */
export async function checkCodecs() {
  if (typeof VideoEncoder === "undefined" || typeof VideoDecoder === "undefined") {
    const why = isSecureContext ? "this browser has none" : "this page is not secure";
    return { state: "fail", detail: `No WebCodecs: ${why}. Where UDP does not pass there will be pictures only, without sound.` };
  }
  const tried = [
    ["VP8", tryVideo("vp8")],
    ["H264", tryVideo("avc1.42001f")],
    ["Opus", tryOpus()],
  ];
  const said = [];
  const worked = [];
  for (const [name, attempt] of /** @type {[string, Promise<string>][]} */ (tried)) {
    const problem = await within(attempt, CODEC_MS, "it").catch((error) => String(error?.message ?? error));
    if (!problem) worked.push(name);
    said.push(problem ? `${name}: ${problem}` : `${name} encoded and decoded`);
  }
  const enough = worked.includes("Opus") && worked.length > 1;
  return { state: worked.length === 3 ? "ok" : enough ? "warn" : "fail", detail: `${said.join(", ")}.` };
}

/** Encodes a picture and decodes it again. @param {string} codec @returns {Promise<string>} what is wrong, or "" */
async function tryVideo(codec) {
  /** @type {any} */
  const config = { codec, width: WIDTH, height: HEIGHT, bitrate: 300_000, framerate: 30, latencyMode: "realtime" };
  if (codec.startsWith("avc")) config.avc = { format: "annexb" };
  if (!(await VideoEncoder.isConfigSupported(config)).supported) return "no encoder";
  if (!(await VideoDecoder.isConfigSupported({ codec })).supported) return "no decoder";
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  canvas.getContext("2d")?.fillRect(0, 0, WIDTH, HEIGHT / 2);
  const frame = new VideoFrame(canvas, { timestamp: 0 });
  return roundTrip(VideoEncoder, VideoDecoder, config, { codec }, [frame], { keyFrame: true });
}

/** @returns {Promise<string>} what is wrong, or "" */
async function tryOpus() {
  if (typeof AudioEncoder === "undefined" || typeof AudioDecoder === "undefined") return "no WebCodecs for sound";
  const config = { codec: "opus", sampleRate: 48_000, numberOfChannels: 1, bitrate: 32_000 };
  if (!(await AudioEncoder.isConfigSupported(config)).supported) return "no encoder";
  if (!(await AudioDecoder.isConfigSupported(config)).supported) return "no decoder";
  const samples = [0, 1, 2].map(
    (n) =>
      new AudioData({
        format: "f32",
        sampleRate: 48_000,
        numberOfFrames: SAMPLES,
        numberOfChannels: 1,
        timestamp: n * 20_000,
        data: Float32Array.from({ length: SAMPLES }, (_, i) => 0.2 * Math.sin(i / 8)),
      }),
  );
  return roundTrip(AudioEncoder, AudioDecoder, config, config, samples, undefined);
}

/**
 * @param {any} Encoder @param {any} Decoder @param {any} encoding @param {any} decoding
 * @param {any[]} inputs closed here @param {any} options
 */
async function roundTrip(Encoder, Decoder, encoding, decoding, inputs, options) {
  const chunks = [];
  let outputs = 0;
  let problem = "";
  const error = (/** @type {Error} */ failure) => (problem = failure.message);
  const encoder = new Encoder({ output: (/** @type {any} */ chunk) => chunks.push(chunk), error });
  const decoder = new Decoder({ output: (/** @type {any} */ made) => ((outputs += 1), made.close()), error });
  try {
    encoder.configure(encoding);
    for (const input of inputs) encoder.encode(input, options);
    await encoder.flush();
    decoder.configure(decoding);
    for (const chunk of chunks) decoder.decode(chunk);
    await decoder.flush();
    return outputs ? problem : problem || "nothing came out of the decoder";
  } finally {
    for (const input of inputs) input.close();
    for (const codec of [encoder, decoder]) if (codec.state !== "closed") codec.close();
  }
}
