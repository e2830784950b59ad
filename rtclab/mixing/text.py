"""Words in a picture: name labels and the cards that stand where there is no picture.

Drawn once with Pillow as luma and opacity, without colour, then only blended.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, PAPER = 235, 24  # luma of letters and of what is behind them
BOX_OPACITY = 0.62
CARD, DISC = 44, 74  # luma of a card and of the disc with the initial
FAINT = 150


@dataclass(frozen=True)
class Label:
    """A label ready to blend: ``picture * keep / 256 + add``.

    Attributes
    ----------
    keep, add : numpy.ndarray
        (height, width) uint16 for luma; even sides.
    keep_chroma : numpy.ndarray
        The same at half the resolution; chroma goes to 128 where the picture is not kept.
    """

    keep: NDArray[np.uint16]
    add: NDArray[np.uint16]
    keep_chroma: NDArray[np.uint16]


@lru_cache(maxsize=256)
def label(text: str, height: int, widest: int) -> Label:
    """A label of `height` pixels that is at most `widest` pixels wide; longer text is cut."""
    font = _font(height * 0.62)
    inset = height * 0.34
    text = _cut(text, font, widest - 2 * inset)
    width = max(2 * (round(font.getlength(text) + 2 * inset) // 2), 2)
    box = Image.new("L", (width, height))
    ImageDraw.Draw(box).rounded_rectangle((0, 0, width - 1, height - 1), height * 0.28, 255)
    letters = Image.new("L", (width, height))
    ImageDraw.Draw(letters).text((width / 2, height * 0.52), text, 255, font, anchor="mm")
    behind = np.asarray(box, np.float32) / 255 * BOX_OPACITY
    ink = np.asarray(letters, np.float32) / 255
    keep = (1 - behind) * (1 - ink)
    add = INK * ink + PAPER * behind * (1 - ink)
    halved = keep.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return Label(
        np.rint(keep * 256).astype(np.uint16),
        np.rint(add).astype(np.uint16),
        np.rint(halved * 256).astype(np.uint16),
    )


@lru_cache(maxsize=64)
def card(name: str, note: str, width: int, height: int) -> NDArray[np.uint8]:
    """The luma of a card: the initial in a disc, the name, and why there is no picture."""
    image = Image.new("L", (width, height), CARD)
    draw = ImageDraw.Draw(image)
    unit = min(width / 16, height / 9)
    middle = width / 2
    radius = 1.7 * unit
    centre = height / 2 - 1.3 * unit
    draw.ellipse((middle - radius, centre - radius, middle + radius, centre + radius), DISC)
    draw.text((middle, centre), name.strip()[:1].upper() or "?", INK, _font(2.0 * unit), anchor="mm")
    for text, size, below, luma in ((name, 1.05, 1.75, INK), (note, 0.7, 3.0, FAINT)):
        font = _font(size * unit)
        draw.text(
            (middle, height / 2 + below * unit), _cut(text, font, width - unit), luma, font, anchor="mm"
        )
    return np.asarray(image)


def _cut(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    text = " ".join(text.split())[:80]
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(max(round(size), 6))
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font
