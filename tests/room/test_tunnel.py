"""Media without UDP through a real room: frames up, frames down, and everything between as with WebRTC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rtclab
from room_tools import frame_numbers
from tunnel_rig import Camera, PictureDecoder, TunnelPage


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


def page(room: rtclab.Room, name: str = "page") -> TunnelPage:
    page = TunnelPage(room, name)
    assert page.join()["type"] == "welcome"
    return page


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_frames_of_a_page_reach_viewers_by_udp(room: rtclab.Room, codec: str) -> None:
    alice = page(room, "alice")
    mid, answered = alice.publish(codecs=(codec,))
    assert answered["codec"] == codec
    assert alice.open()["open"]
    with Camera(alice, mid, codec):
        video = room.join("bob").watch("alice")
        numbers = frame_numbers(video, 10)
    assert numbers == sorted(set(numbers))


def test_a_page_gets_frames_of_those_who_publish_by_udp(room: rtclab.Room) -> None:
    room.join("alice").publish(rtclab.TestPattern(160, 90, fps=20, sound=True))
    bob = page(room, "bob")
    bob.open()
    mid = bob.watch(bob.track_of("alice"))
    sound = bob.watch(bob.track_of("alice", "audio"), "audio")
    bob.until(lambda: len(bob.frames[mid]) >= 20 and len(bob.frames[sound]) >= 20)
    frames = bob.frames[mid]
    assert frames[0].keyframe
    assert (frames[0].width, frames[0].height) == (160, 90)
    numbers = PictureDecoder("VP8").numbers(*(frame.payload for frame in frames))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
