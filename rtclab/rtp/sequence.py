"""Counters that wrap around: RTP sequence numbers, timestamps, picture ids.

Which of two numbers is newer is decided by the shorter way around the circle.
"""

from __future__ import annotations


def difference(a: int, b: int, bits: int = 16) -> int:
    """Signed distance from `b` to `a` on a circle of ``2**bits``; half the circle counts as behind."""
    half = 1 << (bits - 1)
    return ((a - b + half) & ((1 << bits) - 1)) - half


def newer(a: int, b: int, bits: int = 16) -> bool:
    """Is `a` ahead of `b`?"""
    return 0 < (a - b) & ((1 << bits) - 1) < 1 << (bits - 1)


class Unwrapper:
    """Extends a wrapping counter to one that does not wrap.

    Each value becomes the integer nearest to the last one with these low bits, smaller if the value is late.

    Parameters
    ----------
    bits : int
        Width of the counter.
    """

    __slots__ = ("_half", "_last", "_mask")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """Extend `value`; the first one is returned as it is, and a value before it may be negative."""
        last = self._last
        if last is not None:
            value = last + ((value - last + self._half) & self._mask) - self._half
        self._last = value
        return value
