"""What could be left behind by rooms and people who have gone, counted before and after."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

from aiortc import RTCPeerConnection

from rtclab import RemoteTrack
from rtclab.engine import get_engine
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.producer import Producer
from rtclab.peers.link import Link
from rtclab.peers.outlets import Outlet, Spread
from rtclab.signaling.member import Member
from rtclab.transport.transport import Transport
from waiting import until

KINDS = (
    *(Transport, Client, Consumer, Producer, Member),
    *(RTCPeerConnection, RemoteTrack, Link, Outlet, Spread),
)
LOOKS = 5


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def kept() -> dict[str, int]:
    """How many there are now of everything that could be left behind, without what `forget` has seen."""
    tasks = get_engine().run(_tasks())
    gc.collect()
    objects = gc.get_objects()
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "tasks": tasks,
        **{kind.__name__: sum(isinstance(thing, kind) for thing in objects) for kind in KINDS},
    }


def forget() -> None:
    """Leave out the objects that there are; a look at those of a whole run of tests takes seconds."""
    gc.collect()
    gc.freeze()


def settled() -> dict[str, int]:
    """The least of some looks, since what has just ended may take a moment."""
    looks = [kept() for _ in range(LOOKS)]
    return {what: min(look[what] for look in looks) for what in looks[0]}


def comes_back_to(before: dict[str, int]) -> None:
    """Wait until there is no more than there was."""
    until(lambda: all(now <= before[what] + 1 for what, now in kept().items()), lambda: (before, kept()))
