"""What the forwarding tests share: packets that say who they are, and a way out that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtclab.forwarding.columns import Header
from rtclab.forwarding.producer import Producer
from rtclab.forwarding.store import Packet
from rtclab.forwarding.stream import Stream
from rtclab.rtp import extensions
from rtclab.rtp.drops import Drop
from rtclab.rtp.packet import RtpPacket, build_rtp, parse_rtp
from rtclab.rtp.payload import describer
from rtclab.rtp.rtcp import RtcpPacket, parse_rtcp
from rtclab.transport.batch import Clients, Lost, Mode, SendBatch
from rtclab.transport.paths import PathTable

PAYLOAD_TYPE, RTX_PAYLOAD_TYPE = 96, 97
MID_ID, TIME_ID = 1, 3


def vp8(
    body: bytes,
    picture_id: int = 0,
    tl0: int = 0,
    temporal_id: int = 0,
    sync: bool = False,
    keyframe: bool = False,
    start: bool = True,
    size: tuple[int, int] = (640, 360),
) -> bytes:
    """A VP8 payload with a 15-bit picture id, TL0PICIDX and temporal id (RFC 7741)."""
    picture_id &= 0x7FFF
    payload = bytes([0x90 if start else 0x80, 0xE0, 0x80 | picture_id >> 8, picture_id & 0xFF, tl0 & 0xFF])
    payload += bytes([temporal_id << 6 | sync << 5])
    if not start:
        return payload + body
    frame = bytes([0 if keyframe else 1, 0, 0])
    if keyframe:
        frame += b"\x9d\x01\x2a" + size[0].to_bytes(2, "little") + size[1].to_bytes(2, "little")
    return payload + frame + body


@dataclass(frozen=True)
class Sent:
    """A packet as a viewer gets it."""

    ssrc: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    payload_type: int
    mid: str | None
    padding: int

    @property
    def picture_id(self) -> int | None:
        return describer("VP8")(self.payload).picture_id

    @property
    def tl0(self) -> int | None:
        return describer("VP8")(self.payload).tl0


def read(packet: bytes) -> Sent:
    """Parse what a viewer gets."""
    rtp = parse_rtp(packet, len(packet))
    found = {
        number: packet[start : start + size]
        for number, start, size in extensions.iter_extensions(
            packet, rtp.extension_start, rtp.extension_length, rtp.extension_profile
        )
    }
    payload = packet[rtp.payload_start : rtp.payload_start + rtp.payload_length]
    mid = found[MID_ID].decode() if MID_ID in found else None
    return Sent(
        rtp.ssrc, rtp.sequence, rtp.timestamp, rtp.marker, payload, rtp.payload_type, mid, rtp.padding
    )


class Outbox(SendBatch):
    """A batch that keeps the packets of each path row instead of sending them.

    Attributes
    ----------
    packets : dict of int to list of Sent
        What was sent, by path row.
    reports : dict of int to list of RTCP packets
        The RTCP of it.
    full : set of int
        Path rows whose packets are lost.
    """

    def __init__(self, mode: Mode = "mmsg") -> None:
        super().__init__(PathTable(), "plain")
        self.mode = mode
        self.packets: dict[int, list[Sent]] = {}
        self.reports: dict[int, list[RtcpPacket]] = {}
        self.full: set[int] = set()
        self.calls = 0

    def send(self, clients: Clients, lengths: Sequence[int], rtcp: bool = False) -> Lost:
        self.calls += 1
        lost: Lost = {}
        for index, row in enumerate(clients.rows.tolist()):
            for place, length in enumerate(lengths):
                if row in self.full:
                    lost.setdefault(Drop.SOCKET_FULL, []).append(index)
                else:
                    packet = self.arena[index * len(lengths) + place, :length].tobytes()
                    if rtcp:
                        self.reports.setdefault(row, []).extend(parse_rtcp(packet))
                        continue
                    self.packets.setdefault(row, []).append(read(packet))
        return lost

    def take(self, row: int) -> list[Sent]:
        """What was sent to a row since the last call."""
        return self.packets.pop(row, [])


def producer(
    batch: SendBatch, rids: tuple[str, ...] = (), codec: str = "VP8", rtx: int | None = RTX_PAYLOAD_TYPE
) -> Producer:
    """A producer of video (or of Opus)."""
    kind, clock = ("audio", 48000) if codec == "opus" else ("video", 90000)
    return Producer("t1", kind, codec, clock, PAYLOAD_TYPE, rtx, rids, batch)


def header(viewer: int, mid: bytes = b"0") -> Header:
    """The header of viewer number `viewer`: SSRC 1000 + viewer, retransmissions 2000 + viewer."""
    return Header(PAYLOAD_TYPE, 1000 + viewer, RTX_PAYLOAD_TYPE, 2000 + viewer, mid, MID_ID, TIME_ID)


def rtp(
    sequence: int, timestamp: int, payload: bytes, marker: bool = False, ssrc: int = 1, padding: int = 0
) -> tuple[RtpPacket, memoryview]:
    """A parsed packet and its payload, as they come from the port."""
    raw = memoryview(
        build_rtp(
            PAYLOAD_TYPE,
            sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
            payload,
            marker=marker,
            padding=padding,
        )
    )
    packet = parse_rtp(raw, len(raw))
    return packet, raw[packet.payload_start : packet.payload_start + packet.payload_length]


def feed(stream: Stream, now: float, sequence: int, timestamp: int, payload: bytes, marker: bool) -> Packet:
    """Take a packet into a stream, which must accept it."""
    padding = 0 if payload else 20
    stored, _ = stream.receive(*rtp(sequence, timestamp, payload, marker, padding=padding), now)
    assert stored is not None
    return stored
