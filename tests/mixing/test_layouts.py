"""Layouts: rectangles inside the canvas, as large as they can be, and errors that say what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.mixing.layouts import (
    LAYOUTS,
    LayoutError,
    Rect,
    Tile,
    arrange,
    fit,
    grid,
    inside,
    layout_of,
    overlap,
    pip,
    speaker,
    stacking,
)

HD = (1280, 720)
sizes = st.tuples(st.integers(32, 1000), st.integers(32, 1000)).map(lambda size: (size[0] * 2, size[1] * 2))


def tiles(count: int, **of_the_last: Any) -> list[Tile]:
    people = [Tile(f"t{n}", f"person {n}") for n in range(count)]
    if of_the_last:
        people[-1] = Tile(f"t{count - 1}", "the last", **of_the_last)
    return people


@pytest.mark.parametrize("name", LAYOUTS)
@settings(deadline=None)
@given(count=st.integers(0, 300), size=sizes, speaking=st.integers(0, 299))
def test_every_layout_stays_inside_on_even_pixels_however_many_there_are(
    name: str, count: int, size: tuple[int, int], speaking: int
) -> None:
    people = [Tile(f"t{n}", "x", speaking=n == speaking) for n in range(count)]
    rects = LAYOUTS[name](people, size)
    assert arrange(LAYOUTS[name], people, size) == list(rects)  # which checks them, too
    for rect in rects:
        assert rect is None or inside(rect, Rect(0, 0, *size))
    shown = [place for place, rect in enumerate(rects) if rect is not None]
    large = [speaking] if name != "grid" and speaking in shown else []
    first = [place for place in range(count) if place not in large]
    assert sorted(shown) == sorted(large + first[: len(shown) - len(large)])  # who came last is left out


@pytest.mark.parametrize(
    ("name", "size", "places"),
    [
        ("grid", HD, 80 * 45),
        ("grid", (64, 64), 16),
        ("speaker", HD, 46),
        ("speaker", (640, 360), 23),
        ("speaker", (320, 180), 12),
        ("pip", HD, 24),
        ("pip", (640, 360), 15),
        ("pip", (320, 180), 9),
        ("pip", (64, 64), 3),
    ],
)
def test_nobody_is_left_out_before_the_canvas_is_full(name: str, size: tuple[int, int], places: int) -> None:
    assert None not in LAYOUTS[name](tiles(places), size)
    assert list(LAYOUTS[name](tiles(places + 1), size)).count(None) == 1


@pytest.mark.parametrize("layout", [grid, speaker])
@settings(deadline=None)
@given(count=st.integers(0, 40), size=sizes)
def test_a_grid_and_a_column_do_not_overlap(layout: Any, count: int, size: tuple[int, int]) -> None:
    rects = [rect for rect in layout(tiles(count), size) if rect is not None]
    assert not any(overlap(a, b) for n, a in enumerate(rects) for b in rects[:n])


def test_four_pictures_fill_a_screen_exactly() -> None:
    assert grid(tiles(4), HD) == [
        Rect(0, 0, 640, 360),
        Rect(640, 0, 640, 360),
        Rect(0, 360, 640, 360),
        Rect(640, 360, 640, 360),
    ]


def test_two_people_sit_side_by_side_and_a_short_row_is_centred() -> None:
    assert grid(tiles(2), HD) == [Rect(0, 0, 640, 720), Rect(640, 0, 640, 720)]
    assert grid(tiles(3), HD)[2] == Rect(320, 360, 640, 360)
    assert grid(tiles(1), HD) == [Rect(0, 0, *HD)]


@settings(deadline=None)
@given(count=st.integers(1, 16), size=sizes)
def test_no_number_of_columns_gives_larger_pictures(count: int, size: tuple[int, int]) -> None:
    def area(rect: Rect) -> float:
        shown = fit((1600, 900), rect)
        return shown.width * shown.height

    got = min(area(rect) for rect in grid(tiles(count), size) if rect is not None)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        cell = Rect(0, 0, size[0] // columns // 2 * 2, size[1] // rows // 2 * 2)
        if min(cell.width, cell.height) >= 32:
            assert got >= area(cell) * 0.8  # even pixels cost little pictures some


@pytest.mark.parametrize("layout", [speaker, pip])
def test_who_speaks_is_large_unless_a_screen_is_shared(layout: Any) -> None:
    def largest(people: Sequence[Tile]) -> int:
        rects = layout(people, HD)
        return max(range(len(rects)), key=lambda n: rects[n].width * rects[n].height)

    assert largest(tiles(4)) == 0
    assert largest(tiles(4, speaking=True)) == 3
    assert largest([Tile("s", "ann", "screen"), *tiles(3, speaking=True)]) == 0


def test_small_pictures_lie_on_the_large_one_wherever_it_stands() -> None:
    rects: Any = pip(tiles(3, speaking=True), HD)
    assert stacking(rects) == [2, 0, 1]
    assert all(inside(small, rects[2]) for small in rects[:2])
    assert overlap(rects[0], rects[2])
    assert not overlap(rects[0], rects[1])
    assert stacking([None, Rect(0, 0, 64, 64), None]) == [1]


@settings(deadline=None)
@given(
    width=st.integers(2, 4000),
    height=st.integers(2, 4000),
    rect=st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(16, 800), st.integers(16, 800)),
)
def test_pictures_are_not_distorted(width: int, height: int, rect: tuple[int, int, int, int]) -> None:
    place = Rect(*(value * 2 for value in rect))
    shown = fit((width, height), place)
    assert inside(shown, place)
    assert all(value % 2 == 0 for value in shown)
    scale = min(place.width / width, place.height / height)
    assert abs(shown.width - width * scale) <= 2
    assert abs(shown.height - height * scale) <= 2


def test_a_picture_that_fits_is_not_touched() -> None:
    assert fit((640, 360), Rect(640, 360, 640, 360)) == Rect(640, 360, 640, 360)
    assert fit((640, 480), Rect(0, 0, 640, 360)) == Rect(80, 0, 480, 360)


def test_a_function_may_give_plain_tuples_fractions_and_none() -> None:
    def mine(people: Sequence[Tile], size: tuple[int, int]) -> list[tuple[float, ...] | None]:
        return [(0, 0, size[0] / 3, size[1] / 3), None]

    assert arrange(mine, tiles(2), HD) == [Rect(0, 0, 426, 240), None]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        ([], "0 rectangles for 2 tiles"),
        ([(0, 0, 10)] * 2, "four numbers"),
        ([("a", 0, 10, 10)] * 2, "four numbers"),
        ([(float("nan"), 0, 64, 64)] * 2, "four numbers"),
        ([(0, 0, 8, 200)] * 2, "at least 16 pixels"),
        ([(0, 0, -64, 64)] * 2, "at least 16 pixels"),
        ([(1000, 0, 640, 360)] * 2, "not inside the canvas of 1280 x 720"),
        ([(-2, 0, 640, 360)] * 2, "not inside the canvas"),
        (7, "TypeError"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(gives: Any, says: str) -> None:
    def mine(people: Sequence[Tile], size: tuple[int, int]) -> Any:
        return gives

    with pytest.raises(LayoutError, match=says) as caught:
        arrange(mine, tiles(2), HD)
    assert "'mine'" in str(caught.value)


def test_a_function_that_raises_is_named() -> None:
    def mine(people: Sequence[Tile], size: tuple[int, int]) -> Any:
        raise KeyError("bob")

    with pytest.raises(LayoutError, match="'mine' raised KeyError: 'bob'"):
        arrange(mine, tiles(1), HD)


@pytest.mark.parametrize("wrong", ["gird", None, ["grid"]])
def test_layouts_have_names(wrong: Any) -> None:
    assert layout_of("pip") is pip
    assert layout_of(grid) is grid
    with pytest.raises(ValueError, match='"grid", "speaker", "pip"'):
        layout_of(wrong)
