"""Fifty switches of a live room leave nothing behind."""

from __future__ import annotations

import random
import time

import pytest

import rtclab
from leftovers import comes_back_to, forget, kept
from waiting import until

SWITCHES = 50


@pytest.mark.timeout(300)
def test_fifty_live_switches_leave_nothing_behind() -> None:
    forget()
    names = ["mesh", "relay", "sfu", "mcu"]
    generator = random.Random(4)
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
        until(lambda: not kept()["Link"], kept)
        before = kept()
        for _ in range(SWITCHES):
            room.architecture = generator.choice([name for name in names if name != room.architecture])
            if generator.random() < 0.4:
                flow()
            else:
                time.sleep(generator.random() * 0.2)  # the next one comes before this one is through
        room.architecture = "sfu"
        flow()
        comes_back_to(before)
        assert not any(track.ended for track in tracks)
        assert len(room.participants) == 3
