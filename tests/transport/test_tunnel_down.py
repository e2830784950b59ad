"""What a tunnel cannot pass on to its page is counted, and pictures go on with a keyframe."""

from __future__ import annotations

from rtclab.rtp.assembly import MOST_PACKETS, PATIENCE_S
from rtclab.rtp.drops import Drop, Drops
from rtclab.rtp.frames import packetize
from rtclab.rtp.packet import build_rtp, parse_rtp
from rtclab.transport.tunnel_down import Depacketizer
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
