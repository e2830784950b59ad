"""Labels and cards: letters where they belong, whatever the name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.mixing import text
from rtclab.mixing.text import CARD, INK, card, label


def test_a_label_keeps_the_picture_around_it_and_writes_on_it() -> None:
    drawn = label("alice", 24, 300)
    assert drawn.keep.shape == drawn.add.shape
    assert drawn.keep_chroma.shape == (12, drawn.keep.shape[1] // 2)
    assert drawn.keep[0, 0] == 256  # a rounded corner shows the picture
    on_grey = (np.full(drawn.keep.shape, 120, np.uint16) * drawn.keep >> 8) + drawn.add
    assert on_grey.max() > 200
    assert on_grey.min() < 80


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(8, 30).map(lambda n: n * 2), st.integers(30, 400))
def test_a_label_is_never_wider_than_allowed(name: str, height: int, widest: int) -> None:
    drawn = label(name, height, widest)
    assert drawn.keep.shape[1] <= max(widest, height)
    assert drawn.keep.shape[0] == height
    # blended with any picture it stays within a byte
    assert int(((np.uint16(255) * drawn.keep >> 8) + drawn.add).max()) <= 255


def test_a_name_that_is_too_long_is_cut() -> None:
    whole, cut = label("maximiliane", 24, 400), label("maximiliane von und zu", 24, whole_width())
    assert cut.keep.shape[1] <= whole_width()
    assert not np.array_equal(cut.add[:, :40], 0 * cut.add[:, :40])
    assert whole.keep.shape[1] > 0


def whole_width() -> int:
    return label("maximiliane von", 24, 400).keep.shape[1]


@pytest.mark.parametrize(("width", "height"), [(640, 360), (320, 180), (16, 16), (64, 200)])
def test_a_card_fills_its_rectangle(width: int, height: int) -> None:
    drawn = card("bob", "no picture", width, height)
    assert drawn.shape == (height, width)
    assert drawn[0, 0] == CARD
    if min(width, height) > 100:
        assert (drawn > INK - 30).any()


def test_letters_of_many_languages_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [label(name, 24, 300).add.tobytes() for name in ("Zo\u00eb", "Zoe", "Jos\u00e9", "\u010carla")]
    assert len(set(drawn)) == 4
    for cached in (text._font, text._path, text.label):
        cached.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(text, "_path", lambda: None)
        own = [label(name, 24, 300).add.tobytes() for name in ("Zo\u00eb", "Zoe")]
        assert own[0] == own[1]  # no box in place of a letter
    text._font.cache_clear()
    text.label.cache_clear()


def test_cards_of_different_people_differ() -> None:
    assert not np.array_equal(card("bob", "", 320, 180), card("eve", "", 320, 180))
    assert not np.array_equal(card("bob", "", 320, 180), card("bob", "no picture", 320, 180))
    assert card("  ", "", 320, 180).shape == (180, 320)
