"""RTCP: reports and feedback (RFC 3550 section 6, RFC 4585, RFC 5104, REMB and transport-wide feedback).

A datagram holds one or more packets, each ``V=2 P count(5) | type(8) | length in words - 1 (16)`` and a body.
Single feedback packets (reduced size, RFC 5506) are as welcome as compound ones. Types read and written::

    200 SR, 201 RR, 202 SDES, 203 BYE
    205 RTPFB    1 NACK (lost packets), 15 transport-wide arrival times
    206 PSFB     1 PLI, 4 FIR (keyframe wanted), 15 REMB (receiver's estimate of the bandwidth)

NTP timestamps are 64 bits, 32.32 fixed point seconds since 1900.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206

_NACK, _TRANSPORT_CC = 1, 15
_PLI, _FIR, _REMB = 1, 4, 15
_CNAME = 1
_MAX_BLOCKS = 31
# Four bytes of run-length chunks can claim 16,000 packets: bounds the work that one datagram causes.
_MAX_STATUSES = 1 << 15
_NTP_EPOCH = 2_208_988_800

_HEADER = struct.Struct(">BBH")
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")
_PID_BLP = struct.Struct(">HH")
_BLOCK = struct.Struct(">6I")
_SENDER_INFO = struct.Struct(">IQIII")
_FEEDBACK = struct.Struct(">BBHII")


class MalformedRtcp(ValueError):  # noqa: N818 - reads as what the packet is
    """The bytes are not RTCP."""


class ReportBlock(NamedTuple):
    """How one source is received.

    `fraction_lost` is in 1/256 since the last report, `lost` cumulative (negative with duplicates), `highest`
    the extended sequence number, `jitter` in RTP ticks, `lsr` the middle 32 bits of the last sender report's
    NTP time and `dlsr` the time since then in 1/65536 s (both 0: none yet).
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    lsr: int
    dlsr: int


class SenderReport(NamedTuple):
    """What a source has sent: `rtp` is the RTP time at `ntp`; `packets` and `octets` count since it began."""

    ssrc: int
    ntp: int
    rtp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...]


class ReceiverReport(NamedTuple):
    """Reports of one that sends nothing."""

    ssrc: int
    blocks: tuple[ReportBlock, ...]


class SdesChunk(NamedTuple):
    """Description of one source: its CNAME, None if not given."""

    ssrc: int
    cname: str | None


class Sdes(NamedTuple):
    """Descriptions of sources."""

    chunks: tuple[SdesChunk, ...]


class Bye(NamedTuple):
    """These sources have ended."""

    ssrcs: tuple[int, ...]


class Nack(NamedTuple):
    """`sender` misses these packets (16-bit sequence numbers) of source `media`."""

    sender: int
    media: int
    sequences: tuple[int, ...]


class Pli(NamedTuple):
    """`sender` cannot decode source `media` without a keyframe."""

    sender: int
    media: int


class Fir(NamedTuple):
    """`sender` wants keyframes of the sources in `entries`: (ssrc, command number)."""

    sender: int
    entries: tuple[tuple[int, int], ...]


class Remb(NamedTuple):
    """`sender` estimates that it can receive `bitrate` bit/s over all of `ssrcs`."""

    sender: int
    bitrate: int
    ssrcs: tuple[int, ...]


class TransportFeedback(NamedTuple):
    """When packets arrived, by transport-wide sequence number.

    `base` is the first of `count` sequence numbers, `reference` the signed 24-bit time base in 64 ms,
    `feedback_count` counts these packets (8 bits). `arrivals` pairs each sequence number with its arrival
    in s on the receiver's clock (which wraps like `reference`), or None if it has not arrived.
    """

    sender: int
    media: int
    base: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    reference: int
    feedback_count: int
    arrivals: tuple[tuple[int, float | None], ...]


RtcpPacket = SenderReport | ReceiverReport | Sdes | Bye | Nack | Pli | Fir | Remb | TransportFeedback


def to_ntp(unix_seconds: float) -> int:
    """Convert Unix time in seconds to a 64-bit NTP timestamp."""
    whole = int(unix_seconds // 1)
    return ((whole + _NTP_EPOCH) << 32) + int((unix_seconds - whole) * 4_294_967_296) & 0xFFFFFFFFFFFFFFFF


def middle_32(ntp: int) -> int:
    """Cut the middle 32 bits (16.16 fixed point seconds) out of an NTP timestamp, as LSR wants them."""
    return ntp >> 16 & 0xFFFFFFFF


# -- reading


def parse_rtcp(data: bytes | bytearray | memoryview) -> list[RtcpPacket]:
    """Read all packets of one RTCP datagram; unknown types are skipped.

    Raises
    ------
    MalformedRtcp
        If a packet is truncated, of another version, or its contents do not fit its length.
    """
    end = len(data)
    if end < 4:
        raise MalformedRtcp("an RTCP packet has at least 4 bytes")
    packets: list[RtcpPacket] = []
    position = statuses = 0
    try:
        while position < end:
            first, kind, words = _HEADER.unpack_from(data, position)
            start = position + 4
            position = stop = start + 4 * words
            if first & 0xC0 != 0x80:
                raise MalformedRtcp("not RTCP version 2")
            if stop > end:
                raise MalformedRtcp("the RTCP packet is cut off")
            if first & 0x20:
                padding = data[stop - 1]
                if padding == 0 or padding > stop - start or stop != end:
                    raise MalformedRtcp("RTCP padding is wrong")
                stop -= padding
            packet = _parse_packet(kind, first & 0x1F, data, start, stop)
            if packet is not None:
                packets.append(packet)
                if isinstance(packet, TransportFeedback):
                    statuses += packet.count
                    if statuses > _MAX_STATUSES:
                        raise MalformedRtcp("too many packets in the transport feedback of one datagram")
    except struct.error:
        raise MalformedRtcp("the RTCP packet is shorter than its contents") from None
    return packets


def _parse_packet(
    kind: int, count: int, data: bytes | bytearray | memoryview, start: int, stop: int
) -> RtcpPacket | None:
    if kind == RR:
        if stop - start < 4:
            raise MalformedRtcp("a receiver report has an SSRC")
        return ReceiverReport(_WORD.unpack_from(data, start)[0], _parse_blocks(data, start + 4, stop, count))
    if kind == SR:
        if stop - start < 24:
            raise MalformedRtcp("a sender report has 24 bytes of sender information")
        source, ntp, rtp, packets, octets = _SENDER_INFO.unpack_from(data, start)
        return SenderReport(source, ntp, rtp, packets, octets, _parse_blocks(data, start + 24, stop, count))
    if kind in (RTPFB, PSFB):
        if stop - start < 8:
            raise MalformedRtcp("a feedback packet names its sender and the media source")
        body = bytes(data[start + 8 : stop])
        sender, media = _TWO_WORDS.unpack_from(data, start)
        if kind == RTPFB:
            if count == _NACK:
                return Nack(sender, media, _parse_nack(body))
            if count == _TRANSPORT_CC:
                return _parse_transport_feedback(sender, media, body)
        elif count == _PLI:
            return Pli(sender, media)
        elif count == _FIR:
            return Fir(sender, tuple((ssrc, rest >> 24) for ssrc, rest in _TWO_WORDS.iter_unpack(body)))
        elif count == _REMB and body[:4] == b"REMB":
            return _parse_remb(sender, body)
        return None
    if kind == SDES:
        return Sdes(_parse_chunks(bytes(data[start:stop]), count))
    if kind == BYE:
        if stop - start < 4 * count:
            raise MalformedRtcp("a goodbye is shorter than its sources")
        return Bye(struct.unpack_from(f">{count}I", data, start))
    return None


def _parse_blocks(
    data: bytes | bytearray | memoryview, start: int, stop: int, count: int
) -> tuple[ReportBlock, ...]:
    if stop - start < 24 * count:
        raise MalformedRtcp("a report is shorter than its blocks")
    blocks = []
    for at in range(start, start + 24 * count, 24):
        ssrc, loss, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(data, at)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 1 << 24
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, lsr, dlsr))
    return tuple(blocks)


def _parse_nack(body: bytes) -> tuple[int, ...]:
    sequences = []
    for first, more in _PID_BLP.iter_unpack(body):
        sequences.append(first)
        while more:
            bit = more & -more
            sequences.append((first + bit.bit_length()) & 0xFFFF)
            more ^= bit
    return tuple(sequences)


def _parse_remb(sender: int, body: bytes) -> Remb:
    if len(body) < 8 or len(body) < 8 + 4 * body[4]:
        raise MalformedRtcp("a REMB is shorter than its sources")
    mantissa = int.from_bytes(body[5:8], "big")
    return Remb(sender, (mantissa & 0x3FFFF) << (mantissa >> 18), struct.unpack_from(f">{body[4]}I", body, 8))


def _parse_chunks(body: bytes, count: int) -> tuple[SdesChunk, ...]:
    chunks = []
    position = 0
    for _ in range(count):
        (ssrc,) = _WORD.unpack_from(body, position)
        position += 4
        cname = None
        while position < len(body) and body[position]:
            if position + 2 > len(body) or position + 2 + body[position + 1] > len(body):
                raise MalformedRtcp("a source description is cut off")
            if body[position] == _CNAME:
                cname = body[position + 2 : position + 2 + body[position + 1]].decode("utf-8", "replace")
            position += 2 + body[position + 1]
        position += 4 - position % 4  # at least one zero byte ends the chunk
        if position > len(body):
            raise MalformedRtcp("a source description is not ended")
        chunks.append(SdesChunk(ssrc, cname))
    return tuple(chunks)


def _parse_transport_feedback(sender: int, media: int, body: bytes) -> TransportFeedback:
    base, count, time = struct.unpack_from(">HHI", body)
    if count > _MAX_STATUSES:
        raise MalformedRtcp("too many packets in one transport feedback")
    reference = time >> 8
    if reference & 0x800000:
        reference -= 1 << 24
    symbols: list[int] = []
    position = 8
    while len(symbols) < count:
        (chunk,) = struct.unpack_from(">H", body, position)
        position += 2
        if chunk < 0x8000:
            symbols += [chunk >> 13] * min(chunk & 0x1FFF, count - len(symbols))
        elif chunk < 0xC000:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
        else:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
    ticks = reference * 256
    arrivals: list[tuple[int, float | None]] = []
    try:
        for sequence, symbol in enumerate(symbols[:count], base):
            if symbol == 0:
                arrivals.append((sequence & 0xFFFF, None))
                continue
            if symbol == 1:
                ticks += body[position]
                position += 1
            elif symbol == 2:
                ticks += struct.unpack_from(">h", body, position)[0]
                position += 2
            else:
                raise MalformedRtcp("transport feedback symbol 3 is reserved")
            arrivals.append((sequence & 0xFFFF, ticks / 4000))
    except IndexError:
        raise MalformedRtcp("transport feedback has fewer arrival times than packets") from None
    return TransportFeedback(sender, media, base, count, reference, time & 0xFF, tuple(arrivals))


# -- writing


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def _pack_block(block: ReportBlock) -> bytes:
    return _BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | block.lost & 0xFFFFFF,
        block.highest,
        block.jitter,
        block.lsr,
        block.dlsr,
    )


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock] = ()) -> bytes:
    """Build a receiver report; more than 31 blocks become several packets, as RFC 3550 section 6.1 wants."""
    packets = []
    for start in range(0, max(len(blocks), 1), _MAX_BLOCKS):
        part = blocks[start : start + _MAX_BLOCKS]
        packets.append(_packet(RR, len(part), _WORD.pack(ssrc) + b"".join(map(_pack_block, part))))
    return b"".join(packets)


def sender_report(
    ssrc: int, ntp: int, rtp: int, packets: int, octets: int, blocks: Sequence[ReportBlock] = ()
) -> bytes:
    """Build a sender report; the counters wrap, and blocks past the 31st follow in receiver reports."""
    info = _SENDER_INFO.pack(ssrc, ntp, rtp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    part = blocks[:_MAX_BLOCKS]
    report = _packet(SR, len(part), info + b"".join(map(_pack_block, part)))
    return report + receiver_report(ssrc, blocks[_MAX_BLOCKS:]) if len(blocks) > _MAX_BLOCKS else report


def sdes(ssrc: int, cname: str) -> bytes:
    """Build a source description that names the source; a CNAME has at most 255 bytes in UTF-8."""
    name = cname.encode()
    if len(name) > 255:
        raise ValueError("a CNAME has at most 255 bytes")
    chunk = _WORD.pack(ssrc) + bytes((_CNAME, len(name))) + name
    return _packet(SDES, 1, chunk + bytes(4 - len(chunk) % 4))


def bye(ssrcs: Sequence[int]) -> bytes:
    """Build a goodbye of at most 31 sources."""
    if len(ssrcs) > _MAX_BLOCKS:
        raise ValueError("a goodbye has at most 31 sources")
    return _packet(BYE, len(ssrcs), struct.pack(f">{len(ssrcs)}I", *ssrcs))


def nack(sender: int, media: int, sequences: Iterable[int]) -> bytes:
    """Build a request for lost packets; 16-bit sequence numbers, best in sending order."""
    fields = bytearray()
    first = more = -1
    for sequence in sequences:
        ahead = sequence - first - 1  # not around the wrap: aiortc reads 65536 and more there
        if first >= 0 and 0 <= ahead < 16:
            more |= 1 << ahead
            continue
        if first >= 0:
            fields += _PID_BLP.pack(first, more)
        first, more = sequence, 0
    if first >= 0:
        fields += _PID_BLP.pack(first, more)
    return _packet(RTPFB, _NACK, _TWO_WORDS.pack(sender, media) + fields)


def pli(sender: int, media: int) -> bytes:
    """Build a picture loss indication: a keyframe, please."""
    return _FEEDBACK.pack(0x80 | _PLI, PSFB, 2, sender, media)


def fir(sender: int, entries: Iterable[tuple[int, int]]) -> bytes:
    """Build a full intra request for (ssrc, command number) pairs; a new command has a new number."""
    body = b"".join(_TWO_WORDS.pack(ssrc, (number & 0xFF) << 24) for ssrc, number in entries)
    return _packet(PSFB, _FIR, _TWO_WORDS.pack(sender, 0) + body)


def remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """Build a bandwidth estimate in bit/s, rounded down to 18 significant bits, for at most 255 sources."""
    exponent = max(bitrate.bit_length() - 18, 0)
    if bitrate < 0 or exponent > 63 or len(ssrcs) > 255:
        raise ValueError("a REMB has 0 to 2^81 bit/s and at most 255 sources")
    mantissa = (exponent << 18 | bitrate >> exponent).to_bytes(3, "big")
    body = b"REMB" + bytes((len(ssrcs),)) + mantissa + struct.pack(f">{len(ssrcs)}I", *ssrcs)
    return _packet(PSFB, _REMB, _TWO_WORDS.pack(sender, 0) + body)
