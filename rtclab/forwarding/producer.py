"""A track that a client sends into the room: its streams (one for each layer) and its viewers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..transport.batch import SendBatch
from .fanout import Fanout
from .layers import Layer, Reason
from .sender_reports import SenderReports
from .store import Packet
from .stream import Stream


@dataclass(frozen=True)
class Upstream:
    """Which streams (by index) a publisher shall send of a track, why not all of them, and how many bit/s at
    most (None: as it likes)."""

    streams: frozenset[int]
    reason: Reason | None = None
    bitrate: int | None = None


class Producer:
    """One published track.

    Parameters
    ----------
    id : str
        Track id, unique in the room.
    kind : str
        ``"audio"`` or ``"video"``.
    codec : str
        Encoding name, for instance ``"VP8"``.
    clock_rate : int
        Hz.
    payload_type, rtx_payload_type : int or None
        As negotiated with the publisher.
    rids : tuple of str
        Simulcast streams in the order of the offer, lowest first; empty without simulcast.
    batch : SendBatch
        The way out for its viewers.
    """

    def __init__(
        self,
        id: str,  # the word of the wire
        kind: str,
        codec: str,
        clock_rate: int,
        payload_type: int,
        rtx_payload_type: int | None,
        rids: tuple[str, ...],
        batch: SendBatch,
    ) -> None:
        self.id = id
        self.kind = kind
        self.codec = codec
        self.clock_rate = clock_rate
        self.payload_type = payload_type
        self.rtx_payload_type = rtx_payload_type
        self.source = ""  # what its publisher says it is: "camera", "screen", ...
        self.muted = False
        self.closed = False
        self.cname = ""
        self.streams = [
            Stream(index, rid, codec, clock_rate, kind) for index, rid in enumerate(rids or (None,))
        ]
        self.fanout = Fanout(batch, self.streams)
        self._reports = SenderReports(self.fanout)
        self.pending: list[tuple[Stream, Packet]] = []
        self.news = False  # whether a stream has begun since its viewers were decided on
        self.tap: Callable[[Stream, list[Packet], float], None] | None = None  # also gets what comes
        # the same, for who decodes it for a few viewers
        self.onlooker: Callable[[Stream, list[Packet], float], None] | None = None
        # of a track that the room makes itself: a viewer needs a keyframe
        self.on_keyframe_wanted: Callable[[float], None] | None = None
        self.everything = Upstream(frozenset(range(len(self.streams))))
        self.upstream = self.everything  # what its publisher was told to send
        self.enough: tuple[Upstream, float] | None = None  # less would do, and since when
        self._layers: list[Layer] = []
        self.possible_layers: list[Layer] = []  # the same as if all were sent, and whole
        self._layers_at: float | None = None
        # what to add to the publisher's NTP clock to have the room's, once its sender reports tell
        self.clock_offset: Callable[[], int | None] = lambda: None

    def by_rid(self, rid: str | None) -> Stream | None:
        """The stream of a rid; without simulcast the only one."""
        if len(self.streams) == 1 and self.streams[0].rid is None:
            return self.streams[0]
        return next((stream for stream in self.streams if stream.rid == rid), None)

    def bind(self, stream: Stream, ssrc: int, now: float) -> Stream:
        """Note the SSRC of a stream; another than before makes it a new stream in the same place."""
        if stream.ssrc is not None and stream.ssrc != ssrc:
            self.forward(now)
            stream = self._renew(stream)
        stream.ssrc = ssrc
        return stream

    def start_over(self, now: float) -> None:
        """Its publisher sends it by another way from now on: each stream will come with another SSRC."""
        self.forward(now)
        for stream in list(self.streams):
            self._renew(stream)

    def _renew(self, stream: Stream) -> Stream:
        """A new stream in the same place."""
        stream = Stream(stream.index, stream.rid, self.codec, self.clock_rate, self.kind)
        self.streams[stream.index] = stream
        self.fanout.restart(stream.index)
        return stream

    def begin_anew(self, stream: Stream, now: float) -> None:
        """The source of a stream has jumped to other numbers, so its viewers wait for a keyframe."""
        self.forward(now)
        self.fanout.restart(stream.index)

    def by_size(self) -> list[Stream]:
        """Its streams from the smallest whole picture to the largest; as offered while a size is unknown."""
        sizes = [stream.whole[0] * stream.whole[1] for stream in self.streams]
        if not all(sizes):
            return list(self.streams)
        return sorted(self.streams, key=lambda stream: (sizes[stream.index], stream.index))

    def layers(self, now: float) -> list[Layer]:
        """Its streams as a layer selector sees them, made once for all the viewers asked about at `now`.

        It is the same list for as long as nothing about it changes.
        """
        if self._layers_at != now or self.pending:  # what has just come may change them
            self._layers_at = now
            layers = [
                Layer(stream.index, stream.rid, stream.height, stream.alive(now)) for stream in self.by_size()
            ]
            if layers != self._layers:
                self._layers = layers
                self.possible_layers = [
                    replace(layer, alive=True, height=self.streams[layer.index].whole[1] or None)
                    for layer in layers
                ]
        return self._layers

    def forward(self, now: float) -> None:
        """Send everything that is pending to the viewers."""
        pending, self.pending = self.pending, []
        start = 0
        while start < len(pending):
            stream = pending[start][0]
            end = start + 1
            while end < len(pending) and pending[end][0] is stream:
                end += 1
            packets = [packet for _, packet in pending[start:end]]
            if self.tap is not None:
                self.tap(stream, packets, now)
            if self.onlooker is not None:
                self.onlooker(stream, packets, now)
            self.fanout.forward(stream, packets, now)
            start = end

    def report(self, turn: int, ntp: int, now: float) -> None:
        """Send sender reports; see `SenderReports.send`."""
        self._reports.send(turn, ntp, lambda stream: self.rtp_at(stream, ntp, now), self.cname)

    def rtp_at(self, stream: Stream, ntp: int, now: float) -> int:
        """The RTP time of a stream at `now`, which is the room's NTP time `ntp`."""
        offset = self.clock_offset()
        rtp = stream.reception.rtp_at(ntp - offset) if offset is not None else None
        if rtp is None:
            rtp = stream.last_timestamp + int((now - stream.last_arrival) * stream.clock_rate)
        return rtp

    def __repr__(self) -> str:
        return f"<Producer {self.id} {self.codec} {len(self.streams)} streams {len(self.fanout)} viewers>"
