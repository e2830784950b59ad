"""A mixer's tracks in the terms of the router: what comes in from participants, and what the room makes."""

from __future__ import annotations

from collections.abc import Sequence

from ..mixing.inputs import mixable
from ..rtp.assembly import Fragment
from .architecture import Output
from .producer import Producer
from .router import Router
from .store import Packet
from .stream import Stream

CNAME = "rtclab-room"


class Source:
    """A participant's track on its way into the mix.

    Attributes
    ----------
    mixable : bool
        Whether it can be decoded.
    ideal : int
        Index of the stream that fills its rectangle.
    stream : Stream or None
        The one that the mixer takes now.
    """

    def __init__(self, producer: Producer, owner: str) -> None:
        self.producer = producer
        self.owner = owner
        self.mixable = mixable(producer.kind, producer.codec)
        self.ideal = 0
        self.stream: Stream | None = None

    def choose(self, height: int, now: float) -> Stream:
        """The stream to take for a picture of `height` pixels: the smallest that is high enough, of those
        that flow."""
        layers = self.producer.layers(now)
        fitting = [layer.index for layer in layers if (layer.height or 0) >= height]
        self.ideal = fitting[0] if fitting else layers[-1].index
        alive = [layer.index for layer in layers if layer.alive]
        return self.producer.streams[self.ideal if self.ideal in alive or not alive else alive[-1]]


class Mixed:
    """A track that the room makes, for everyone or for one listener."""

    def __init__(self, router: Router, id: str, kind: str, listener: str | None = None) -> None:
        self.router = router
        codec, clock, number = ("VP8", 90_000, 96) if kind == "video" else ("opus", 48_000, 111)
        self.producer = Producer(id, kind, codec, clock, number, None, (), router.batch)
        self.producer.cname = CNAME  # one for all: sound and picture are played together
        self.output = Output(id, self.producer, listener)
        self._sequence = 0
        router.add_output(self.producer)

    @property
    def watched(self) -> bool:
        """Whether anybody receives it."""
        return len(self.producer.fanout) > 0

    def emit(self, payloads: Sequence[bytes], timestamp: int, now: float) -> None:
        """Send one frame; the last packet of a picture is marked."""
        first, self._sequence = self._sequence, self._sequence + len(payloads)
        marked = self._sequence - 1 if self.producer.kind == "video" else None
        packets = [
            (sequence, timestamp, sequence == marked, payload)
            for sequence, payload in enumerate(payloads, first)
        ]
        self.router.emit(self.producer, packets, now)

    def report(self, timestamp: int, now: float) -> None:
        """Note which RTP time it is `now`, for the sender reports."""
        self.producer.streams[0].reception.sender_report(self.router.ntp(now), timestamp & 0xFFFFFFFF, now)

    def close(self) -> None:
        """End it."""
        self.router.remove_output(self.producer)


def fragments(stream: Stream, packets: list[Packet]) -> list[Fragment]:
    """Copies of packets, as the mixer takes them."""
    data = stream.store.data
    return [
        Fragment(
            packet.sequence,
            packet.timestamp,
            packet.marker,
            packet.info.keyframe and packet.info.start,
            data[packet.slot, : packet.length].tobytes(),
        )
        for packet in packets
    ]
