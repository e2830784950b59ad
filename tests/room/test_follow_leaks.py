"""Fifty switches of a live room leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time

import pytest
from aiortc import RTCPeerConnection

import rtclab
from rtclab import RemoteTrack
from rtclab.engine import get_engine
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.producer import Producer
from rtclab.peers.link import Link
from rtclab.peers.outlets import Outlet, Spread
from rtclab.transport.transport import Transport
from waiting import until

SWITCHES = 50
LOOK_S = 90  # a look at all objects of a whole run of tests takes a while
KINDS = (Transport, Client, Consumer, Producer, RTCPeerConnection, RemoteTrack, Link, Outlet, Spread)


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def kept() -> dict[str, int]:
    """How many there are now of everything that could be left behind."""
    gc.collect()
    objects = gc.get_objects()
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "tasks": get_engine().run(_tasks()),
        **{kind.__name__: sum(isinstance(thing, kind) for thing in objects) for kind in KINDS},
    }


@pytest.mark.timeout(300)
def test_fifty_live_switches_leave_nothing_behind() -> None:
    names = ["mesh", "relay", "sfu", "mcu"]
    generator = random.Random(4)
    idle = kept()["Link"]  # of rooms that have just closed
    with rtclab.Room(size=(320, 180), fps=10) as room:
        peers = [room.join(name) for name in ("ann", "ben", "cat")]
        for peer in peers:
            peer.publish(rtclab.TestPattern(160, 90, fps=10))
        pairs = [(peer, other.name) for peer in peers for other in peers if other is not peer]
        tracks = [peer.watch(name, kind) for peer, name in pairs for kind in ("video", "audio")]

        def flow() -> None:
            marks = [track.received for track in tracks]
            moved = [
                lambda t=t, mark=mark: t.received > mark + 3 for t, mark in zip(tracks, marks, strict=True)
            ]
            until(lambda: all(one() for one in moved), lambda: [track for track in tracks if track.ended])

        for name in (*names, "sfu"):  # caches and thread pools fill
            room.architecture = name
            flow()
        until(lambda: kept()["Link"] <= idle, lambda: (idle, kept()), LOOK_S)
        before = kept()
        for _ in range(SWITCHES):
            room.architecture = generator.choice([name for name in names if name != room.architecture])
            if generator.random() < 0.4:
                flow()
            else:
                time.sleep(generator.random() * 0.2)  # the next one comes before this one is through
        room.architecture = "sfu"
        flow()
        until(
            lambda: all(now <= before[what] + 1 for what, now in kept().items()),
            lambda: (before, kept()),
            LOOK_S,
        )
        assert not any(track.ended for track in tracks)
        assert len(room.participants) == 3
