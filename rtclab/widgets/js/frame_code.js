// @ts-check
/** Draws the frame number into the picture; the geometry is that of rtclab/measure/frame_code.py, which explains them. */

export const COLUMNS = 16;
export const ROWS = 3;
export const WHITE_PILOTS = [0, 23, 31, 32];
export const BLACK_PILOTS = [15, 16, 24, 47];
const WHITE = "rgb(224,224,224)";
const BLACK = "rgb(32,32,32)";
export const DATA_CELLS = Array.from({ length: COLUMNS * ROWS }, (_, i) => i).filter(
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
export function stripPlace(width, height) {
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
