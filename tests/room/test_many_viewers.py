"""One publisher and twenty viewers for two hundred frames: everybody gets every one, in order, once."""

from __future__ import annotations

import itertools

import pytest

import rtclab
from room_tools import frame_number, waiting_frames
from waiting import until

VIEWERS, FRAMES, FPS = 20, 200, 10


@pytest.mark.timeout(240)
def test_twenty_viewers_get_every_frame() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=FPS, sound=False))
        tracks = [room.join(f"viewer-{index}").watch("alice", queue=200) for index in range(VIEWERS)]
        numbers: list[list[int]] = [[frame_number(track)] for track in tracks]

        def common() -> tuple[int, int]:
            """The first and the last number that everybody may have got."""
            return max(seen[0] for seen in numbers), min(seen[-1] for seen in numbers)

        def enough() -> bool:
            for track, seen in zip(tracks, numbers, strict=True):
                for _ in range(waiting_frames(track, len(seen))):
                    seen.append(frame_number(track))
            first, last = common()
            return last - first >= FRAMES

        until(enough, lambda: f"everybody has {common()} only", 150)
        first, last = common()
        published = set().union(*numbers)
        for seen in numbers:
            assert all(later > earlier for earlier, later in itertools.pairwise(seen))
            got = sum(first <= number <= last for number in seen)
            assert got >= 0.99 * sum(first <= number <= last for number in published)
        stats = room.stats()
        outgoing = stats[(stats.direction == "out") & (stats.kind == "video")]
        assert len(outgoing) == VIEWERS
        assert (outgoing.packets_lost <= 0.01 * outgoing.packets).all()
