// @ts-check
/** The frame number in the picture; geometry and checks are those of rtclab/measure/frame_code.py, which explains them. */

const COLUMNS = 16;
const ROWS = 3;
const WHITE_PILOTS = [0, 23, 31, 32];
const BLACK_PILOTS = [15, 16, 24, 47];
const WHITE = "rgb(224,224,224)";
const BLACK = "rgb(32,32,32)";
const SAMPLES = [5 / 16, 7 / 16, 9 / 16, 11 / 16];
const LEAST_CONTRAST = 48;
const DATA_CELLS = Array.from({ length: COLUMNS * ROWS }, (_, i) => i).filter(
  (i) => !WHITE_PILOTS.includes(i) && !BLACK_PILOTS.includes(i),
);

/** CRC-16/CCITT-FALSE. @param {number[]} bytes @returns {number} */
export function crc16(bytes) {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

/** @param {number} width @param {number} height @returns {{cell: number, x: number, y: number}} */
function stripPlace(width, height) {
  const cell = width / 20;
  return { cell, x: 2 * cell, y: height - 3.75 * cell };
}

/**
 * @param {CanvasRenderingContext2D} context @param {number} width @param {number} height
 * @param {number} frame kept modulo 65536 @param {number} stream 0 to 255
 */
export function drawFrameCode(context, width, height, frame, stream) {
  const { cell, x, y } = stripPlace(width, height);
  const pixel = (/** @type {number} */ position) => Math.floor(position + 0.5);
  const fill = (/** @type {string} */ style, x0 = 0, y0 = 0, x1 = 0, y1 = 0) => {
    context.fillStyle = style;
    context.fillRect(pixel(x0), pixel(y0), pixel(x1) - pixel(x0), pixel(y1) - pixel(y0));
  };
  fill(BLACK, x - cell / 2, y - cell / 2, x + (COLUMNS + 0.5) * cell, y + (ROWS + 0.5) * cell);
  const word = [(frame >> 8) & 255, frame & 255, stream & 255];
  const crc = crc16(word);
  word.push(crc >> 8, crc & 255);
  const white = new Set(WHITE_PILOTS);
  DATA_CELLS.forEach((index, bit) => {
    if (word[bit >> 3] & (0x80 >> (bit & 7))) white.add(index);
  });
  for (const index of white) {
    const left = x + (index % COLUMNS) * cell;
    const top = y + Math.floor(index / COLUMNS) * cell;
    fill(WHITE, left, top, left + cell, top + cell);
  }
}

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
