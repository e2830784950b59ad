"""RTP that the room sends into a tunnel becomes whole frames again.

Each SSRC is a stream. Pictures wait in an `Assembler` until they are complete, sound goes on packet by
packet. The room's sender reports say when each was captured, on the room's clock, which is one for the sound
and the pictures of a participant.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..rtp.assembly import Assembler, Fragment
from ..rtp.drops import Drop, Drops
from ..rtp.frames import CODECS, depacketize
from ..rtp.packet import RtpPacket
from ..rtp.payload import MalformedPayload, describer
from ..rtp.reception import Reception
from ..rtp.rtcp import ReportBlock, middle_32
from ..rtp.sequence import Unwrapper, difference
from .tunnel_format import Frame
from .tunnel_up import Line

MAX_JUMP_S = 5.0  # between two frames, before the clock is asked for anew
_NTP_EPOCH = 2_208_988_800


def unix_us(ntp: int) -> int:
    """Unix time in microseconds of a 64-bit NTP time."""
    return max((ntp - (_NTP_EPOCH << 32)) * 1_000_000 >> 32, 0)


class Depacketizer:
    """One SSRC.

    Parameters
    ----------
    codec : str
        Encoding name.
    clock_rate : int
        Hz.
    drops : Drops
        Where what cannot be used is counted.

    Attributes
    ----------
    highest : int
        Highest sequence number so far, not wrapped.
    """

    def __init__(self, codec: str, clock_rate: int, drops: Drops) -> None:
        self.codec = codec
        self.clock_rate = clock_rate
        self.drops = drops
        self.highest = -1
        self.clock = Reception(clock_rate)
        self.assembler = Assembler()
        self._report: tuple[int, float] | None = None  # the newest, and when it came
        self._reported = 0
        self._usable = codec.upper() in CODECS
        self._describe = describer(codec)
        self._unwrapper = Unwrapper(16)
        self._size = 0, 0
        self._sizes: dict[int, tuple[int, int]] = {}  # of keyframes under way, by RTP time

    def report(self, ntp: int, rtp: int, now: float) -> None:
        """Take a sender report of the room: the RTP time `rtp` is the room's NTP time `ntp`."""
        self.clock.sender_report(ntp, rtp, now)
        self._reported = rtp
        self._report = ntp, now

    def time_us(self, timestamp: int) -> int | None:
        """Unix time in microseconds at which what has this RTP time was captured; None if no report tells."""
        ntp = self.clock.ntp_at(timestamp)
        if ntp is None:
            return None
        return unix_us(ntp)

    def jumped(self, timestamp: int) -> bool:
        """Whether this RTP time is far from that of the newest report."""
        return abs(difference(timestamp, self._reported, 32)) > MAX_JUMP_S * self.clock_rate

    def block(self, ssrc: int, rtt_s: float | None, now: float) -> ReportBlock:
        """The report block by which the room finds that nothing is lost, and the round trip of the tunnel."""
        lsr = dlsr = 0
        if self._report is not None and rtt_s is not None:
            ntp, at = self._report
            lsr = middle_32(ntp)
            dlsr = max(int((now - at - rtt_s) * 65536), 0)
        return ReportBlock(ssrc, 0, 0, max(self.highest, 0) & 0xFFFFFFFF, 0, lsr, dlsr)

    def frames(
        self, packet: RtpPacket, payload: bytes, line: Line, now: float
    ) -> Iterator[tuple[int, Frame]]:
        """Take in a packet; yields the frames that are complete now, each with its RTP time.

        Their number and capture time are left 0.
        """
        number = self._unwrapper.unwrap(packet.sequence)
        if not payload:
            if line.kind == "video":
                self.assembler.add(Fragment(number, packet.timestamp, packet.marker, False, b""))
        elif not self._usable:
            self.drops.add(Drop.CODEC_NOT_SUPPORTED)
        elif line.kind == "audio":
            if number <= self.highest:
                self.drops.add(Drop.TOO_OLD)
            else:
                yield packet.timestamp, Frame(0, 0, line.mid, line.rid, payload, audio=True)
        else:
            yield from self._picture(number, packet, payload, line, now)
        self.highest = max(self.highest, number)

    def _picture(
        self, number: int, packet: RtpPacket, payload: bytes, line: Line, now: float
    ) -> Iterator[tuple[int, Frame]]:
        try:
            info = self._describe(payload)
        except MalformedPayload:
            self.drops.add(Drop.BAD_PAYLOAD)
            return
        if info.width and info.height:
            self._sizes[packet.timestamp] = info.width, info.height
            if len(self._sizes) > 16:
                del self._sizes[next(iter(self._sizes))]
        opens = info.keyframe and info.start
        counted = self.assembler.lost
        self.assembler.add(Fragment(number, packet.timestamp, packet.marker, opens, payload))
        while (fragments := self.assembler.take(now)) is not None:
            timestamp = fragments[0].timestamp
            try:
                data = depacketize(self.codec, [fragment.payload for fragment in fragments])
            except MalformedPayload:
                self.drops.add(Drop.BAD_PAYLOAD, len(fragments))
                self.assembler.restart()
                counted += 1  # as a bad payload
                continue
            self._size = self._sizes.pop(timestamp, self._size)
            keyframe = any(fragment.opens for fragment in fragments)
            width, height = self._size
            yield timestamp, Frame(0, 0, line.mid, line.rid, data, keyframe, width=width, height=height)
        if self.assembler.lost > counted:
            self.drops.add(Drop.INCOMPLETE, self.assembler.lost - counted)
