"""What one viewer gets of one producer: its row in the fan-out, its choice of layer, its feedback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..rtp.drops import Drop, Drops
from ..rtp.rtcp import ReportBlock
from .columns import HISTORY, NOWHERE, Continuation, Header
from .layers import Choice, Layer, LayerSelector, Reason
from .producer import Producer

SAMPLE_S = 1.0
MAX_RESENDS = 3
MAX_NACKED = 256  # packets of one NACK that are looked for: who lost more needs a keyframe
RESEND_MEMORY = HISTORY


Choose: TypeAlias = "Callable[[Consumer, list[Layer]], Choice]"


def _as_asked(consumer: Consumer, layers: list[Layer]) -> Choice:
    return consumer.selector.choose(layers)


class Consumer:
    """One viewer of one track.

    A consumer belongs to an m-line of its client and keeps its SSRC for as long as that lives: pointed
    at another producer it goes on with the next numbers, so the receiver sees one stream that never
    breaks.

    Parameters
    ----------
    client_id : str
        Whose it is.
    mid : str
        The client's m-line.
    header : Header
        The viewer's own header bytes.
    path : int
        The client's row in the path table.
    """

    def __init__(self, client_id: str, mid: str, header: Header, path: int) -> None:
        self.client_id = client_id
        self.mid = mid
        self.header = header
        self.path = path
        self.producer: Producer | None = None
        self.row: int | None = None
        self.selector = LayerSelector()
        self.wanted: int | None = None  # the stream it would get if its publisher sent all
        self.reason: Reason | None = None
        self.temporal: int | None = None  # the highest temporal layer forwarded; None for all
        self.supported = True
        self.drops = Drops()
        self.rtt_s: float | None = None
        self.loss_fraction: float | None = None
        self.packets_lost = 0
        self.jitter_s: float | None = None
        self.estimate_bps: int | None = None
        self.nacks = 0
        self.plis = 0
        self.bitrate_bps = 0.0
        self.told: tuple[object, ...] = ()  # what its client knows of it
        self._continuation: Continuation | None = None
        self._elsewhere: Continuation | None = None  # of the other way, see `move`
        self._moved = False  # and got nothing by the way it uses now
        self._sent_before = 0, 0  # packets and bytes of its SSRC, of producers it had before
        self._resent: dict[int, tuple[float, int]] = {}
        self._sampled: tuple[float, int] | None = None
        self._settled: tuple[list[Layer], tuple[object, ...]] | None = None

    def attach(self, producer: Producer, header: Header) -> None:
        """Point this consumer at a producer."""
        self.detach()
        self.producer = producer
        self.header = header
        self.row = producer.fanout.add(self.path, header, self._continuation, self._sent_before)
        producer.fanout.limit_temporal(self.row, self.temporal)

    def detach(self) -> None:
        """Get nothing more, and remember the numbers to go on from."""
        if self.producer is not None and self.row is not None:
            self._sent_before = self.sent
            self._continuation = self.producer.fanout.remove(self.row)
        self.producer = None
        self.row = None
        self.reason = None
        self.wanted = None
        self._settled = None
        self._resent.clear()

    def move(self, path: int) -> None:
        """Get it by the other of two ways, from the next keyframe on.

        Each way has numbers of its own: SRTP takes no jump (RFC 3711 section 3.3.1) after a long absence.
        """
        producer, header = self.producer, self.header
        self.detach()
        self._continuation, self._elsewhere = self._elsewhere, self._continuation
        self.path = path
        self.selector.bitrate = None  # it was the other way's
        if producer is not None:
            self.attach(producer, header)
        self._moved = True

    def limit_temporal(self, temporal: int | None) -> None:
        """Have temporal layers up to `temporal` only (None: all)."""
        self.temporal = temporal
        if self.producer is not None and self.row is not None:
            self.producer.fanout.limit_temporal(self.row, temporal)

    @property
    def current_rid(self) -> str | None:
        """The rid that is forwarded now; None for nothing or for a track without simulcast."""
        return self._rid("current")

    @property
    def target_rid(self) -> str | None:
        """The rid that shall be forwarded from its next keyframe on."""
        return self._rid("target")

    def _rid(self, column: str) -> str | None:
        if self.producer is None or self.row is None:
            return None
        index = int(getattr(self.producer.fanout, column)[self.row])
        return self.producer.streams[index].rid if index >= 0 else None

    @property
    def layer_count(self) -> int:
        """How many streams its track has; 0 without a track."""
        return len(self.producer.streams) if self.producer is not None else 0

    @property
    def highest_temporal(self) -> int:
        """The highest temporal layer of the stream it gets now; 0 where there is only one."""
        if self.producer is None or self.row is None:
            return 0
        index = int(self.producer.fanout.current[self.row])
        return self.producer.streams[index].highest_temporal if index >= 0 else 0

    @property
    def sent(self) -> tuple[int, int]:
        """Packets and bytes sent on its SSRC so far."""
        packets, octets = self._sent_before
        if self.producer is not None and self.row is not None:
            packets += int(self.producer.fanout.packets[self.row])
            octets += int(self.producer.fanout.octets[self.row])
        return packets, octets

    def flowing(self) -> bool:
        """Whether a stream is forwarded now."""
        return (
            self.producer is not None and self.row is not None and self.producer.fanout.current[self.row] >= 0
        )

    def settled(self, now: float) -> bool:
        """Whether it gets what was chosen, and nothing has changed that the choice depends on."""
        if self._settled is None or self.producer is None or self.row is None:
            return False
        layers, asked = self._settled
        fanout = self.producer.fanout
        return bool(
            layers is self.producer.layers(now)
            and asked == self._asked(self.producer)
            and fanout.current[self.row] == fanout.target[self.row]
        )

    def _asked(self, producer: Producer) -> tuple[object, ...]:
        """What the choice depends on besides the layers."""
        selector = self.selector
        return (
            producer.muted,
            self.supported,
            selector.picked,
            selector.view_height,
            selector.visible,
            selector.picked_temporal,
            selector.cap,
            selector.temporal_cap,
            selector.bitrate,
        )

    def decide(self, now: float, choose: Choose = _as_asked) -> int | None:
        """Choose a layer; returns the stream to ask a keyframe of, or None.

        Parameters
        ----------
        now : float
            Seconds.
        choose : callable
            The architecture's word on what this viewer gets of some layers.
        """
        self._settled = None
        producer, row = self.producer, self.row
        if producer is None or row is None:
            return None
        if not self.supported:
            self.reason = Reason.CODEC_NOT_SUPPORTED
            self.wanted = None
            if producer.fanout.target[row] != NOWHERE:
                producer.fanout.pause(row)
            return None
        layers = producer.layers(now)
        choice = choose(self, layers)
        self.wanted = choose(self, producer.possible_layers).index
        fanout = producer.fanout
        if choice.pause:
            self.reason = choice.reason
            if fanout.target[row] != NOWHERE:
                fanout.pause(row)
            self._settled = layers, self._asked(producer)
            return None
        if choice.temporal != self.temporal:
            self.limit_temporal(choice.temporal)
        self.reason = Reason.MUTED if producer.muted else choice.reason
        if choice.index is None:
            return None
        if fanout.target[row] != choice.index:
            fanout.aim(row, choice.index, now, replay=not self._moved)
        if fanout.current[row] == choice.index:
            self._moved = False
            self._settled = layers, self._asked(producer)
            return None
        if not producer.muted and not self.flowing():
            self.reason = Reason.WAITING_FOR_KEYFRAME
        return choice.index

    def report(self, block: ReportBlock, now_ntp_middle: int, now: float) -> None:
        """Take a report block of the viewer about what it got (RFC 3550 section 6.4.1)."""
        if self.producer is None:
            return
        self.loss_fraction = block.fraction_lost / 256
        self.packets_lost = block.lost
        self.jitter_s = block.jitter / self.producer.clock_rate
        if block.lsr:
            rtt = (now_ntp_middle - block.lsr - block.dlsr) & 0xFFFFFFFF
            if rtt < 0x80000000:
                self.rtt_s = rtt / 65536
        self.selector.loss(self.loss_fraction, self.layer_count, self.highest_temporal, now)

    def resend(self, sequences: tuple[int, ...], now: float) -> None:
        """Answer a NACK; what is not resent is counted with its reason."""
        self.nacks += len(sequences)
        producer, row = self.producer, self.row
        if producer is None or row is None or self.header.rtx_payload_type is None:
            self.drops.add(Drop.RTX_UNKNOWN, len(sequences))
            return
        wanted = []
        for sequence in dict.fromkeys(sequences[:MAX_NACKED]):
            when, times = self._resent.get(sequence, (-1e9, 0))
            if now - when < min(self.rtt_s or 0.05, 0.2):
                self.drops.add(Drop.RTX_TOO_SOON)
            elif times >= MAX_RESENDS:
                self.drops.add(Drop.RTX_TOO_OFTEN)
            else:
                wanted.append(sequence)
        if len(sequences) > MAX_NACKED:
            self.drops.add(Drop.RTX_TOO_OFTEN, len(sequences) - MAX_NACKED)
        stored = producer.fanout.find(row, wanted)
        for sequence in wanted:
            found = stored.get(sequence)
            if found is None:
                self.drops.add(Drop.RTX_TOO_OLD)
                continue
            _, times = self._resent.pop(sequence, (0.0, 0))
            self._resent[sequence] = now, times + 1
            if len(self._resent) > RESEND_MEMORY:
                del self._resent[next(iter(self._resent))]
            producer.fanout.retransmit(row, sequence, found, now)

    def sample(self, now: float) -> None:
        """Update `bitrate_bps` once a second from what was sent in it."""
        if self._sampled is not None and now - self._sampled[0] < SAMPLE_S:
            return
        octets = self.sent[1]
        if self._sampled is not None:
            self.bitrate_bps = (octets - self._sampled[1]) * 8 / (now - self._sampled[0])
        self._sampled = now, octets
