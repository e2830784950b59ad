"""Viewers that join late get their first picture from the packets kept since the last keyframe."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import rtclab
from room_tools import frame_number
from rtclab.engine import get_engine
from rtclab.forwarding.fanout import REPLAY_S
from rtclab.signaling.faults import Faults

VIEWERS = 20


def test_twenty_joins_at_once_cost_at_most_two_keyframe_requests() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
        early = room.join("early").watch("alice", queue=2)
        while frame_number(early) < 40:  # the first keyframe is long gone
            pass
        line = Faults(room.connect)
        line.gather("offer", VIEWERS)
        before = _begun(room)
        peers = [rtclab.Peer(get_engine(), line, f"viewer-{index}").join() for index in range(VIEWERS)]
        with ThreadPoolExecutor(VIEWERS) as pool:
            tracks = list(pool.map(lambda peer: peer.watch("alice"), peers))
            numbers = list(pool.map(lambda track: frame_number(track, 30), tracks))
        assert len(numbers) == VIEWERS
        connected = [
            member.transport.times["DTLS connected"]
            for member in room._server.members.values()
            if member.transport is not None and member.name.startswith("viewer")
        ]
        # who is kept from connecting for longer needs the next keyframe
        assert _begun(room) - before <= 2 + (max(connected) - min(connected)) // REPLAY_S


def test_a_viewer_that_joins_soon_after_a_keyframe_needs_no_request() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
        frame_number(room.join("bob").watch("alice"))
        before = _requests(room)
        frame_number(room.join("carol").watch("alice"))
        assert _requests(room) == before


def _begun(room: rtclab.Room) -> int:
    """Requests so far without those that are repeated because a busy publisher takes its time."""
    ((_, producer),) = room._router.producers()
    requests = producer.streams[0].keyframes
    return requests.asked - requests.merged


def _requests(room: rtclab.Room) -> int:
    stats = room.stats()
    return int(stats[(stats.direction == "in") & (stats.kind == "video")].plis.sum())
