"""One incoming encoding of a track: an SSRC, its reception, its losses, its keyframes.

A simulcast publisher sends several streams of one track (one for each ``rid``); any other publisher
sends one. Everything here is per SSRC: sequence space, NACK list, keyframe requests and packet store
(aiortc keeps one for each receiver, which three layers would confuse).
"""

from __future__ import annotations

from ..rtp.drops import Drop, Drops
from ..rtp.nack import NackGenerator
from ..rtp.packet import RtpPacket
from ..rtp.payload import MalformedPayload, PayloadInfo, describer, vp8
from ..rtp.reception import Reception
from ..rtp.sequence import difference
from .keyframes import KeyframeRequests
from .store import PAYLOAD_LIMIT, Packet, PacketStore

VIDEO_PACKETS = 1024  # two seconds at 5 Mbit/s
AUDIO_PACKETS = 256  # as many as one wake-up of the port can bring
ALIVE_S = 2.5  # a screen share may send one frame in two seconds
MAX_AHEAD = 128  # packets that a retransmission may be ahead of what it overtook


class Stream:
    """State of one incoming SSRC.

    Parameters
    ----------
    index : int
        Its place among the streams of the producer.
    rid : str or None
        RTP stream id (RFC 8851); None without simulcast.
    codec : str
        Encoding name, for instance ``"VP8"``.
    clock_rate : int
        RTP clock in Hz.
    kind : str
        ``"audio"`` or ``"video"``.
    """

    def __init__(self, index: int, rid: str | None, codec: str, clock_rate: int, kind: str) -> None:
        self.index = index
        self.rid = rid
        self.codec = codec
        self.clock_rate = clock_rate
        self.kind = kind
        self.ssrc: int | None = None
        self.rtx_ssrc: int | None = None
        self.reception = Reception(clock_rate)
        self.nack = NackGenerator(0.1)
        self.keyframes = KeyframeRequests()
        self.store = PacketStore(VIDEO_PACKETS if kind == "video" else AUDIO_PACKETS)
        self.drops = Drops()
        self.width: int | None = None
        self.height: int | None = None
        self.whole = 0, 0  # the largest so far: a sender short of bandwidth may make the picture smaller
        self.keyframe_sequence: int | None = None
        self.keyframe_arrival = 0.0
        self._keyframe_timestamp: int | None = None
        self.keyframe_count = 0
        self.highest_temporal = 0
        self.first_arrival: float | None = None
        self.last_arrival = -1e9
        self.last_timestamp = 0
        self.packets = 0
        self.bytes = 0
        self.frames = 0
        self.recovered = 0
        self.nacks_sent = 0
        self.plis_sent = 0
        self.bitrate_bps = 0.0
        self.fps = 0.0
        self._sampled: tuple[float, int, int] | None = None
        self._describe = describer(codec)
        self._is_vp8 = codec.upper() == "VP8"

    def alive(self, now: float) -> bool:
        """Whether packets came lately."""
        return now - self.last_arrival < ALIVE_S

    def receive(
        self, rtp: RtpPacket, payload: memoryview, now: float, recovered_sequence: int | None = None
    ) -> tuple[Packet | None, tuple[int, ...]]:
        """Take in one packet.

        Parameters
        ----------
        rtp : RtpPacket
            The parsed header.
        payload : memoryview
            The payload; copied before this returns.
        now : float
            Arrival, in seconds.
        recovered_sequence : int, optional
            Original sequence number when the packet came as a retransmission.

        Returns
        -------
        tuple
            The stored packet, or None if it was dropped (counted in `drops`), and the sequence numbers
            to ask for at once (RFC 4585 NACK).
        """
        sequence = self._sequence(rtp, now, recovered_sequence)
        if sequence is None:
            return None, ()
        if recovered_sequence is None and self.reception.resynced:
            self._begin_anew()
        if payload:
            try:
                info = self._describe(payload)
            except MalformedPayload:
                self.drops.add(Drop.BAD_PAYLOAD)
                return None, ()
        else:
            info = PADDING
        data: bytes | memoryview = payload
        if not self._is_vp8:
            if info.picture_id is not None or info.temporal_id:
                # only VP8's numbers are rewritten, so only its temporal layers can be left out
                info.picture_id = info.tl0 = None
                info.temporal_id = 0
        elif info.picture_id_bits == 7:
            data = vp8.widen(bytes(payload), info)
            info = self._describe(data)
        if len(data) > PAYLOAD_LIMIT:
            self.drops.add(Drop.TOO_LONG)
            return None, ()
        packet = self.store.put(sequence, rtp.timestamp, rtp.marker, data, info, now)
        if packet is None:
            self.drops.add(
                Drop.DUPLICATE if sequence > self.store.newest - self.store.capacity else Drop.TOO_OLD
            )
            return None, ()
        missing = self.nack.receive(sequence, info.keyframe, now) if self.kind == "video" else ()
        self._count(packet, now, recovered_sequence is not None)
        return packet, missing

    def _sequence(self, rtp: RtpPacket, now: float, recovered: int | None) -> int | None:
        """The extended sequence number; a retransmission is not counted as received (RFC 4588)."""
        if recovered is not None:
            highest = self.reception.highest
            if highest is None:
                self.drops.add(Drop.TOO_OLD)
                return None
            ahead = difference(recovered, highest)
            if ahead > MAX_AHEAD:
                self.drops.add(Drop.TOO_OLD)
                return None
            return highest + ahead
        sequence = self.reception.receive(rtp.sequence, rtp.timestamp, now)
        if sequence is None:
            self.drops.add(Drop.TOO_OLD)
        return sequence

    def _count(self, packet: Packet, now: float, recovered: bool) -> None:
        self.packets += 1
        self.bytes += packet.length
        self.recovered += recovered
        if self.first_arrival is None:
            self.first_arrival = now
        if not packet.length:
            return
        if packet.timestamp != self.last_timestamp and packet.sequence == self.store.newest:
            self.frames += 1
            self.last_timestamp = packet.timestamp
        self.last_arrival = now
        info = packet.info
        if info.temporal_id > self.highest_temporal:
            self.highest_temporal = info.temporal_id
        if self.kind == "video" and info.keyframe and info.start:
            self._count_keyframe(packet, now)
        if info.width:
            self.width, self.height = info.width, info.height
            self.whole = max(self.whole, (info.width, info.height or 0), key=lambda size: size[0] * size[1])

    def _count_keyframe(self, packet: Packet, now: float) -> None:
        self.keyframes.keyframe(now)
        known = self.keyframe_sequence
        if packet.timestamp == self._keyframe_timestamp and known is not None:
            # H.264 begins a keyframe with parameter sets, then its first slice: the earliest counts
            self.keyframe_sequence = min(known, packet.sequence)
            return
        self.keyframe_count += 1
        if known is None or packet.sequence > known:
            self.keyframe_sequence = packet.sequence
            self.keyframe_arrival = now
            self._keyframe_timestamp = packet.timestamp

    def _begin_anew(self) -> None:
        """The source jumped to other numbers: what was missing will not come, nor fit what follows."""
        self.nack = NackGenerator(0.1)
        self.keyframe_sequence = self._keyframe_timestamp = None

    def sample(self, now: float) -> None:
        """Update `bitrate_bps` and `fps` from what came since the last call."""
        if self._sampled is not None and now > self._sampled[0]:
            elapsed = now - self._sampled[0]
            self.bitrate_bps = (self.bytes - self._sampled[1]) * 8 / elapsed
            self.fps = (self.frames - self._sampled[2]) / elapsed
        self._sampled = now, self.bytes, self.frames

    def __repr__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        return f"<Stream {self.rid or self.codec}{size} {self.bitrate_bps / 1000:.0f} kbit/s>"


PADDING = PayloadInfo(keyframe=False, start=False)
