"""Two hundred participants come and go, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection

import rtclab
from rtclab import RemoteTrack
from rtclab.engine import get_engine
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.signaling.member import Member
from rtclab.transport.transport import Transport

CYCLES = 200


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _tasks() -> int:
    for _ in range(20):  # what was cancelled needs turns of the loop to end
        await asyncio.sleep(0.01)
    return len(asyncio.all_tasks())


def _kept() -> dict[str, int]:
    """How many there are now of everything that could be left behind."""
    tasks = get_engine().run(_tasks())
    gc.collect()
    objects = gc.get_objects()
    kinds = (Transport, Client, Consumer, Member, RTCPeerConnection, RemoteTrack)
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "tasks": tasks,
        **{kind.__name__: sum(isinstance(thing, kind) for thing in objects) for kind in kinds},
    }


@pytest.mark.timeout(240)
def test_join_and_leave_leaves_nothing_behind() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

        def cycle(number: int) -> None:
            with room.join(f"viewer-{number}") as viewer:
                viewer.watch("alice").next_frame(10)

        for number in range(20):  # caches and thread pools fill
            cycle(number)
        before = _kept()
        memory = _resident_mb()
        for number in range(CYCLES):
            cycle(number)
        after = _kept()
        for what, was in before.items():
            assert after[what] <= was + 1, what
        assert _resident_mb() - memory < 16  # the trace of 200 joins and what the allocator keeps
        assert [participant.name for participant in room.participants] == ["alice"]


def test_rooms_come_and_go() -> None:
    def cycle() -> None:
        with rtclab.Room() as room:
            room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

    cycle()
    before = _kept()
    for _ in range(10):
        cycle()
    for what, now in _kept().items():
        assert now <= before[what] + 1, what
