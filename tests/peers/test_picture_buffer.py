"""Pictures begin with a keyframe, and go on after a loss that nobody makes good with the next one; else it is
aiortc's buffer."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from aiortc.codecs import depayload
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from rtclab.peers.picture_buffer import ASK_S, CAPACITY, PATIENCE_S, SETTLE_S, PictureBuffer
from rtclab.rtp.frames import packetize

CODECS = {
    96: RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=96),
    102: RTCRtpCodecParameters(mimeType="video/H264", clockRate=90000, payloadType=102),
}
BODY = b"\x55" * 2000
FRAMES = {  # a keyframe and another
    96: (b"\0\0\0\x9d\x01\x2a\x40\x01\xb4\0" + BODY, b"\x01" + BODY),
    102: (b"\0\0\0\x01\x67\x42\0\0\0\x01\x68\x42\0\0\0\x01\x65" + BODY, b"\0\0\0\x01\x41" + BODY),
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def stream(
    count: int, keyframes: set[int], payload_type: int = 96, first: int = 65500, packets: bool = True
) -> list[list[RtpPacket]]:
    """The packets of each of some pictures; only one each if not `packets`."""
    pictures: list[list[RtpPacket]] = []
    number = first
    for picture in range(count):
        frame = FRAMES[payload_type][picture not in keyframes]
        made = []
        for payload in packetize(CODECS[payload_type].name, frame, picture)[: None if packets else 1]:
            packet = RtpPacket(payload_type, 0, number & 0xFFFF, 3000 * picture, 1, payload)
            packet._data = depayload(CODECS[payload_type], payload)  # type: ignore[attr-defined]
            made.append(packet)
            number += 1
        pictures.append(made)
    return pictures


def pushed(buffer: JitterBuffer, *pictures: list[RtpPacket]) -> list[int]:
    """The pictures that come out."""
    found = [buffer.add(packet)[1] for packet in chain(*pictures)]
    return [frame.timestamp // 3000 for frame in found if frame is not None]


@given(st.randoms(use_true_random=False), st.integers(0, 6))
def test_what_is_not_lost_comes_as_from_aiortc(randoms: random.Random, shift: int) -> None:
    packets = [*chain(*stream(60, {0, 20}))]
    places = {
        id(packet): place + randoms.randint(0, shift) * (place > 0) for place, packet in enumerate(packets)
    }
    packets.sort(key=lambda packet: places[id(packet)])
    stock, ours = JitterBuffer(CAPACITY, is_video=True), PictureBuffer(CODECS, Clock())
    for packet in packets:
        (asks, picture), (ours_asks, our_picture) = stock.add(packet), ours.add(packet)
        assert asks == ours_asks
        assert (picture and picture.timestamp) == (our_picture and our_picture.timestamp)
        assert (picture and picture.data) == (our_picture and our_picture.data)


@pytest.mark.parametrize("payload_type", CODECS)
def test_a_loss_costs_the_pictures_until_the_next_keyframe(payload_type: int) -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(100, {0, 80}, payload_type)
    del pictures[20][1]
    assert pushed(buffer, *pictures[:22]) == list(range(20))
    clock.now += PATIENCE_S - 0.01
    assert buffer.add(pictures[22][0]) == (False, None)
    clock.now += 0.01
    assert buffer.add(pictures[22][1]) == (True, None)
    assert not any(buffer.add(packet)[0] for packet in chain(*pictures[23:40])), "it was asked for already"
    clock.now += ASK_S
    assert buffer.add(pictures[40][0]) == (True, None)
    assert pushed(buffer, *pictures[40:]) == list(range(80, 99))


def test_what_comes_in_time_is_not_given_up() -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(30, {0, 25})
    late = pictures[10].pop()
    assert pushed(buffer, *pictures[:20]) == list(range(10))
    clock.now += PATIENCE_S / 2
    assert pushed(buffer, [late]) == [10]
    clock.now += PATIENCE_S
    assert not buffer.add(pictures[20][0])[0]


def test_each_hole_has_its_own_time() -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(40, {0}, packets=False)
    late = [pictures[number].pop() for number in (10, 12, 14)]
    pushed(buffer, *pictures[:20])
    for packet in late:
        clock.now += PATIENCE_S * 0.9
        assert not buffer.add(packet)[0]
    assert not buffer.add(pictures[20][0])[0]


def test_a_keyframe_that_is_there_already_is_next() -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(40, {0, 20, 30}, packets=False)
    del pictures[10][0]
    pushed(buffer, *pictures[:35])
    clock.now += PATIENCE_S
    assert pushed(buffer, *pictures[35:]) == list(range(30, 35)), "one a packet, as aiortc has it"


def test_a_stream_that_begins_anew_does() -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pushed(buffer, *stream(20, {0}, first=5000))
    clock.now += 10
    assert pushed(buffer, *stream(20, {0}, first=1000)) == list(range(19))
    assert pushed(buffer, *stream(20, {0}, first=9000)) == list(range(19))


def test_what_is_no_picture_is_no_keyframe() -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(20, {0, 15}, packets=False)
    del pictures[5][0]
    pictures[15][0].payload = b"\x90"
    pictures[16][0].payload = b""
    pictures[17][0].payload_type = 111
    pushed(buffer, *pictures[:10])
    clock.now += PATIENCE_S
    assert pushed(buffer, *pictures[10:]) == []


@pytest.mark.parametrize("payload_type", CODECS)
def test_the_first_picture_is_a_keyframe_and_whole(payload_type: int) -> None:
    clock = Clock()
    buffer = PictureBuffer(CODECS, clock)
    pictures = stream(40, {0, 20}, payload_type)
    del pictures[0][0]
    assert not any(buffer.add(packet)[0] for packet in chain(*pictures[:5])), "it may be on its way"
    clock.now += SETTLE_S
    asked = [buffer.add(packet)[0] for packet in chain(*pictures[5:20])]
    assert asked == [True] + [False] * (len(asked) - 1)
    assert pushed(buffer, *pictures[20:]) == list(range(20, 39))


def test_a_first_packet_that_was_overtaken() -> None:
    for order in ((1, 0, 2), (2, 1, 0), (1, 2, 0)):
        buffer = PictureBuffer(CODECS, Clock())
        pictures = stream(10, {0}, first=65535)
        packets = [*chain(*pictures)]
        packets[:3] = [packets[place] for place in order]
        assert pushed(buffer, packets) == list(range(9))


def test_another_stream_begins_with_a_keyframe_too() -> None:
    buffer = PictureBuffer(CODECS, Clock())
    pushed(buffer, *stream(20, {0}, first=5000))
    other = stream(20, {0, 10}, first=1000)
    del other[0][0]
    assert buffer.add(other[0][0]) == (True, None)
    assert pushed(buffer, other[0][1:], *other[1:]) == list(range(10, 19))
