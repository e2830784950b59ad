"""The canvas: planes copied where they belong, nothing distorted, nothing drawn twice."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixing_rig import luma, picture
from rtclab.mixing.canvas import BACKGROUND, Canvas, Item, planes
from rtclab.mixing.layouts import Rect, fit

LEFT, RIGHT = Rect(0, 0, 160, 90), Rect(160, 0, 160, 90)


def item(level: int | None, id: str = "a", version: int = 1, **more: object) -> Item:
    shown = None if level is None else picture(160, 90, level, 90, 200)
    return Item(id, id, shown, version, **more)  # type: ignore[arg-type]


def middle(canvas: Canvas, rect: Rect) -> tuple[int, int, int]:
    """The colour in the middle of a rectangle."""
    y, x = rect.y + rect.height // 2, rect.x + rect.width // 2
    light, blue, red = planes(canvas.frame)
    return int(light[y, x]), int(blue[y // 2, x // 2]), int(red[y // 2, x // 2])


def test_pictures_of_the_right_size_are_copied_to_the_bit() -> None:
    canvas = Canvas(320, 90)
    generator = np.random.default_rng(1)
    source = av.VideoFrame.from_ndarray(generator.integers(16, 235, (135, 160), np.uint8), "yuv420p")
    canvas.draw([Item("a", "", source, 1)], [RIGHT])
    light, blue, red = planes(canvas.frame)
    for got, sent in zip(
        (light[30:, 160:], blue[15:, 80:], red[15:, 80:]),
        (plane[cut:] for plane, cut in zip(planes(source), (30, 15, 15), strict=True)),
        strict=True,
    ):
        assert np.array_equal(got, sent)  # below the label
    assert (light[:, :160] == BACKGROUND).all()


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(16, 300).map(lambda n: n * 2),
    height=st.integers(16, 300).map(lambda n: n * 2),
    rect=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(16, 100), st.integers(16, 100)),
)
def test_other_sizes_are_scaled_into_the_middle(
    width: int, height: int, rect: tuple[int, int, int, int]
) -> None:
    canvas = Canvas(640, 480)
    place = Rect(*(value * 2 for value in rect))
    canvas.draw([Item("a", "", picture(width, height, 180), 1)], [place])
    bright = np.argwhere(luma(canvas.frame) > 150)
    shown = fit((width, height), place)
    top, left = bright.min(axis=0)
    bottom, right = bright.max(axis=0) + 1
    assert (left, right - left) == (shown.x, shown.width)
    assert (top, bottom - top) == (shown.y, shown.height)


def test_what_has_not_changed_is_not_drawn_again() -> None:
    canvas = Canvas(320, 90)
    one, two = item(100), item(200, "b")
    assert canvas.draw([one, two], [LEFT, RIGHT]) == 2
    assert canvas.draw([one, two], [LEFT, RIGHT]) == 0
    assert canvas.draw([item(120, version=2), two], [LEFT, RIGHT]) == 1
    assert middle(canvas, LEFT) == (120, 90, 200)
    assert canvas.draw([item(120, version=2, note="no new picture", dimmed=True), two], [LEFT, RIGHT]) == 1
    assert canvas.draw([item(None, version=2), two], [LEFT, RIGHT]) == 1


def test_what_lies_on_top_is_drawn_again_with_what_is_below() -> None:
    canvas = Canvas(320, 180)
    rects = [Rect(0, 0, 320, 180), Rect(240, 120, 64, 36)]
    canvas.draw([item(50), item(220, "b")], rects)
    assert canvas.draw([item(60, version=2), item(220, "b")], rects) == 2
    assert middle(canvas, rects[1])[0] == 220
    assert canvas.draw([item(60, version=2), item(230, "b", 2)], rects) == 1


@pytest.mark.parametrize("rects", [[Rect(0, 0, 64, 36), Rect(100, 0, 64, 36)], [Rect(32, 20, 200, 60), None]])
def test_another_layout_leaves_nothing_of_the_last_one(rects: Sequence[Rect | None]) -> None:
    canvas, fresh = Canvas(320, 90), Canvas(320, 90)
    items = [item(100), item(200, "b")]
    canvas.draw(items, [LEFT, RIGHT])
    for each in (canvas, fresh):
        each.draw(items, rects)
    assert all(np.array_equal(a, b) for a, b in zip(planes(canvas.frame), planes(fresh.frame), strict=True))


def test_someone_else_in_the_same_place_is_drawn() -> None:
    canvas = Canvas(160, 90)
    canvas.draw([item(100)], [LEFT])
    canvas.draw([item(200, "b")], [LEFT])
    assert middle(canvas, LEFT)[0] == 200


def test_a_frozen_picture_is_darker_and_paler_but_still_there() -> None:
    canvas = Canvas(160, 90)
    canvas.draw([item(200)], [LEFT])
    bright = middle(canvas, LEFT)
    canvas.draw([item(200, dimmed=True)], [LEFT])
    light, blue, red = middle(canvas, LEFT)
    assert 60 < light < bright[0] * 0.6
    assert abs(blue - 128) < abs(bright[1] - 128)
    assert abs(red - 128) < abs(bright[2] - 128)


def test_the_name_stands_in_the_upper_left_corner_only() -> None:
    canvas, bare = Canvas(640, 360), Canvas(640, 360)
    whole = Rect(0, 0, 640, 360)
    canvas.draw([Item("a", "alice", picture(640, 360, 100), 1)], [whole])
    bare.draw([Item("a", "alice", picture(640, 360, 100), 1)], [Rect(0, 0, 16, 16)])
    changed = np.argwhere(luma(canvas.frame) != 100)
    assert len(changed) > 100
    assert changed.max(axis=0)[0] < 50
    assert changed.max(axis=0)[1] < 120
    assert luma(canvas.frame)[changed[:, 0], changed[:, 1]].max() > 200


def test_names_differ_and_small_tiles_have_none() -> None:
    drawn = []
    for name in ("alice", "bob", ""):
        canvas = Canvas(160, 90)
        canvas.draw([Item("a", name, picture(160, 90, 100), 1)], [LEFT])
        drawn.append(luma(canvas.frame).copy())
    assert not np.array_equal(drawn[0], drawn[1])
    small = Canvas(64, 36)
    small.draw([Item("a", "alice", picture(64, 36, 100), 1)], [Rect(0, 0, 64, 36)])
    assert (luma(small.frame) == 100).all()


def test_without_a_picture_there_is_a_card_without_colour() -> None:
    canvas = Canvas(320, 180)
    whole = Rect(0, 0, 320, 180)
    canvas.draw([Item("a", "alice", picture(320, 180, 100, 40, 220), 1)], [whole])
    canvas.draw([Item("a", "alice", None, 0, "no picture")], [whole])
    light, blue, red = planes(canvas.frame)
    assert light.max() > 200
    assert (blue == 128).all()
    assert (red == 128).all()


def test_other_formats_are_converted() -> None:
    canvas = Canvas(160, 90)
    white = av.VideoFrame.from_ndarray(np.full((90, 160, 3), 255, np.uint8), "rgb24")
    canvas.draw([Item("a", "", white, 1)], [LEFT])
    assert middle(canvas, LEFT) == (235, 128, 128)
