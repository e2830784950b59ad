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
from waiting import until

WARM_UP, CYCLES = 60, 200
LOOK_S = 90  # a look at all objects of a whole run of tests takes a while
MAX_GROWTH_MB = 16  # the trace of 200 joins and what the allocator keeps


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _tasks() -> int:
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


def _settled() -> dict[str, int]:
    """The least of some looks, since what has just ended may take a moment."""
    looks = [_kept() for _ in range(5)]
    return {what: min(look[what] for look in looks) for what in looks[0]}


def _comes_back_to(before: dict[str, int]) -> None:
    until(
        lambda: all(now <= before[what] + 1 for what, now in _kept().items()),
        lambda: (before, _kept()),
        LOOK_S,
    )


@pytest.mark.timeout(240)
def test_join_and_leave_leaves_nothing_behind() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

        def cycle(number: int) -> None:
            with room.join(f"viewer-{number}") as viewer:
                viewer.watch("alice").next_frame(10)

        for number in range(WARM_UP):  # caches and thread pools fill
            cycle(number)
        before = _settled()
        memory = _resident_mb()
        for number in range(CYCLES):
            cycle(number)
        _comes_back_to(before)
        until(
            lambda: _resident_mb() - memory < MAX_GROWTH_MB, lambda: f"{_resident_mb() - memory:.0f} MB more"
        )
        assert [participant.name for participant in room.participants] == ["alice"]


def test_rooms_come_and_go() -> None:
    def cycle() -> None:
        with rtclab.Room() as room:
            room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))

    cycle()
    before = _settled()
    for _ in range(10):
        cycle()
    _comes_back_to(before)
