"""What a notebook cell may be doing: work that keeps the main thread, and with it the GIL, busy.

Each function works for about `seconds` and returns how many rounds a second it got done, so that what a room
in the same process costs the cell can be seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

FLOATS = 1_000_000  # sorting them is one C call that holds the GIL for about half a second
SIDE = 256  # of the matrices


def _rounds(seconds: float, work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    rounds = 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        work()
        rounds += 1
    return rounds / elapsed


def _count() -> None:
    total = 0
    for number in range(10_000):
        total += number


def spin(seconds: float) -> float:
    """Plain Python, which gives the GIL up once in a switch interval."""
    return _rounds(seconds, _count)


def matmul(seconds: float) -> float:
    """NumPy products of matrices, which release the GIL while they compute."""
    left = np.random.default_rng(1).random((SIDE, SIDE))
    return _rounds(seconds, lambda: left @ left)


def sort(seconds: float) -> float:
    """``sorted`` of a million floats: a C call that never gives the GIL up."""
    numbers = np.random.default_rng(1).random(FLOATS).tolist()
    return _rounds(seconds, lambda: sorted(numbers))


BUSY: dict[str, Callable[[float], float]] = {"python": spin, "numpy": matmul, "sorted": sort}
