"""One publisher and twenty viewers for half a minute: everybody gets every frame, in order, once."""

from __future__ import annotations

import itertools
import time

import pytest

import rtclab
from room_tools import frame_number, waiting_frames

VIEWERS, SECONDS, FPS = 20, 30, 10


@pytest.mark.timeout(240)
def test_twenty_viewers_get_every_frame() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=FPS, sound=False))
        tracks = [room.join(f"viewer-{index}").watch("alice", queue=200) for index in range(VIEWERS)]
        numbers: list[list[int]] = [[frame_number(track)] for track in tracks]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.2)
            for track, seen in zip(tracks, numbers, strict=True):
                for _ in range(waiting_frames(track, len(seen))):
                    seen.append(frame_number(track))
        latest_start = max(seen[0] for seen in numbers)
        earliest_end = min(seen[-1] for seen in numbers)
        sent = earliest_end - latest_start + 1
        assert sent > SECONDS * FPS * 0.5, "the machine is too slow for this test to say anything"
        published = set().union(*numbers)
        for seen in numbers:
            assert all(later > earlier for earlier, later in itertools.pairwise(seen))
            got = sum(latest_start <= number <= earliest_end for number in seen)
            assert got >= 0.99 * sum(latest_start <= number <= earliest_end for number in published)
        stats = room.stats()
        outgoing = stats[(stats.direction == "out") & (stats.kind == "video")]
        assert len(outgoing) == VIEWERS
        assert (outgoing.packets_lost <= 0.01 * outgoing.packets).all()
