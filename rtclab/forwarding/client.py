"""One client's media as the room sees it: RTP and RTCP in, feedback and reports out.

RTCP is terminated here and never relayed (RFC 7667 section 3.7): the room reports to a publisher what
the room received of each SSRC, and to a viewer what the room sent it, with the publisher's clock mapped
so that sound and picture stay together. Packets find their stream by SSRC, and an unknown SSRC by its
mid and rid header extensions (RFC 9143 section 9.2), which publishers send until they are acknowledged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

from ..rtp import extensions, rtcp
from ..rtp.drops import Drop, Drops
from ..rtp.packet import MalformedRtp, RtpPacket, parse_rtp
from ..rtp.twcc import FeedbackRecorder
from .consumer import Consumer
from .layers import SHORT_S
from .producer import Producer
from .stream import Stream

MAX_SSRCS = 64
MAX_BLOCKS = 31  # of one receiver report
FEEDBACK_S = 0.1  # transport-cc
NACK_S = 0.04
REPORT_S = 1.0
COMPOUND_LIMIT = 1200  # bytes of one RTCP datagram
REMB_BPS = 5_000_000
MIN_REMB_BPS = 150_000
CLOCK_MEMORY = 16  # sender reports whose fastest sets the publisher's clock offset

Received = Callable[[memoryview, int, float], object]

_sdes = functools.lru_cache(4096)(rtcp.sdes)


class MediaTransport(Protocol):
    """What a client's media needs of a transport; see `rtclab.transport.transport.Transport`."""

    row: int
    on_rtp: Received
    on_rtcp: Received

    @property
    def state(self) -> str: ...

    def send_rtcp(self, data: bytes) -> None: ...


class Client:
    """The media of one transport.

    Parameters
    ----------
    id : str
        The client's id.
    transport : MediaTransport
        Its way to the room, for instance ICE, DTLS and SRTP over UDP.
    ssrc : int
        The room's own SSRC in feedback.
    clock : callable
        Gives the NTP time (64 bit) of a monotonic time in seconds.
    dirty : callable
        Called with a producer that has new packets.
    heard : callable
        Called with (client id, dBov, voice, now) for each audio level.
    """

    def __init__(
        self,
        id: str,  # the word of the wire
        transport: MediaTransport,
        ssrc: int,
        clock: Callable[[float], int],
        dirty: Callable[[Producer], None],
        heard: Callable[[str, float, bool, float], None],
    ) -> None:
        self.id = id
        self.transport: MediaTransport = transport
        self.cname = f"rtclab-{id}"
        self.drops = Drops()
        self.producers: dict[str, Producer] = {}  # by mid
        self.consumers: dict[int, Consumer] = {}  # by the SSRC the viewer sees
        self.extension_ids: dict[str, int] = {}
        self.transport_cc = False
        self.remb_bps = REMB_BPS
        self.patience_s = SHORT_S  # with the client's estimates
        self._ssrc = ssrc
        self._clock = clock
        self._dirty = dirty
        self._heard = heard
        self._routes: dict[
            int, tuple[Producer, str | None, bool]
        ] = {}  # ssrc -> producer, rid, retransmission
        self._retired: dict[int, None] = {}  # SSRCs that others took the place of; newest last
        self._recorder: FeedbackRecorder | None = None  # of who sends; viewers have none
        self._clock_offsets: list[int] = []
        self._last_media_ssrc = 0
        self._next_feedback = self._next_nack = self._next_report = 0.0
        transport.on_rtp = self.on_rtp
        transport.on_rtcp = self.on_rtcp

    def move(self, transport: MediaTransport, now: float) -> None:
        """Send and receive by another transport from now on; everybody goes on at the next keyframe."""
        self.stand_by(self.transport)
        self.transport = transport
        transport.on_rtp = self.on_rtp
        transport.on_rtcp = self.on_rtcp
        self._next_report = now
        for producer in self.producers.values():
            producer.start_over(now)
        for consumer in self.consumers.values():
            consumer.move(transport.row)

    def stand_by(self, transport: MediaTransport) -> None:
        """Forward nothing that comes by this transport, which is not the one in use."""
        transport.on_rtp = self._overhear
        transport.on_rtcp = lambda buffer, length, now: None

    def _overhear(self, buffer: memoryview, length: int, now: float) -> None:
        """Learn whose SSRC this is, since publishers do not say it for ever."""
        self.drops.add(Drop.OTHER_WAY)
        self._read(buffer, length, now)

    # -- what it sends ----------------------------------------------------------------------------------

    def publish(self, mid: str, producer: Producer, ssrcs: dict[int, int | None]) -> None:
        """Take a producer in; `ssrcs` maps SSRCs named in the SDP to their retransmission SSRC."""
        self.producers[mid] = producer
        self._forget(producer)
        if len(producer.streams) == 1:
            for ssrc, rtx in ssrcs.items():
                self._routes[ssrc] = producer, producer.streams[0].rid, False
                if rtx is not None:
                    self._routes[rtx] = producer, producer.streams[0].rid, True

    def unpublish(self, mid: str) -> Producer | None:
        """Forget the producer of an m-line."""
        producer = self.producers.pop(mid, None)
        if producer is not None:
            self._forget(producer)
        return producer

    def _forget(self, producer: Producer) -> None:
        self._routes = {ssrc: route for ssrc, route in self._routes.items() if route[0] is not producer}
        self._retired.clear()

    def on_rtp(self, buffer: memoryview, length: int, now: float) -> None:
        """Take an RTP packet, decrypted; the buffer is only valid during the call."""
        found = self._read(buffer, length, now)
        if found is None:
            return
        packet, producer, stream, is_rtx = found
        payload = buffer[packet.payload_start : packet.payload_start + packet.payload_length]
        if is_rtx:
            self._take_rtx(producer, stream, packet, payload, now)
        elif packet.payload_type == producer.payload_type:
            if stream.ssrc != packet.ssrc:
                stream = self._bind(producer, stream, packet.ssrc, now)
            self._take(producer, stream, packet, payload, now)
        else:
            self.drops.add(Drop.UNKNOWN_PAYLOAD_TYPE)

    def _read(
        self, buffer: memoryview, length: int, now: float
    ) -> tuple[RtpPacket, Producer, Stream, bool] | None:
        """Header and header extensions of a packet: its stream, and whether it is a retransmission."""
        try:
            packet = parse_rtp(buffer, length)
        except MalformedRtp:
            self.drops.add(Drop.BAD_RTP)
            return None
        ids = self.extension_ids
        mid = rid = repaired = level = None
        known = self._routes.get(packet.ssrc)
        if packet.extension_profile:
            sequence_id = ids.get(extensions.TRANSPORT_SEQUENCE)
            level_id = ids.get(extensions.AUDIO_LEVEL)
            for number, start, size in extensions.iter_extensions(
                buffer, packet.extension_start, packet.extension_length, packet.extension_profile
            ):
                if number == sequence_id and size >= 2:
                    if self._recorder is None:
                        self._recorder = FeedbackRecorder()
                    self._recorder.receive(extensions.transport_sequence(buffer, start), now)
                    self._last_media_ssrc = packet.ssrc
                elif number == level_id and size:
                    level = buffer[start]
                elif known is None:
                    if number == ids.get(extensions.MID):
                        mid = extensions.text(buffer, start, size)
                    elif number == ids.get(extensions.RID):
                        rid = extensions.text(buffer, start, size)
                    elif number == ids.get(extensions.REPAIRED_RID):
                        repaired = extensions.text(buffer, start, size)
        if known is None and packet.ssrc not in self._retired:
            known = self._learn(packet, mid, rid, repaired)
        if known is None:
            self.drops.add(Drop.UNKNOWN_SSRC)
            return None
        producer, route_rid, is_rtx = known
        stream = producer.by_rid(route_rid)
        if stream is None:
            self.drops.add(Drop.UNKNOWN_SSRC)
            return None
        if level is not None:
            voice, dbov = extensions.audio_level(level)
            self._heard(self.id, dbov, voice, now)
        return packet, producer, stream, is_rtx

    def _learn(
        self, packet: RtpPacket, mid: str | None, rid: str | None, repaired: str | None
    ) -> tuple[Producer, str | None, bool] | None:
        """Find the stream of an SSRC seen for the first time."""
        producer = self.producers.get(mid) if mid is not None else None
        if producer is None and mid is None:
            # without a mid only a payload type that one producer has alone can tell (RFC 9143 section 9.2)
            matching = [
                candidate
                for candidate in self.producers.values()
                if packet.payload_type in (candidate.payload_type, candidate.rtx_payload_type)
            ]
            producer = matching[0] if len(matching) == 1 else None
        if producer is None:
            return None
        is_rtx = packet.payload_type == producer.rtx_payload_type
        if not is_rtx and packet.payload_type != producer.payload_type:
            return None
        name = (repaired or rid) if is_rtx else rid
        stream = producer.by_rid(name)
        if stream is None:
            return None
        if len(self._routes) >= MAX_SSRCS:
            del self._routes[next(iter(self._routes))]
        if is_rtx:
            if stream.rtx_ssrc not in (None, packet.ssrc):
                self._retire(stream.rtx_ssrc)
            stream.rtx_ssrc = packet.ssrc
        route = producer, stream.rid, is_rtx
        self._routes[packet.ssrc] = route
        return route

    def _bind(self, producer: Producer, stream: Stream, ssrc: int, now: float) -> Stream:
        """A stream comes with an SSRC it did not have; stragglers of the old one must not take it back."""
        for old in (stream.ssrc, stream.rtx_ssrc):
            self._retire(old)
        return producer.bind(stream, ssrc, now)

    def _retire(self, ssrc: int | None) -> None:
        if ssrc is not None and self._routes.pop(ssrc, None) is not None:
            self._retired[ssrc] = None
            if len(self._retired) > MAX_SSRCS:
                del self._retired[next(iter(self._retired))]

    def _take_rtx(
        self, producer: Producer, stream: Stream, packet: RtpPacket, payload: memoryview, now: float
    ) -> None:
        """Undo RFC 4588: the payload begins with the original sequence number."""
        if len(payload) < 2:
            self.drops.add(Drop.PADDING)  # bandwidth probes are empty retransmissions
            return
        self._take(producer, stream, packet, payload[2:], now, payload[0] << 8 | payload[1])

    def _take(
        self,
        producer: Producer,
        stream: Stream,
        packet: RtpPacket,
        payload: memoryview,
        now: float,
        recovered: int | None = None,
    ) -> None:
        fresh = stream.packets == 0
        again = not stream.alive(now)
        stored, missing = stream.receive(packet, payload, now, recovered)
        if missing and stream.ssrc is not None:
            self._ask_again(stream, missing)
        if stored is None:
            return
        if recovered is None and stream.reception.resynced:
            producer.begin_anew(stream, now)
            fresh = True
        producer.news = producer.news or fresh or again
        if fresh and stream.kind == "video" and not stored.info.keyframe:
            self.ask_keyframe(stream, "room", now)
        if not producer.pending:
            self._dirty(producer)
        producer.pending.append((stream, stored))

    # -- what it hears of the room ----------------------------------------------------------------------

    def _ask_again(self, stream: Stream, sequences: tuple[int, ...]) -> None:
        if stream.ssrc is not None and sequences:
            stream.nacks_sent += len(sequences)
            self.transport.send_rtcp(rtcp.nack(self._ssrc, stream.ssrc, sequences))

    def ask_keyframe(self, stream: Stream, requester: str, now: float) -> None:
        """Ask the publisher for a keyframe of one stream, unless that was just done."""
        if stream.ssrc is not None and stream.keyframes.request(requester, now):
            self._send_pli(stream)

    def _send_pli(self, stream: Stream) -> None:
        if stream.ssrc is not None:
            stream.plis_sent += 1
            self.transport.send_rtcp(rtcp.pli(self._ssrc, stream.ssrc))

    def on_rtcp(self, buffer: memoryview, length: int, now: float) -> None:
        """Take a compound RTCP packet, decrypted."""
        try:
            packets = rtcp.parse_rtcp(bytes(buffer[:length]))
        except rtcp.MalformedRtcp:
            self.drops.add(Drop.BAD_RTCP)
            return
        for packet in packets:
            if isinstance(packet, rtcp.ReceiverReport):
                self._on_blocks(packet.blocks, now)
            elif isinstance(packet, rtcp.SenderReport):
                self._on_sender_report(packet, now)
                self._on_blocks(packet.blocks, now)
            elif isinstance(packet, rtcp.Nack):
                consumer = self.consumers.get(packet.media)
                if consumer is not None:
                    consumer.resend(packet.sequences, now)
            elif isinstance(packet, rtcp.Pli):
                self._on_keyframe_request(packet.media, now)
            elif isinstance(packet, rtcp.Fir):
                for ssrc, _ in packet.entries:
                    self._on_keyframe_request(ssrc, now)
            elif isinstance(packet, rtcp.Remb):
                self._on_estimate(packet, now)

    def _on_blocks(self, blocks: tuple[rtcp.ReportBlock, ...], now: float) -> None:
        middle = rtcp.middle_32(self._clock(now))
        for block in blocks:
            consumer = self.consumers.get(block.ssrc)
            if consumer is not None:
                consumer.report(block, middle, now)

    def _on_estimate(self, remb: rtcp.Remb, now: float) -> None:
        """Take what the client estimates for all of some streams: the heaviest of them gives way."""
        consumers = [self.consumers[ssrc] for ssrc in remb.ssrcs if ssrc in self.consumers]
        for consumer in consumers:
            consumer.estimate_bps = remb.bitrate
        layered = [one for one in consumers if one.layer_count > 1 or one.highest_temporal]
        # an estimate that is a guess is no reason to ask a publisher for less
        whole = [one for one in consumers if one.producer is not None and one.producer.kind == "video"]
        certain = self.patience_s < SHORT_S
        if layered or (whole and certain):
            heaviest = max(layered or whole, key=lambda consumer: consumer.bitrate_bps)
            sent = sum(consumer.bitrate_bps for consumer in consumers)
            layers, temporal = heaviest.layer_count, heaviest.highest_temporal
            own = heaviest.bitrate_bps if certain else None
            heaviest.selector.estimate(remb.bitrate, sent, layers, temporal, now, self.patience_s, own)

    def _on_sender_report(self, report: rtcp.SenderReport, now: float) -> None:
        route = self._routes.get(report.ssrc)
        if route is None:
            return
        stream = route[0].by_rid(route[1])
        if stream is None or route[2] or stream.ssrc != report.ssrc:
            return
        stream.reception.sender_report(report.ntp, report.rtp, now)
        self._clock_offsets.append(self._clock(now) - report.ntp)
        del self._clock_offsets[:-CLOCK_MEMORY]

    def _on_keyframe_request(self, ssrc: int, now: float) -> None:
        consumer = self.consumers.get(ssrc)
        if consumer is not None:
            consumer.plis += 1
            self.on_keyframe_wanted(consumer, now)

    on_keyframe_wanted: Callable[[Consumer, float], None] = staticmethod(lambda consumer, now: None)

    # -- in time ----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Send a publisher what is due: NACKs again, transport-cc feedback, keyframe requests, reports."""
        if self.transport.state != "connected" or not self.producers:
            return
        if now >= self._next_nack:
            self._next_nack = now + NACK_S
            self._repeat(now)
        if self.transport_cc and self._recorder is not None and now >= self._next_feedback:
            self._next_feedback = now + FEEDBACK_S
            for packet in self._recorder.build(self._ssrc, self._last_media_ssrc):
                self.transport.send_rtcp(packet)
        if now >= self._next_report:
            # every client at its own moment: a room full of reports at once would be a burst
            self._next_report = now + REPORT_S * (0.9 + (hash(self.id) % 256) / 1280)
            self._report(now)

    def _repeat(self, now: float) -> None:
        for producer in self.producers.values():
            if producer.kind != "video":
                continue
            for stream in producer.streams:
                if len(stream.nack):
                    self._ask_again(stream, stream.nack.due(now, self.transport_rtt))
                if stream.nack.overflow:
                    self.ask_keyframe(stream, "room", now)
                if stream.keyframes.due(now):
                    self._send_pli(stream)

    @property
    def transport_rtt(self) -> float:
        """Round trip to the client in seconds, as far as known."""
        known = [consumer.rtt_s for consumer in self.consumers.values() if consumer.rtt_s is not None]
        return max(min(known), 0.02) if known else 0.1

    def _report(self, now: float) -> None:
        """Tell a publisher what came of each SSRC; viewers are told by `rtclab.forwarding.sender_reports`."""
        blocks = []
        received: list[int] = []
        worst = 0.0
        for producer in self.producers.values():
            for stream in producer.streams:
                if stream.ssrc is not None and stream.reception.received:
                    block = stream.reception.report(stream.ssrc, now)
                    worst = max(worst, block.fraction_lost / 256)
                    blocks.append(block)
                    received.append(stream.ssrc)
        if received and not self.transport_cc:
            # a sender without transport-cc only knows this bound: open, and lowered by loss as Galene does
            if worst > 0.1:
                self.remb_bps = max(int(self.remb_bps * (1 - worst / 2)), MIN_REMB_BPS)
            elif worst < 0.02:
                self.remb_bps = min(int(self.remb_bps * 1.05), REMB_BPS)
        parts = [
            rtcp.receiver_report(self._ssrc, blocks[start : start + MAX_BLOCKS])
            for start in range(0, max(len(blocks), 1), MAX_BLOCKS)
        ]
        if received and not self.transport_cc:
            parts[-1] += rtcp.remb(self._ssrc, self.remb_bps, received)
        description = _sdes(self._ssrc, self.cname)
        packet = b""
        for part in parts:
            if packet and len(packet) + len(part) + len(description) > COMPOUND_LIMIT:
                self.transport.send_rtcp(packet + description)
                packet = b""
            packet += part
        self.transport.send_rtcp(packet + description)

    def sender_report(self, ssrc: int, consumer: Consumer, now: float) -> bytes:
        """What a viewer is told of a stream: which RTP time is `now`; empty while nothing flows."""
        producer, row = consumer.producer, consumer.row
        if producer is None or row is None or not consumer.flowing():
            return b""
        fanout = producer.fanout
        packets, octets = consumer.sent
        ntp = self._clock(now)
        rtp = producer.rtp_at(producer.streams[int(fanout.current[row])], ntp, now)
        timestamp = rtp + int(fanout.timestamp_offset[row])
        # the publisher's CNAME: sound and picture of one name are played together
        return rtcp.sender_report(ssrc, ntp, timestamp, packets, octets) + _sdes(ssrc, producer.cname)

    def clock_offset(self) -> int | None:
        """What to add to this client's NTP time to have the room's, by its fastest recent report."""
        return min(self._clock_offsets) if self._clock_offsets else None
