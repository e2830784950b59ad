// @ts-check
/**
 * A test pattern made in the page: a dial that turns once a second, a clock, and the frame code at the bottom. A quiet tone
 * and a beep go with it; the beep falls on the frames whose number is a multiple of the frame rate.
 */

import { drawFrameCode } from "./frame_code.js";

const WIDTH = 1280;
const HEIGHT = 720;
const FPS = 30;
const TONE_HZ = 440;
const TONE_LEVEL = 0.03;
const BEEP_HZ = 1000;
const BEEP_S = 0.02;
const BEEP_LEVEL = 0.5;
const RIBBON = ["#f2f2f2", "#f0d54a", "#3fd0d4", "#55c46a", "#d45fc0", "#e2574c", "#4a6fe3", "#3a3f4a"];
const FONT = "system-ui, 'DejaVu Sans', sans-serif";

/** @param {{label: string, picture: boolean, sound: boolean}} options @returns {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} */
export function openPattern({ label, picture, sound }) {
  const startedAt = performance.now();
  const video = picture ? openPicture(label, startedAt) : null;
  return { video, audio: sound ? openTone(startedAt) : null };
}

/** @param {string} label @param {number} startedAt @returns {MediaStreamTrack} */
function openPicture(label, startedAt) {
  const stream = Math.floor(Math.random() * 256);
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const still = paintStill(label || "Test pattern", stream);
  const frameAt = () => Math.floor(((performance.now() - startedAt) * FPS) / 1000);
  const paint = (/** @type {number} */ frame) => {
    context.drawImage(still, 0, 0);
    paintMoving(context, frame);
    drawFrameCode(context, WIDTH, HEIGHT, frame, stream);
  };
  paint(0);
  const [track] = canvas.captureStream(FPS).getVideoTracks();
  let last = 0;
  const tick = () => {
    if (track.readyState === "ended") return;
    const frame = frameAt();
    if (frame !== last) paint(frame);
    last = frame;
    setTimeout(tick, Math.max(1, startedAt + ((frame + 1) * 1000) / FPS - performance.now()));
  };
  tick();
  return track;
}

const UNIT = WIDTH / 20;
const SKY = HEIGHT - 4.5 * UNIT;
const DIAL = { x: WIDTH - 4.3 * UNIT, y: SKY / 2, radius: 0.36 * SKY };

/** @param {string} label @param {number} stream @returns {HTMLCanvasElement} */
function paintStill(label, stream) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const hue = (stream * 47) % 360;
  const slope = context.createLinearGradient(0, 0, WIDTH, SKY);
  slope.addColorStop(0, `hsl(${hue + 20} 55% 15%)`);
  slope.addColorStop(1, `hsl(${hue} 45% 38%)`);
  context.fillStyle = slope;
  context.fillRect(0, 0, WIDTH, SKY);
  const glow = context.createRadialGradient(DIAL.x, DIAL.y, 0, DIAL.x, DIAL.y, 3 * DIAL.radius);
  glow.addColorStop(0, `hsl(${hue - 25} 60% 70% / 0.6)`);
  glow.addColorStop(1, `hsl(${hue - 25} 60% 70% / 0)`);
  context.fillStyle = glow;
  context.fillRect(0, 0, WIDTH, SKY);
  context.fillStyle = "rgb(32,32,32)";
  context.fillRect(0, SKY, WIDTH, HEIGHT - SKY);
  RIBBON.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect((WIDTH * i) / RIBBON.length, SKY, WIDTH / RIBBON.length, 10);
  });
  context.fillStyle = "#f5f7fa";
  context.font = `600 76px ${FONT}`;
  context.fillText(label, 1.5 * UNIT, 0.36 * SKY, DIAL.x - DIAL.radius - 2.5 * UNIT);
  context.font = `32px ${FONT}`;
  context.fillStyle = "rgb(245 247 250 / 0.75)";
  context.fillText(`${WIDTH} × ${HEIGHT}   ${FPS} fps   stream ${stream}`, 1.5 * UNIT, 0.82 * SKY);
  context.strokeStyle = "rgb(245 247 250 / 0.22)";
  context.lineWidth = 0.14 * DIAL.radius;
  context.beginPath();
  context.arc(DIAL.x, DIAL.y, DIAL.radius, 0, 2 * Math.PI);
  context.stroke();
  return canvas;
}

/** @param {CanvasRenderingContext2D} context @param {number} frame */
function paintMoving(context, frame) {
  const { x, y, radius } = DIAL;
  const beat = frame % FPS;
  const angle = (2 * Math.PI * beat) / FPS - Math.PI / 2;
  context.strokeStyle = "#f5f7fa";
  context.lineCap = "round";
  context.lineWidth = 0.14 * radius;
  context.beginPath();
  context.arc(x, y, radius, angle - 0.7, angle);
  context.stroke();
  if (beat < 3) {
    context.fillStyle = `rgb(245 247 250 / ${0.75 - beat / 4})`;
    context.beginPath();
    context.arc(x, y, 0.78 * radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.fillStyle = "#f5f7fa";
  context.textAlign = "center";
  context.font = `600 92px ${FONT}`;
  context.fillText(String(beat).padStart(2, "0"), x, y + 32);
  context.textAlign = "left";
  context.font = `600 92px ${FONT}`;
  const seconds = Math.floor(frame / FPS);
  const clock = [Math.floor(seconds / 60) % 100, seconds % 60].map((part) => String(part).padStart(2, "0")).join(":");
  context.fillText(`${clock}.${String(Math.floor((beat * 1000) / FPS)).padStart(3, "0")}`, 1.5 * UNIT, 0.64 * SKY);
}

/** One second of sound, looped: a whole number of periods, with the beep at its start. @param {number} startedAt */
function openTone(startedAt) {
  const audio = new AudioContext();
  const buffer = audio.createBuffer(1, audio.sampleRate, audio.sampleRate);
  const wave = buffer.getChannelData(0);
  for (let i = 0; i < wave.length; i++) {
    const at = i / audio.sampleRate;
    wave[i] = TONE_LEVEL * Math.sin(2 * Math.PI * TONE_HZ * at);
    if (at < BEEP_S) wave[i] += BEEP_LEVEL * Math.sin(Math.PI * (at / BEEP_S)) ** 2 * Math.sin(2 * Math.PI * BEEP_HZ * at);
  }
  const sound = new AudioBufferSourceNode(audio, { buffer, loop: true });
  const out = audio.createMediaStreamDestination();
  sound.connect(out);
  sound.start(0, ((performance.now() - startedAt) / 1000) % 1);
  const [track] = out.stream.getAudioTracks();
  const stop = track.stop.bind(track);
  track.stop = () => {
    stop();
    if (audio.state !== "closed") audio.close();
  };
  return track;
}
