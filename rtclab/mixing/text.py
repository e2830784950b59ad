"""Words in a picture: name labels and the cards that stand where there is no picture.

Drawn once with Pillow as luma and opacity, without colour, then only blended.
"""

from __future__ import annotations

import contextlib
import importlib.util
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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
    draw.text((middle, centre), _letters(name)[:1].upper() or "?", INK, _font(2.0 * unit), anchor="mm")
    for text, size, below, luma in ((name, 1.05, 1.75, INK), (note, 0.7, 3.0, FAINT)):
        font = _font(size * unit)
        draw.text(
            (middle, height / 2 + below * unit), _cut(text, font, width - unit), luma, font, anchor="mm"
        )
    return np.asarray(image)


def _cut(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    text = _letters(text)
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    path = _path()
    pixels = max(round(size), 6)
    font = ImageFont.truetype(path, pixels) if path is not None else ImageFont.load_default(pixels)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


@lru_cache(maxsize=1)
def _path() -> str | None:
    """A font that knows the letters of most names; None for Pillow's own, which knows English ones."""
    for name in (
        "DejaVuSans.ttf",
        "LiberationSans-Regular.ttf",
        "segoeui.ttf",
        "Arial Unicode.ttf",
        "Arial.ttf",
    ):
        with contextlib.suppress(OSError):
            return str(ImageFont.truetype(name).path)
    matplotlib = importlib.util.find_spec("matplotlib")
    for place in (matplotlib.submodule_search_locations or ()) if matplotlib is not None else ():
        path = Path(place, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():
            return str(path)
    return None


def _letters(text: str) -> str:
    """What is drawn of a text: one line, and with Pillow's own font letters without their accents."""
    if _path() is None:
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return " ".join(text.split())[:80]
