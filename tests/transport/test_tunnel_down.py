"""What a tunnel cannot pass on to its page is counted, and pictures go on with a keyframe."""

from __future__ import annotations

import random
from collections.abc import Mapping

from rtclab.jupyter.protocol import MAX_FRAME
from rtclab.rtp import rtcp
from rtclab.rtp.assembly import MOST_PACKETS, PATIENCE_S
from rtclab.rtp.drops import Drop, Drops
from rtclab.rtp.frames import packetize
from rtclab.rtp.packet import build_rtp, parse_rtp
from rtclab.transport.paths import PathTable
from rtclab.transport.tunnel import ASK_AGAIN_S, TunnelTransport
from rtclab.transport.tunnel_down import Depacketizer
from rtclab.transport.tunnel_format import MAX_MEDIA, Ack, Frame, parse
from rtclab.transport.tunnel_up import Line

VIDEO = Line("0", "video", "VP8", 90_000)
KEYFRAME, DELTA = b"\0\0\0\x9d\x01\x2a\x80\x02\x68\x01", b"\1\0\0"
PICTURE = 3000  # bytes: some packets


class Stream:
    """Pictures of a room, some packets of which may be lost on the way to a tunnel's end."""

    def __init__(self) -> None:
        self.drops = Drops()
        self.end = Depacketizer("VP8", 90_000, self.drops)
        self.sequence = self.pictures = 0
        self.got: list[int] = []

    def send(self, keyframe: bool = False, size: int = PICTURE, lost: int = -1, now: float = 0.0) -> None:
        """Send the next picture without its packet number `lost`."""
        self.pictures += 1
        payloads = packetize("VP8", (KEYFRAME if keyframe else DELTA) + bytes(size), self.pictures)
        for place, payload in enumerate(payloads):
            if place != lost:
                self.take(payload, place == len(payloads) - 1, now)
            self.sequence += 1

    def take(self, payload: bytes, marker: bool, now: float) -> None:
        """Give a packet to the tunnel's end."""
        data = build_rtp(96, self.sequence, self.pictures, 1, payload, marker=marker)
        packet = parse_rtp(data, len(data))
        self.got += [timestamp for timestamp, _ in self.end.frames(packet, payload, VIDEO, now)]


def test_a_picture_with_a_hole_is_counted_when_it_is_given_up() -> None:
    stream = Stream()
    stream.send(keyframe=True)
    stream.send(lost=1)
    stream.send(now=0.1)
    assert not stream.drops, "the packet may still come"
    stream.send(now=0.1 + PATIENCE_S)
    assert stream.drops == {Drop.INCOMPLETE: 1}
    stream.send(keyframe=True)
    stream.send()
    assert stream.got == [1, 5, 6]
    assert stream.drops == {Drop.INCOMPLETE: 1}


def test_a_picture_that_a_keyframe_overtakes_is_counted() -> None:
    stream = Stream()
    stream.send(keyframe=True)
    stream.send(lost=0)
    stream.send(keyframe=True)
    assert stream.got == [1, 3]
    assert stream.drops == {Drop.INCOMPLETE: 1}


def test_a_picture_of_too_many_packets_is_counted() -> None:
    stream = Stream()
    stream.send(keyframe=True)
    stream.send(size=1100 * (MOST_PACKETS + 100))
    stream.send(keyframe=True)
    assert stream.got == [1, 3]
    assert stream.drops == {Drop.INCOMPLETE: 1}


def test_a_picture_that_makes_no_sense_is_counted_once() -> None:
    stream = Stream()
    stream.send(keyframe=True)
    stream.end.codec = "none"  # its packets are complete, and no picture
    stream.send(size=10)
    stream.end.codec = "VP8"
    stream.send(keyframe=True)
    assert stream.got == [1, 3]
    assert stream.drops == {Drop.BAD_PAYLOAD: 1}


class Page:
    """A page at the end of a tunnel, which takes in everything at once; its carrier and its m-line."""

    unsent = 0
    extension_ids: Mapping[str, int] = {}

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[float] = []
        self.frames: list[Frame] = []
        self.tunnel = TunnelTransport(PathTable(), self, self, lambda: self.now, random.Random(1))
        self.tunnel.on_rtcp = self.hear
        self.sequence = 0

    def incoming(self, mid: str) -> Line | None:
        return None

    def outgoing(self, ssrc: int) -> Line | None:
        return VIDEO

    def ssrc(self, mid: str) -> int | None:
        return None

    def report(self, ssrc: int, now: float) -> bytes:
        return b""

    def send_media(self, data: bytes) -> None:
        assert len(data) <= MAX_FRAME, "the carrier is cut"
        message = parse(data)
        assert isinstance(message, Frame)
        self.frames.append(message)
        self.tunnel.receive(Ack(message.number).encode())

    def hear(self, data: memoryview, length: int, now: float) -> None:
        if any(isinstance(packet, rtcp.Pli) for packet in rtcp.parse_rtcp(bytes(data[:length]))):
            self.asked.append(now)

    def send(self, keyframe: bool = False, size: int = PICTURE) -> None:
        """Let the room send a picture."""
        self.now += 0.1
        payloads = packetize("VP8", (KEYFRAME if keyframe else DELTA) + bytes(size), 1)
        for place, payload in enumerate(payloads, 1):
            self.sequence += 1
            marker = place == len(payloads)
            time = int(self.now * 90_000)
            self.tunnel._deliver([build_rtp(96, self.sequence, time, 1, payload, marker=marker)])
        self.tunnel.tick(self.now)


def test_a_picture_too_long_for_the_carrier_is_left_out_up_to_a_keyframe() -> None:
    page = Page()
    page.send(keyframe=True)
    page.send(size=MAX_MEDIA)
    page.send()
    assert page.tunnel.drops == {Drop.TOO_LONG: 1, Drop.WAITING_FOR_KEYFRAME: 1}
    page.now += ASK_AGAIN_S
    page.tunnel.tick(page.now)
    assert len(page.asked) == 1
    page.send(keyframe=True, size=MAX_MEDIA)
    page.send()
    assert len(page.asked) == 1, "the next would be as long"
    page.send(keyframe=True)
    page.send()
    assert [(frame.number, frame.keyframe) for frame in page.frames] == [(1, True), (2, True), (3, False)]
    assert page.tunnel.frames_sent == 3
    assert page.tunnel.drops == {Drop.TOO_LONG: 2, Drop.WAITING_FOR_KEYFRAME: 2}


def test_an_image_too_long_for_the_carrier_is_left_out() -> None:
    page = Page()
    for size in (MAX_MEDIA, 10):
        page.tunnel.send_picture("0", "", bytes(size), 640, 360, 0)
    assert [len(frame.payload) for frame in page.frames] == [10]
    assert page.tunnel.drops == {Drop.TOO_LONG: 1}
