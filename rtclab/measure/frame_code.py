"""A number in the picture: frame and stream ids as 48 large cells that survive simulcast and low bitrates.

Geometry, in cells; a cell is ``width / 20`` (8 px at 160 px width), whatever the size of the picture:

- the strip is 16 columns x 3 rows; its left edge is at 2 cells, its top edge at ``height - 3.75`` cells:
  it ends 0.75 cells above the lower edge of the picture and starts on a 16 px grid at 640x360 and
  1280x720;
- the quiet border is black and reaches half a cell beyond the strip on every side;
- cell edges are ``floor(position + 0.5)`` pixels. White is 224, black is 32, the same in all channels.

Cells in rows from the top, columns from the left, as (row, column). Eight pilots let the reader find the
two levels and refuse mirrored or foreign pictures:

- white: (0, 0) (1, 7) (1, 15) (2, 0);    black: (0, 15) (1, 0) (1, 8) (2, 15).

The other 40 cells, row by row from the left, hold five bytes, most significant bit first, white = 1:
frame number (2 bytes, big endian), stream id (1 byte), CRC (2 bytes, big endian). The CRC is
CRC-16/CCITT-FALSE over the first three bytes: polynomial 0x1021, initial value 0xFFFF, no reflection, no
final XOR ("123456789" gives 0x29B1).

Reading: in each cell 4 x 4 samples at 5/16, 7/16, 9/16 and 11/16 of its width and height (pixel = floor
of the position), luma = (77 R + 150 G + 29 B) / 256, averaged. With W and B the means of the white and
the black pilots, the threshold is (W + B) / 2. Refused: W - B < 48; any cell, pilots too, closer to the
threshold than (W - B) / 8; a pilot on the wrong side; a wrong CRC; a picture less than 80 px wide or
lower than 4.25 cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 16, 3
CELLS_ACROSS = 20
WHITE, BLACK = 224, 32
WHITE_PILOTS = ((0, 0), (1, 7), (1, 15), (2, 0))
BLACK_PILOTS = ((0, 15), (1, 0), (1, 8), (2, 15))

SMALLEST_DRAWN_WIDTH = 160
SMALLEST_READ_WIDTH = 80
LEAST_CONTRAST = 48

_LEFT, _ABOVE_BOTTOM, _BORDER = 2.0, 3.75, 0.5
STRIP_CELLS = _ABOVE_BOTTOM + _BORDER  # from the picture's lower edge to the quiet border's upper edge
_SAMPLES = (5 / 16, 7 / 16, 9 / 16, 11 / 16)
_LUMA = np.array([77, 150, 29], np.float32) / 256

_WHITE_AT = np.array([row * COLUMNS + column for row, column in WHITE_PILOTS])
_BLACK_AT = np.array([row * COLUMNS + column for row, column in BLACK_PILOTS])
_DATA_AT = np.setdiff1d(np.arange(ROWS * COLUMNS), np.concatenate([_WHITE_AT, _BLACK_AT]))


@dataclass(frozen=True)
class FrameCode:
    """What a frame code says.

    Attributes
    ----------
    frame : int
        Frame number, modulo 65536.
    stream : int
        Stream id, 0 to 255.
    """

    frame: int
    stream: int


def draw_frame_code(array: NDArray[np.uint8], frame: int, stream: int) -> None:
    """Draw a code, with its quiet border, into a picture.

    Parameters
    ----------
    array : numpy.ndarray
        The picture, changed in place: uint8, (height, width, 3) RGB or (height, width) luma, at least 160 px
        wide and 0.2125 of the width high.
    frame, stream : int
        The frame number (kept modulo 65536) and the stream id (0 to 255).

    Raises
    ------
    ValueError
        The array is no such picture, or `stream` is out of range.
    """
    height, width = _size(array)
    if not 0 <= stream <= 255:
        raise ValueError(f"stream must be 0 to 255, not {stream}")
    if width < SMALLEST_DRAWN_WIDTH or not _fits(height, width):
        raise ValueError(f"a {width}x{height} picture has no room for a frame code")
    (top, bottom, left, right), rows, columns = _drawing(height, width)
    array[top:bottom, left:right] = BLACK
    lines = np.repeat(cell_levels(frame, stream), np.diff(columns), axis=1)
    if array.ndim == 3:
        lines = np.repeat(lines[:, :, None], 3, axis=2)
    for row, line in enumerate(lines):
        array[rows[row] : rows[row + 1], columns[0] : columns[-1]] = line


def read_frame_code(array: NDArray[Any]) -> FrameCode | None:
    """Read the code in a picture, at whatever size it arrived.

    Parameters
    ----------
    array : numpy.ndarray
        uint8, (height, width, 3) RGB or (height, width) luma.

    Returns
    -------
    FrameCode or None
        None when the picture holds no code that can be trusted.

    Raises
    ------
    ValueError
        The array is no such picture.
    """
    height, width = _size(array)
    if width < SMALLEST_READ_WIDTH or not _fits(height, width):
        return None
    rows, columns = _sampling(height, width)
    samples = array[rows, columns].astype(np.float32)
    luma = samples @ _LUMA if array.ndim == 3 else samples
    cells = luma.reshape(ROWS, len(_SAMPLES), COLUMNS, len(_SAMPLES)).mean(axis=(1, 3)).ravel()

    white, black = float(cells[_WHITE_AT].mean()), float(cells[_BLACK_AT].mean())
    contrast = white - black
    if contrast < LEAST_CONTRAST:
        return None
    distance = cells - (white + black) / 2
    if (
        float(np.abs(distance).min()) < contrast / 8
        or float(distance[_WHITE_AT].min()) < 0
        or float(distance[_BLACK_AT].max()) > 0
    ):
        return None
    word = np.packbits(distance[_DATA_AT] > 0).tobytes()
    if crc16(word[:3]) != int.from_bytes(word[3:], "big"):
        return None
    return FrameCode(int.from_bytes(word[:2], "big"), word[2])


def cell_levels(frame: int, stream: int) -> NDArray[np.uint8]:
    """The (3, 16) cells of a code as luma levels."""
    word = (frame & 0xFFFF).to_bytes(2, "big") + bytes([stream])
    word += crc16(word).to_bytes(2, "big")
    cells = np.full(ROWS * COLUMNS, BLACK, np.uint8)
    cells[_WHITE_AT] = WHITE
    cells[_DATA_AT] = np.where(np.unpackbits(np.frombuffer(word, np.uint8)), WHITE, BLACK)
    return cells.reshape(ROWS, COLUMNS)


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE of `data`."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def _size(array: NDArray[Any]) -> tuple[int, int]:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        found = f"{array.dtype} {array.shape}"
        raise ValueError(f"a picture is uint8 of shape (height, width, 3) or (height, width), not {found}")
    return array.shape[0], array.shape[1]


def _fits(height: int, width: int) -> bool:
    return height >= STRIP_CELLS * width / CELLS_ACROSS


def _pixel(position: float) -> int:
    return math.floor(position + 0.5)


@lru_cache(maxsize=32)
def _drawing(height: int, width: int) -> tuple[tuple[int, int, int, int], list[int], list[int]]:
    """The border as (top, bottom, left, right) and the edges of the rows and columns, in pixels."""
    cell = width / CELLS_ACROSS
    x, y = _LEFT * cell, height - _ABOVE_BOTTOM * cell
    border = (
        _pixel(y - _BORDER * cell),
        _pixel(y + (ROWS + _BORDER) * cell),
        _pixel(x - _BORDER * cell),
        _pixel(x + (COLUMNS + _BORDER) * cell),
    )
    rows = [_pixel(y + i * cell) for i in range(ROWS + 1)]
    return border, rows, [_pixel(x + i * cell) for i in range(COLUMNS + 1)]


@lru_cache(maxsize=32)
def _sampling(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index arrays of the samples: rows as a column vector, columns as a row vector."""
    cell = width / CELLS_ACROSS
    x, y = _LEFT * cell, height - _ABOVE_BOTTOM * cell
    rows = [math.floor(y + (i + part) * cell) for i in range(ROWS) for part in _SAMPLES]
    columns = [math.floor(x + (i + part) * cell) for i in range(COLUMNS) for part in _SAMPLES]
    return np.array(rows, np.intp)[:, None], np.array(columns, np.intp)[None, :]
