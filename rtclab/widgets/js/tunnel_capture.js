// @ts-check
/**
 * What a track captures, piece by piece: from a MediaStreamTrackProcessor, or by way of a video element or an audio graph
 * where the browser has none on this thread.
 */

const BLOCK = 1024; // samples of sound at a time, without a processor

/**
 * @param {MediaStreamTrack} track
 * @param {(piece: any) => void} take a VideoFrame or AudioData, which it closes
 * @returns {() => void} ends it
 */
export function piecesOf(track, take) {
  const { MediaStreamTrackProcessor } = /** @type {any} */ (globalThis);
  if (!MediaStreamTrackProcessor) return track.kind === "video" ? shownFrames(track, take) : playedSound(track, take);
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  const read = async () => {
    for (let got = await reader.read(); !got.done; got = await reader.read()) take(got.value);
  };
  read();
  return () => reader.cancel();
}

/** @param {MediaStreamTrack} track @param {(frame: VideoFrame) => void} take @returns {() => void} */
function shownFrames(track, take) {
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = new MediaStream([track]);
  video.play().catch(() => {});
  let open = true;
  const next = () =>
    video.requestVideoFrameCallback((now) => {
      if (!open) return;
      take(new VideoFrame(video, { timestamp: Math.round(1000 * now) }));
      next();
    });
  next();
  return () => {
    open = false;
    video.srcObject = null;
  };
}

/** @param {MediaStreamTrack} track @param {(data: AudioData) => void} take @returns {() => void} */
function playedSound(track, take) {
  const context = new AudioContext({ sampleRate: 48_000 });
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const tap = context.createScriptProcessor(BLOCK, 1, 1);
  tap.onaudioprocess = ({ inputBuffer, playbackTime }) => {
    const data = inputBuffer.getChannelData(0);
    const { sampleRate } = inputBuffer;
    // a busy page misses blocks: their time passes all the same
    const timestamp = Math.round(1e6 * playbackTime);
    take(new AudioData({ format: "f32-planar", sampleRate, numberOfFrames: BLOCK, numberOfChannels: 1, timestamp, data }));
  };
  source.connect(tap).connect(context.destination);
  return () => {
    tap.onaudioprocess = null;
    context.close();
  };
}
