"""Media without UDP through a real room: frames up, frames down, and everything between as with WebRTC."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import rtclab
from room_tools import readable_numbers
from rtclab.engine import get_engine
from rtclab.measure import read_frame_code
from rtclab.transport.tunnel_format import Frame, KeyframeRequest
from tunnel_rig import Camera, PictureDecoder, PictureEncoder, TunnelPage, call, page, tone

PICTURE_US = 40_000  # from one picture to the next


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


def participant(room: rtclab.Room, name: str) -> rtclab.Participant:
    return next(one for one in room.participants if one.name == name)


def some_frames(page: TunnelPage, mid: str, count: int) -> list[Frame]:
    """The first frames of an m-line, once there are so many."""
    page.until(lambda: len(page.frames[mid]) >= count)
    return page.frames[mid][:count]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_frames_of_a_page_reach_viewers_by_udp(room: rtclab.Room, codec: str) -> None:
    alice = page(room, "alice")
    mid, answered = alice.publish(codecs=(codec,))
    assert answered["codec"] == codec
    assert alice.open()["open"]
    with Camera(alice, mid, codec) as camera:
        video = room.join("bob").watch("alice")
        numbers = readable_numbers(video, 10)
        assert camera.sent >= 10
    assert len(numbers) == 10
    assert numbers == sorted(set(numbers))
    assert alice.until(lambda: alice.acks)[-1].number > 0
    shown = participant(room, "alice")
    assert (shown.state, shown.transport) == ("connected", "websocket")
    assert shown.transport_reason == "UDP did not get through within 2 s"
    stats = room.stats()
    assert set(stats[stats.direction == "in"].transport) == {"websocket"}
    assert set(stats[stats.direction == "out"].transport) == {"webrtc"}
    assert (stats[stats.direction == "in"].width == 160).all()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_page_gets_what_a_page_sends(room: rtclab.Room, codec: str) -> None:
    alice, bob = page(room, "alice"), page(room, "bob")
    alice.open()
    mid, _ = alice.publish(codecs=(codec,))
    with Camera(alice, mid, codec):
        bob.open()
        watched = bob.watch(bob.track_of("alice"))
        frames = some_frames(bob, watched, 20)
    assert frames[0].keyframe
    assert {(frame.width, frame.height) for frame in frames} == {(160, 90)}
    numbers = PictureDecoder(codec).numbers(*(frame.payload for frame in frames))
    assert numbers == list(range(numbers[0], numbers[0] + len(frames)))


def test_sound_and_picture_keep_their_times(room: rtclab.Room) -> None:
    """What was captured at one moment has one time at the viewer too, whatever that clock shows."""
    alice, bob = page(room, "alice"), page(room, "bob")
    for one in (alice, bob):
        one.open()
    video, _ = alice.publish()
    audio, _ = alice.publish("audio", ("opus",))
    seen = bob.watch(bob.track_of("alice"))
    heard = bob.watch(bob.track_of("alice", "audio"), "audio")
    encoder = PictureEncoder("VP8")
    pictures = [encoder.encode(number, number == 0) for number in range(30)]
    packets = tone(60)
    start = 1_600_000_000_000_000  # the page's clock is years behind
    begun = time.monotonic()
    for number, packet in enumerate(packets):
        # its clock runs as fast as the room's, however long sending takes
        time.sleep(max(0.0, begun + 0.02 * number - time.monotonic()))
        time_us = start + 20_000 * number
        if number % 2 == 0:
            payload, keyframe = pictures[number // 2]
            alice.send(video, payload, time_us, keyframe=keyframe, width=160, height=90)
        alice.send(audio, packet, time_us, audio=True, level=20)
    bob.until(lambda: len(bob.frames[seen]) >= 30 and len(bob.frames[heard]) >= 50)
    decoder = PictureDecoder("VP8")
    shown = {decoder.numbers(frame.payload)[0]: frame.time_us for frame in bob.frames[seen]}
    sounds = {packets.index(frame.payload): frame.time_us for frame in bob.frames[heard]}
    assert list(shown) == list(range(30))
    for number in range(15, 30):
        assert abs(shown[number] - sounds[2 * number]) < PICTURE_US
    assert abs(shown[29] - shown[15] - 14 * PICTURE_US) < PICTURE_US
    assert abs(shown[29] / 1e6 - time.time()) < 5
    level = participant(room, "alice").audio_level_dbov
    assert level is not None
    assert level > -40


def test_a_page_gets_what_others_send_by_udp(room: rtclab.Room) -> None:
    room.join("alice").publish(rtclab.TestPattern(160, 90, fps=20, sound=True))
    bob = page(room, "bob")
    bob.open()
    mid = bob.watch(bob.track_of("alice"))
    sound = bob.watch(bob.track_of("alice", "audio"), "audio")
    bob.until(lambda: len(bob.frames[mid]) >= 20 and len(bob.frames[sound]) >= 20)
    frames = list(bob.frames[mid])
    assert frames[0].keyframe
    assert (frames[0].width, frames[0].height) == (160, 90)
    numbers = PictureDecoder("VP8").numbers(*(frame.payload for frame in frames))
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 0
    everything = sorted(frame.number for frames in bob.frames.values() for frame in frames)
    assert everything == list(range(1, len(everything) + 1))


def test_keyframes_are_asked_for_both_ways(room: rtclab.Room) -> None:
    with call(room) as (alice, bob, published, watched):
        bob.until(lambda: len(bob.frames[watched]) > 20)  # what was asked for at first is long there
        before = len(alice.asked)
        shown = len(bob.frames[watched])
        bob.send_media(KeyframeRequest(watched).encode())
        alice.until(lambda: alice.asked[before:])
        assert alice.asked[-1] == KeyframeRequest(published["mid"], "")
        bob.until(lambda: any(frame.keyframe for frame in bob.frames[watched][shown:]))


def test_a_picture_that_was_lost_is_never_missed_by_a_viewer(room: rtclab.Room) -> None:
    with call(room) as (alice, bob, published, watched):
        bob.until(lambda: len(bob.frames[watched]) > 10)
        before = len(alice.asked)
        shown = len(bob.frames[watched])
        alice.lose_frame()
        bob.until(lambda: any(frame.keyframe for frame in bob.frames[watched][shown:]))
        shown = len(bob.frames[watched])
        bob.until(lambda: len(bob.frames[watched]) > shown + 5)
    assert set(alice.asked[before:]) == {KeyframeRequest(published["mid"], "")}
    drops = room.drops["alice"]
    assert drops["tunnel_gap"] == 1
    assert drops["waiting_for_keyframe"] >= 1
    numbers = PictureDecoder("VP8").numbers(*(frame.payload for frame in bob.frames[watched]))
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 0


def test_layers_of_a_page_are_chosen_among(room: rtclab.Room) -> None:
    alice, bob = page(room, "alice"), page(room, "bob")
    alice.open()
    bob.open()
    mid, _ = alice.publish(rids=("q", "h"))
    with Camera(alice, mid, width=160, rid="q"), Camera(alice, mid, width=320, rid="h"):
        track = bob.track_of("alice")
        watched = bob.watch(track)
        bob.until(lambda: any(frame.width == 320 for frame in bob.frames[watched]))
        assert bob.frames[watched][-1].rid == "h"

        async def pick() -> None:
            bob.carrier.send_to_room({"type": "layer", "id": 99, "track": track, "rid": "q"})

        get_engine().run(pick())
        bob.until(lambda: bob.frames[watched][-1].width == 160)
        decoder = PictureDecoder("VP8")
        assert -1 not in decoder.numbers(*(frame.payload for frame in bob.frames[watched]))
        assert {frame.rid for frame in bob.frames[watched]} == {"q", "h"}


def test_a_page_without_webcodecs_gets_images(room: rtclab.Room) -> None:
    alice, bob, carol = (page(room, name) for name in ("alice", "bob", "carol"))
    alice.open()
    mid, _ = alice.publish()
    for one in (bob, carol):
        opened = one.open(decode="images")
        assert opened["open"]
        assert "without sound" in opened["reason"]
    with Camera(alice, mid) as camera:
        seen = [one.watch(one.track_of("alice")) for one in (bob, carol)]
        for one, watched in zip((bob, carol), seen, strict=True):
            frames = some_frames(one, watched, 9)
            assert all(frame.jpeg and (frame.width, frame.height) == (160, 90) for frame in frames)
            codes = [read_frame_code(np.asarray(Image.open(io.BytesIO(frame.payload)))) for frame in frames]
            numbers = [code.frame for code in codes if code is not None]
            assert len(numbers) == len(frames)
            assert numbers == sorted(set(numbers))
        bob.acknowledges = False  # what is not taken is not sent
        shown = len(carol.frames[seen[1]])
        carol.until(lambda: len(carol.frames[seen[1]]) > shown + 8)
        assert room.drops["bob"]["tunnel_behind"] > 3
        assert camera.sent > 20
        (maker,) = [room._server.tunnels._stills]
        assert maker is not None
        assert len(maker._watched) == 1  # once for both
    bob.close()
    carol.close()


# -- what is refused --------------------------------------------------------------------------------------


def test_a_room_may_forbid_it() -> None:
    with rtclab.Room(transport="webrtc") as room:
        alice = TunnelPage(room, "alice")
        assert alice.join()["transport"] == "webrtc"
        refused = alice.open()
        assert (refused["type"], refused["code"]) == ("error", "not_allowed")
        assert "webrtc" in refused["message"]
    with rtclab.Room(transport="websocket") as room:
        assert TunnelPage(room, "alice").join()["transport"] == "websocket"
    with pytest.raises(ValueError, match="transport"):
        rtclab.Room(transport="pigeons")


def test_another_codec_is_refused_with_a_sentence() -> None:
    with rtclab.Room(video_codecs=("VP9", "VP8")) as room:
        alice = page(room, "alice")
        alice.publish(codecs=("VP9",))
        refused = alice.open()
        assert (refused["type"], refused["code"]) == ("error", "no_codec")
        assert "VP9" in refused["message"]
        bob = page(room, "bob")
        bob.open()
        watched = bob.watch(bob.track_of("alice"))
        told = bob.until(lambda: [m for m in bob.messages if m["type"] == "consumer"])[-1]
        assert told["reason"] == "codec_not_supported"
        _, answered = bob.publish(codecs=("VP9", "VP8"))
        assert answered["codec"] == "VP8"
        assert not bob.frames[watched]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.builds(lambda kind, rest: bytes((kind,)) + rest, st.integers(1, 3), st.binary(max_size=60)),
            st.builds(
                lambda mid, rid, payload, audio, key: Frame(0, 2**63, mid, rid, payload, key, audio),
                st.sampled_from(["0", "1", "2", "nobody"]),
                st.sampled_from(["", "q"]),
                st.binary(min_size=1, max_size=60),
                st.booleans(),
                st.booleans(),
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_nonsense_is_counted_and_hurts_nobody(hall: Hall, messages: list[bytes | Frame]) -> None:
    hall.stranger.open()  # numbers begin anew
    numbers = itertools.count(1)
    hall.stranger.send_media(
        *(one if isinstance(one, bytes) else one._replace(number=next(numbers)).encode() for one in messages)
    )
    shown = len(hall.bob.frames[hall.watched])
    hall.bob.until(lambda: len(hall.bob.frames[hall.watched]) > shown)


def test_nonsense_has_reasons(hall: Hall) -> None:
    hall.stranger.open()
    frame = Frame(1, 1, "9", "", b"x").encode()
    hall.stranger.send_media(b"", b"\x07\x00", frame, Frame(2, 1, "0", "", b"x", audio=True).encode())
    hall.stranger.send_media(Frame(3, 1, "0", "", b"").encode(), KeyframeRequest("7").encode())
    wanted = {"bad_media", "unknown_mid"}
    hall.stranger.ask("ping")
    drops = hall.room.drops["stranger"]
    assert wanted <= set(drops)
    assert drops["bad_media"] >= 4
    assert drops["unknown_mid"] >= 2


class Hall(NamedTuple):
    """A room in which Alice's pictures reach Bob, and somebody who may send anything."""

    room: rtclab.Room
    bob: TunnelPage
    watched: str
    stranger: TunnelPage


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    with rtclab.Room() as room:
        alice, bob, stranger = (page(room, name) for name in ("alice", "bob", "stranger"))
        for one in (alice, bob, stranger):
            one.open()
        stranger.publish()
        stranger.publish("audio", ("opus",))
        mid, _ = alice.publish()
        with Camera(alice, mid):
            watched = bob.watch(bob.track_of("alice"))
            bob.until(lambda: bob.frames[watched])
            stranger.watch(stranger.track_of("alice"))
            yield Hall(room, bob, watched, stranger)
