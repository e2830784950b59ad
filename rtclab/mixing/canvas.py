"""The picture that everybody gets: tiles copied, scaled, labelled and dimmed, plane by plane.

The canvas is one YUV 4:2:0 frame that lives on; a tile is drawn only when something of it has changed.
Pictures are never turned into RGB: they are decoded as YUV, scaled as YUV and encoded as YUV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from . import text
from .layouts import Rect, fit, overlap, stacking

Plane: TypeAlias = NDArray[np.uint8]
Planes: TypeAlias = tuple[Plane, Plane, Plane]

CARD = (16, 9)  # shape of what stands where there is no picture
BACKGROUND = 26  # luma
NEUTRAL = 128  # chroma
LABEL_SHARE, SMALLEST_LABEL = 0.062, 14  # of a tile's height; pixels
LABEL_FROM = 60  # pixels of a tile's height below which a label would hide it

# What is left of a picture that no longer moves: darker and with less colour.
_DIM = np.rint(16 + (np.arange(256) - 16).clip(0) * 0.42).astype(np.uint8)
_FADE = np.rint(NEUTRAL + (np.arange(256) - NEUTRAL) * 0.45).astype(np.uint8)


@dataclass(frozen=True)
class Item:
    """What to draw in one rectangle.

    Attributes
    ----------
    id : str
        The tile's id.
    name : str
        Shown as a label, or on the card.
    picture : av.VideoFrame or None
        The newest picture; None shows a card.
    version : int
        Another number for another picture.
    note : str
        On the card: why there is no picture. Beside the name: why the picture stands still.
    dimmed : bool
        Whether to show it dark.
    """

    id: str
    name: str
    picture: av.VideoFrame | None
    version: int
    note: str = ""
    dimmed: bool = False


class Canvas:
    """A frame to draw tiles on.

    Parameters
    ----------
    width, height : int
        In pixels; even.

    Attributes
    ----------
    frame : av.VideoFrame
        The canvas, ``yuv420p``; drawn on in place.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.frame = av.VideoFrame(width, height, "yuv420p")
        self._planes = planes(self.frame)
        self._rects: list[Rect | None] = []
        self._order: list[int] = []
        self._drawn: list[Item | None] = []
        self._scalers: dict[str, VideoReformatter] = {}
        self._clear()

    def draw(self, items: Sequence[Item], rects: Sequence[Rect | None]) -> int:
        """Bring the canvas up to date.

        Parameters
        ----------
        items : sequence of Item
            The tiles.
        rects : sequence of Rect or None
            Where each goes; even pixels inside the canvas.

        Returns
        -------
        int
            How many tiles were drawn.
        """
        rects = list(rects)
        known = [item.id for item in self._drawn if item is not None]
        if rects != self._rects or known != [item.id for item in items if item is not None]:
            self._clear()
            self._rects, self._order = rects, stacking(rects)
            self._drawn = []
            ids = {item.id for item in items}
            self._scalers = {id: scaler for id, scaler in self._scalers.items() if id in ids}
        before = self._drawn or [None] * len(items)
        fresh: list[Rect] = []
        for place in self._order:
            item, rect = items[place], rects[place]
            if rect is None:
                continue
            if _same(before[place], item) and not any(overlap(rect, other) for other in fresh):
                continue
            self._tile(item, rect)
            fresh.append(rect)
        self._drawn = list(items)
        return len(fresh)

    def _clear(self) -> None:
        for plane, level in zip(self._planes, (BACKGROUND, NEUTRAL, NEUTRAL), strict=True):
            plane[:] = level

    def _tile(self, item: Item, rect: Rect) -> None:
        size = CARD if item.picture is None else (item.picture.width, item.picture.height)
        area = fit(size, rect)
        if area != rect:
            for plane, level in zip(self._cut(rect), (BACKGROUND, NEUTRAL, NEUTRAL), strict=True):
                plane[:] = level
        if item.picture is None:
            luma, *chroma = self._cut(area)
            luma[:] = text.card(item.name, item.note, area.width, area.height)
            for plane in chroma:
                plane[:] = NEUTRAL
            return
        self._paste(item, area)
        if rect.height >= LABEL_FROM:
            name = f"{item.name}: {item.note}" if item.note else item.name
            self._label(name, area, rect)

    def _paste(self, item: Item, area: Rect) -> None:
        picture = item.picture
        assert picture is not None
        if (picture.width, picture.height, picture.format.name) != (area.width, area.height, "yuv420p"):
            scaler = self._scalers.setdefault(item.id, VideoReformatter())
            picture = scaler.reformat(picture, area.width, area.height, "yuv420p", interpolation="BICUBIC")
        for place, (source, target) in enumerate(zip(planes(picture), self._cut(area), strict=True)):
            target[:] = (_FADE if place else _DIM)[source] if item.dimmed else source

    def _label(self, name: str, area: Rect, rect: Rect) -> None:
        """Into the upper left corner: what is at the bottom of a picture (subtitles, codes) stays visible."""
        height = 2 * round(max(rect.height * LABEL_SHARE, SMALLEST_LABEL) / 2)
        margin = 2 * (height // 5)
        drawn = text.label(name, height, area.width - 2 * margin)
        height, width = drawn.keep.shape
        if width > area.width - 2 * margin or height > area.height - 2 * margin:
            return
        luma, *chroma = self._cut(Rect(area.x + margin, area.y + margin, width, height))
        luma[:] = (luma * drawn.keep >> 8) + drawn.add
        for plane in chroma:
            plane[:] = (plane * drawn.keep_chroma + NEUTRAL * (256 - drawn.keep_chroma)) >> 8

    def _cut(self, rect: Rect) -> Planes:
        x, y, width, height = rect
        luma, blue, red = self._planes
        half = slice(y // 2, (y + height) // 2), slice(x // 2, (x + width) // 2)
        return luma[y : y + height, x : x + width], blue[half], red[half]


def planes(frame: av.VideoFrame) -> Planes:
    """The three planes of a ``yuv420p`` frame as arrays that share its memory."""
    views = []
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        views.append(lines[: plane.height, : plane.width])
    return views[0], views[1], views[2]


def _same(before: Item | None, item: Item) -> bool:
    return (
        before is not None
        and before.version == item.version
        and (before.picture is None) == (item.picture is None)
        and (before.name, before.note, before.dimmed) == (item.name, item.note, item.dimmed)
    )
