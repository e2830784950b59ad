"""Where does each picture go? Layouts are functions from tiles to rectangles.

A layout gets the tiles in the order in which people came, and the size of the canvas in pixels. It gives
one rectangle (x, y, width, height) for each tile, or None to leave one out; later ones lie on top. Those
here leave out who came last when a canvas is full: a rectangle has at least 16 pixels a side.
`arrange` checks what a layout gave and moves it to even pixels, since chroma has half the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..errors import RtclabError

SMALLEST = 16  # pixels of a rectangle's side
ASPECT = 16 / 9
SMALLEST_INSET = 2 * math.ceil(SMALLEST * ASPECT / 2)  # width of a 16:9 rectangle that is high enough


class LayoutError(RtclabError, ValueError):
    """A layout gave rectangles that cannot be used."""


class Rect(NamedTuple):
    """A rectangle of the canvas, in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Tile:
    """One participant's picture, or the place for it.

    Attributes
    ----------
    id : str
        The track, or the participant if there is no picture.
    name : str
        The participant's name.
    source : str
        ``"camera"``, ``"screen"``, ...
    size : tuple of int or None
        Width and height of the picture in pixels; None while there is none.
    speaking : bool
        Whether this participant spoke last.
    """

    id: str
    name: str
    source: str = "camera"
    size: tuple[int, int] | None = None
    speaking: bool = False


Layout: TypeAlias = Callable[[Sequence[Tile], tuple[int, int]], Sequence["Rect | None"]]


def grid(tiles: Sequence[Tile], size: tuple[int, int]) -> list[Rect | None]:
    """Equal rectangles, as large as 16:9 pictures can be; a last row that is not full is centred."""
    width, height = size
    most_columns, most_rows = width // SMALLEST, height // SMALLEST
    count = min(len(tiles), most_columns * most_rows)
    if not count:
        return []
    possible = [n for n in range(min(count, most_columns), 0, -1) if math.ceil(count / n) <= most_rows]
    # of equally good ones the widest: two people sit side by side
    columns = max(possible, key=lambda n: _picture_area(width / n, height / math.ceil(count / n)))
    rows = math.ceil(count / columns)
    rects: list[Rect | None] = [None] * len(tiles)
    for place in range(count):
        row, column = divmod(place, columns)
        in_row = columns if row < rows - 1 else count - columns * (rows - 1)
        left = (column + (columns - in_row) / 2) * width / columns
        x, y = _even(left), _even(row * height / rows)
        rects[place] = Rect(x, y, _even(left + width / columns) - x, _even((row + 1) * height / rows) - y)
    return rects


def speaker(tiles: Sequence[Tile], size: tuple[int, int]) -> list[Rect | None]:
    """A shared screen, or who spoke last, in three quarters of the width; the others in a column beside."""
    width, height = size
    if len(tiles) < 2:
        return grid(tiles, size)
    main, others = _main(tiles)
    large = _even(width * 3 / 4)
    shown = others[: height // SMALLEST]
    step = height / max(4, len(shown))
    rects: list[Rect | None] = [None] * len(tiles)
    rects[main] = Rect(0, 0, large, _even(height))
    for above, place in enumerate(shown):
        y = _even(above * step)
        rects[place] = Rect(large, y, _even(width) - large, _even((above + 1) * step) - y)
    return rects


def pip(tiles: Sequence[Tile], size: tuple[int, int]) -> list[Rect | None]:
    """A shared screen, or who spoke last, over the whole canvas; the others small in the lower right corner.

    The small ones lie on top whatever their order, so the large one makes no room for them.
    """
    width, height = size
    if len(tiles) < 2:
        return grid(tiles, size)
    main, others = _main(tiles)
    margin = _even(width / 50)
    shown = others[: (width - margin) // (SMALLEST_INSET + margin)]
    inset = _even(min(width / 4, height / 3 * ASPECT, (width - margin) / len(shown) - margin))
    inset = max(inset, SMALLEST_INSET)
    tall = _even(inset / ASPECT)
    rects: list[Rect | None] = [None] * len(tiles)
    rects[main] = Rect(0, 0, _even(width), _even(height))
    x = width - margin - inset
    for place in shown:
        rects[place] = Rect(_even(x), _even(height - margin - tall), inset, tall)
        x -= inset + margin
    return rects


LAYOUTS: dict[str, Layout] = {"grid": grid, "speaker": speaker, "pip": pip}


def layout_of(layout: str | Layout) -> Layout:
    """The layout of a name; a function is returned as it is.

    Raises
    ------
    ValueError
        There is no layout of that name.
    """
    if callable(layout):
        return layout
    if not isinstance(layout, str) or layout not in LAYOUTS:
        names = ", ".join(f'"{name}"' for name in LAYOUTS)
        raise ValueError(
            f"layout must be one of {names} or a function of (tiles, size) that gives a rectangle for each "
            f"tile, not {layout!r}"
        )
    return LAYOUTS[layout]


def arrange(layout: Layout, tiles: Sequence[Tile], size: tuple[int, int]) -> list[Rect | None]:
    """Call a layout and check what it gives.

    Parameters
    ----------
    layout : callable
        The layout; it may raise whatever it likes.
    tiles : sequence of Tile
        What to place.
    size : tuple of int
        Width and height of the canvas in pixels.

    Returns
    -------
    list of Rect or None
        One for each tile, on even pixels.

    Raises
    ------
    LayoutError
        The layout raised, or gave something that cannot be drawn; the message says what to change.
    """
    name = getattr(layout, "__name__", type(layout).__name__)
    try:
        rects = list(layout(tiles, size))
    except Exception as error:
        raise LayoutError(f"the layout {name!r} raised {type(error).__name__}: {error}") from error
    if len(rects) != len(tiles):
        raise LayoutError(
            f"the layout {name!r} gave {len(rects)} rectangles for {len(tiles)} tiles; "
            "give one for each tile, in order, or None to leave it out"
        )
    return [None if rect is None else _checked(name, rect, size) for rect in rects]


def stacking(rects: Sequence[Rect | None]) -> list[int]:
    """The order in which to draw: a rectangle that covers another one wholly goes below it.

    So the large picture of a picture-in-picture may stand anywhere in the list.
    """
    places = [place for place, rect in enumerate(rects) if rect is not None]

    def covered(place: int) -> int:
        own = rects[place]
        return sum(
            own is not None and other is not None and other != own and inside(own, other) for other in rects
        )

    return sorted(places, key=covered)


def inside(inner: Rect, outer: Rect) -> bool:
    """Whether `inner` lies within `outer`."""
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def overlap(one: Rect, other: Rect) -> bool:
    """Whether two rectangles have a pixel in common."""
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def fit(size: tuple[int, int], rect: Rect) -> Rect:
    """The largest rectangle of the shape of `size` in the middle of `rect`, on even pixels."""
    width, height = size
    scale = min(rect.width / width, rect.height / height)
    wide = min(max(_even(width * scale + 1), 2), rect.width)
    tall = min(max(_even(height * scale + 1), 2), rect.height)
    return Rect(rect.x + _even((rect.width - wide) / 2), rect.y + _even((rect.height - tall) / 2), wide, tall)


def _checked(name: str, rect: Sequence[float], size: tuple[int, int]) -> Rect:
    try:
        left, top, width, height = (float(value) for value in rect)
        right, bottom = left + width, top + height
        checked = Rect(_even(left), _even(top), _even(right) - _even(left), _even(bottom) - _even(top))
    except (TypeError, ValueError, OverflowError) as error:
        raise LayoutError(
            f"the layout {name!r} gave {rect!r}; a rectangle is four numbers: x, y, width, height"
        ) from error
    if checked.width < SMALLEST or checked.height < SMALLEST:
        raise LayoutError(
            f"the layout {name!r} gave {tuple(rect)!r}; a rectangle has at least {SMALLEST} pixels a side"
        )
    if left < 0 or top < 0 or right > size[0] or bottom > size[1]:
        raise LayoutError(
            f"the layout {name!r} gave {tuple(rect)!r}, which is not inside the canvas of "
            f"{size[0]} x {size[1]} pixels"
        )
    return checked


def _main(tiles: Sequence[Tile]) -> tuple[int, list[int]]:
    """The place of the large tile, and those of the others."""

    def first() -> int:
        for wanted in (lambda tile: tile.source == "screen", lambda tile: tile.speaking):
            for place, tile in enumerate(tiles):
                if wanted(tile):
                    return place
        return 0

    main = first()
    return main, [place for place in range(len(tiles)) if place != main]


def _picture_area(width: float, height: float) -> float:
    across = min(width, height * ASPECT)
    return round(across * across / ASPECT)  # equal to the pixel is equal


def _even(value: float) -> int:
    return 2 * math.floor(value / 2)
