"""A room told to be what it is already, as when a cell is run again: nobody may notice for long."""

from __future__ import annotations

import pytest

import rtclab
from waiting import until


@pytest.mark.parametrize("architecture", ["relay", "mcu"])
def test_pictures_and_sound_go_on(architecture: str) -> None:
    with rtclab.Room(
        architecture=architecture, size=(320, 180), fps=10, bitrate=200_000, host_candidates=["127.0.0.1"]
    ) as room:
        for name in ("ann", "ben"):
            room.join(name).publish(rtclab.TestPattern(160, 90, fps=10))
        viewer = room.join("viewer")
        tracks = [viewer.watch("ann"), viewer.watch("ben", kind="audio")]
        for _ in range(2):
            for track in tracks:
                track.next_frame(10)
            room.architecture = architecture
            for track, mark in [(track, track.received) for track in tracks]:
                # more than was on its way
                until(
                    lambda track=track, mark=mark: track.received >= mark + 20,  # type: ignore[misc]
                    "nothing came after the room was told what it is already",
                )
