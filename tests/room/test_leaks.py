"""Two hundred participants come and go, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

import rtclab
from rtclab.engine import get_engine

CYCLES = 200


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _tasks() -> int:
    for _ in range(20):  # what was cancelled needs turns of the loop to end
        await asyncio.sleep(0.01)
    return len(asyncio.all_tasks())


@pytest.mark.timeout(240)
def test_join_and_leave_leaves_nothing_behind() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

        def cycle(number: int) -> None:
            with room.join(f"viewer-{number}") as viewer:
                viewer.watch("alice").next_frame(10)

        for number in range(20):  # caches and thread pools fill
            cycle(number)
        gc.collect()
        before = threading.active_count(), _open_files(), get_engine().run(_tasks()), len(room._port.paths)
        memory = _resident_mb()
        for number in range(CYCLES):
            cycle(number)
        gc.collect()
        after = threading.active_count(), _open_files(), get_engine().run(_tasks()), len(room._port.paths)
        for was, now, what in zip(before, after, ("threads", "files", "tasks", "paths"), strict=True):
            assert now <= was + 1, what
        assert _resident_mb() - memory < 10
        assert [participant.name for participant in room.participants] == ["alice"]


def test_rooms_come_and_go() -> None:
    def cycle() -> None:
        with rtclab.Room() as room:
            room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

    cycle()
    before = threading.active_count(), _open_files(), get_engine().run(_tasks())
    for _ in range(10):
        cycle()
    after = threading.active_count(), _open_files(), get_engine().run(_tasks())
    for was, now in zip(before, after, strict=True):
        assert now <= was + 1
