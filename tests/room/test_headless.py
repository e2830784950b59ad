"""A room with headless participants: who sees whom, and what is said when that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

import rtclab
from room_tools import frame_numbers, readable_numbers
from rtclab.errors import Closed, PortBusy, SignalingError, Timeout


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


def small() -> rtclab.TestPattern:
    return rtclab.TestPattern(160, 90, fps=15)


def test_what_is_published_arrives_in_order(room: rtclab.Room) -> None:
    room.join("alice").publish(small())
    videos = [room.join(name).watch("alice", queue=60) for name in ("bob", "carol")]
    first, second = (frame_numbers(video, 20) for video in videos)
    assert first == sorted(set(first))
    both = range(max(first[0], second[0]), min(first[-1], second[-1]) + 1)
    assert [number for number in first if number in both] == [number for number in second if number in both]
    assert videos[0].next_frame().shape == (90, 160, 3)


def test_sound_arrives(room: rtclab.Room) -> None:
    room.join("alice").publish(rtclab.TestPattern(160, 90, fps=15, tone=440))
    sound = room.join("bob").watch("alice", kind="audio", queue=100)
    samples = np.concatenate([sound.next_frame(10)[:, 0] for _ in range(50)]).astype(float)
    spectrum = np.abs(np.fft.rfft(samples[-24000:] * np.hanning(24000)))
    assert abs(np.argmax(spectrum) * 48000 / 24000 - 440) <= 4
    levels = {participant.name: participant.audio_level_dbov for participant in room.participants}
    assert levels["alice"] is not None
    assert -60 < levels["alice"] < -10
    assert levels["bob"] is None


def test_everyone_sees_everyone(room: rtclab.Room) -> None:
    peers = [room.join(name) for name in ("ann", "ben", "cat")]
    for peer in peers:
        peer.publish(small())
    for peer in peers:
        for other in peers:
            if other is not peer:
                assert len(frame_numbers(peer.watch(other.name), 3)) == 3
    assert [participant.name for participant in room.participants] == ["ann", "ben", "cat"]
    assert sum(track.kind == "video" for track in room.tracks) == 3


def test_two_rooms_live_side_by_side(room: rtclab.Room) -> None:
    with rtclab.Room() as other:
        assert other.udp_port != room.udp_port
        for each in (room, other):
            each.join("alice").publish(small())
        for each in (room, other):
            frame_numbers(each.join("bob").watch("alice"), 3)


def test_a_function_and_a_generator_are_cameras(room: rtclab.Room) -> None:
    def red(t: float) -> np.ndarray:
        return np.full((90, 160, 3), (200, 0, 0), np.uint8)

    def blues() -> Iterator[np.ndarray]:
        while True:
            yield np.full((90, 160, 3), (0, 0, 200), np.uint8)

    assert room.publish(red).name == "red"
    room.publish(blues(), name="blue")
    viewer = room.join("viewer")
    assert viewer.watch("red").next_frame(10)[..., 0].mean() > 150
    assert viewer.watch("blue").next_frame(10)[..., 2].mean() > 150


def test_a_publisher_replaces_its_source_while_it_is_watched(room: rtclab.Room) -> None:
    alice = room.join("alice")
    alice.publish(rtclab.TestPattern(160, 90, fps=15, stream=7))
    video = room.join("bob").watch("alice", queue=60)
    frame_numbers(video, 5)
    alice.unpublish()
    alice.publish(rtclab.TestPattern(320, 180, fps=15, stream=9))
    again = next(peer for peer in room._peers if peer.name == "bob").watch("alice", queue=60)
    assert again.next_frame(10).shape == (180, 320, 3)


def test_tracks_come_and_go_while_people_watch(room: rtclab.Room) -> None:
    ann, ben, cat = (room.join(name) for name in ("ann", "ben", "cat"))
    ann.publish(small())
    watched = cat.watch("ann", queue=200)
    assert len(readable_numbers(watched, 3)) == 3
    for _ in range(3):
        ben.publish(small())
        assert len(readable_numbers(cat.watch("ben"), 3)) == 3
        ben.unpublish()
    ben.leave()
    assert len(readable_numbers(watched, 3)) == 3
    assert {track.participant for track in room.tracks} == {"ann"}


def test_leaving_ends_what_the_others_watch(room: rtclab.Room) -> None:
    alice = room.join("alice")
    alice.publish(small())
    video = room.join("bob").watch("alice")
    frame_numbers(video, 3)
    alice.leave()
    with pytest.raises((Closed, Timeout)):
        frame_numbers(video, 100, 5)
    assert [participant.name for participant in room.participants] == ["bob"]


def test_the_awaitable_twins_do_the_same() -> None:
    async def main() -> tuple[int, ...]:
        async with rtclab.Room() as room:
            alice = await room.ajoin("alice")
            await alice.apublish(small())
            bob = await room.ajoin("bob")
            video = await bob.awatch("alice")
            shape = (await video.anext_frame(10)).shape
            await bob.aleave()
            return shape

    assert asyncio.run(main()) == (90, 160, 3)


def test_what_cannot_be_is_said(room: rtclab.Room) -> None:
    room.join("alice")
    with pytest.raises(SignalingError, match="choose another name") as taken:
        room.join("alice")
    assert taken.value.code == "name_taken"
    with pytest.raises(Timeout, match="alice"):
        room.join("bob").watch("alice", timeout=0.2)
    with pytest.raises(PortBusy, match=str(room.udp_port)):
        rtclab.Room(udp_port=room.udp_port)
    with pytest.raises(ValueError, match="video_codecs"):
        rtclab.Room(video_codecs=["H266"])
    with pytest.raises(ValueError, match="source"):
        room.publisher(source="window")


def test_a_closed_room_says_so() -> None:
    room = rtclab.Room()
    alice = room.join("alice")
    room.close()
    room.close()
    assert alice.closed
    assert "closed" in repr(room)
    with pytest.raises(Closed, match=r"rtclab\.Room\(\)"):
        room.join("bob")


def test_the_codec_is_one_that_everybody_plays() -> None:
    with rtclab.Room(video_codecs=["AV1", "H264", "VP8"]) as room:
        room.join("alice").publish(small())
        frame_numbers(room.join("bob").watch("alice"), 3)
        assert [track.codec for track in room.tracks if track.kind == "video"] == ["H264"]


def test_host_candidates_can_be_chosen() -> None:
    with rtclab.Room(host_candidates=["127.0.0.1"]) as room:
        assert len(room.host_candidates) == 1
        assert f"127.0.0.1 {room.udp_port} typ host" in room.host_candidates[0]
        room.join("alice").publish(small())
        frame_numbers(room.join("bob").watch("alice"), 3)
    with rtclab.Room(host_candidates=["::1"]) as room:
        room.join("alice").publish(small())
        frame_numbers(room.join("bob").watch("alice"), 3)
        assert {participant.address[0] for participant in room.participants if participant.address} == {"::1"}


def test_srtp_is_aes_gcm(room: rtclab.Room) -> None:
    room.join("alice").publish(small())
    (alice,) = room.participants
    assert alice.srtp_profile is not None
    assert "GCM" in alice.srtp_profile


def test_reprs_are_short_and_say_what_matters(room: rtclab.Room) -> None:
    room.join("alice").publish(small())
    for thing in (room, *room.participants, *room.tracks, *room.tracks[0].layers):
        assert len(repr(thing)) < 120
    assert "alice" in repr(room.participants[0])
    assert "VP8" in repr(next(track for track in room.tracks if track.kind == "video"))
