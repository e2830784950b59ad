// @ts-check
/** Reads the frame number in a picture; the checks are those of rtclab/measure/frame_code.py, which explains them. */

import { BLACK_PILOTS, COLUMNS, crc16, DATA_CELLS, ROWS, stripPlace, WHITE_PILOTS } from "./frame_code.js";

const SAMPLES = [5 / 16, 7 / 16, 9 / 16, 11 / 16];
const LEAST_CONTRAST = 48;

/**
 * @param {ImageData} image the whole picture, or its lowest rows
 * @param {number} [height] of the whole picture
 * @returns {{frame: number, stream: number} | null} null when there is no code that can be trusted
 */
export function readFrameCode(image, height = image.height) {
  const { width, data } = image;
  if (width < 80 || image.height < 4.25 * (width / 20)) return null;
  const { cell, x, y } = stripPlace(width, height);
  const skipped = height - image.height;
  const cells = Array.from({ length: COLUMNS * ROWS }, (_, index) => {
    let sum = 0;
    for (const v of SAMPLES) {
      const row = Math.floor(y + (Math.floor(index / COLUMNS) + v) * cell) - skipped;
      for (const u of SAMPLES) {
        const at = 4 * (row * width + Math.floor(x + ((index % COLUMNS) + u) * cell));
        sum += 77 * data[at] + 150 * data[at + 1] + 29 * data[at + 2];
      }
    }
    return sum / 256 / SAMPLES.length ** 2;
  });
  const mean = (/** @type {number[]} */ at) => at.reduce((sum, index) => sum + cells[index], 0) / at.length;
  const white = mean(WHITE_PILOTS);
  const black = mean(BLACK_PILOTS);
  const contrast = white - black;
  if (contrast < LEAST_CONTRAST) return null;
  const distance = cells.map((luma) => luma - (white + black) / 2);
  if (distance.some((d) => Math.abs(d) < contrast / 8)) return null;
  if (WHITE_PILOTS.some((i) => distance[i] < 0) || BLACK_PILOTS.some((i) => distance[i] > 0)) return null;
  const word = [0, 0, 0, 0, 0];
  DATA_CELLS.forEach((index, bit) => {
    if (distance[index] > 0) word[bit >> 3] |= 0x80 >> (bit & 7);
  });
  if (crc16(word.slice(0, 3)) !== ((word[3] << 8) | word[4])) return null;
  return { frame: (word[0] << 8) | word[1], stream: word[2] };
}

/** Reads the code of what a video shows now. @param {HTMLVideoElement} video @returns {{frame: number, stream: number} | null} */
export function readVideoCode(video) {
  const { videoWidth: width, videoHeight: height } = video;
  const rows = Math.min(height, Math.ceil(4.25 * (width / 20)) + 1);
  if (!width || !rows) return null;
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context?.drawImage(video, 0, height - rows, width, rows, 0, 0, width, rows);
  return context ? readFrameCode(context.getImageData(0, 0, width, rows), height) : null;
}
