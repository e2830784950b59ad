"""Wrapping counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.sequence import Unwrapper, difference, newer


@pytest.mark.parametrize(
    ("a", "b", "bits", "expected"),
    [
        (1, 0, 16, 1),
        (0, 65535, 16, 1),
        (65535, 0, 16, -1),
        (32767, 0, 16, 32767),
        (32768, 0, 16, -32768),
        (0, 32768, 16, -32768),
        (5, 0xFFFFFFFB, 32, 10),
        (1, 0x7FFF, 15, 2),
        (250, 3, 8, -9),
    ],
)
def test_difference(a: int, b: int, bits: int, expected: int) -> None:
    assert difference(a, b, bits) == expected
    assert newer(a, b, bits) is (expected > 0)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_of_two_numbers_at_most_one_is_newer(a: int, b: int) -> None:
    assert (b + difference(a, b)) & 0xFFFF == a
    assert not (newer(a, b) and newer(b, a))
    if difference(a, b) not in (0, -0x8000):
        assert newer(a, b) is not newer(b, a)


@given(
    st.sampled_from([7, 8, 15, 16, 32]),
    st.integers(0, 1 << 40),
    st.lists(st.floats(-1, 1), max_size=50),
)
def test_unwrapping_follows_any_walk_of_less_than_half_a_circle(
    bits: int, start: int, steps: list[float]
) -> None:
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    unwrapper = Unwrapper(bits)
    offset = start - unwrapper.unwrap(start & mask)
    position = start
    for step in steps:
        position += int(step * (half - 1))
        assert unwrapper.unwrap(position & mask) + offset == position


def test_values_before_the_first_one_are_negative() -> None:
    unwrapper = Unwrapper(16)
    assert [unwrapper.unwrap(value) for value in (1, 65535, 2)] == [1, -1, 2]
