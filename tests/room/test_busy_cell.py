"""Media goes on while a notebook cell keeps the main thread busy."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import rtclab

LIMIT_S = 60


def sleep(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(1)


def spin(done: Callable[[], bool]) -> None:
    while not done():
        pass


@pytest.mark.parametrize("cell", [sleep, spin])
def test_frames_arrive_during_a_busy_cell(cell: Callable[[Callable[[], bool]], None]) -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
        video = room.join("bob").watch("alice")
        video.next_frame(10)
        goal, end = video.received + 15, time.monotonic() + LIMIT_S
        cell(lambda: video.received >= goal or time.monotonic() > end)
        assert video.received >= goal
