"""Two hundred participants come and go, and nothing stays behind."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

import rtclab
from leftovers import comes_back_to, forget, settled
from waiting import until

WARM_UP, CYCLES = 60, 200
MAX_GROWTH_MB = 16  # the trace of 200 joins and what Python's allocator keeps


def _resident_mb() -> float:
    ctypes.CDLL(None).malloc_trim(0)  # the C library gives back what it keeps for later
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.timeout(240)
def test_join_and_leave_leaves_nothing_behind() -> None:
    forget()
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

        def cycle(number: int) -> None:
            with room.join(f"viewer-{number}") as viewer:
                viewer.watch("alice").next_frame(10)

        for number in range(WARM_UP):  # caches and thread pools fill
            cycle(number)
        before = settled()
        memory = _resident_mb()
        for number in range(CYCLES):
            cycle(number)
        comes_back_to(before)
        until(
            lambda: _resident_mb() - memory < MAX_GROWTH_MB, lambda: f"{_resident_mb() - memory:.0f} MB more"
        )
        assert [participant.name for participant in room.participants] == ["alice"]


def test_rooms_come_and_go() -> None:
    forget()

    def cycle() -> None:
        with rtclab.Room() as room:
            room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

    cycle()
    before = settled()
    for _ in range(10):
        cycle()
    comes_back_to(before)
