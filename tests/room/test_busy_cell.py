"""Media goes on while a notebook cell keeps the main thread busy."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import rtclab


def sleep() -> None:
    time.sleep(3)


def spin() -> None:
    until, total = time.monotonic() + 3, 0
    while time.monotonic() < until:
        total += 1


@pytest.mark.parametrize("cell", [sleep, spin])
def test_frames_arrive_during_a_busy_cell(cell: Callable[[], None]) -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
        video = room.join("bob").watch("alice")
        video.next_frame(10)
        before = video.received
        cell()
        assert video.received - before >= 15
