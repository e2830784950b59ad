"""RTP packets (RFC 3550 section 5.1): the header is read once, and stays where it is.

::

     0                   1                   2                   3
     V=2|P|X|  CC   |M|     PT      |       sequence number
                               timestamp
                                 SSRC
                         CSRC list (CC words)
     if X: profile (16 bits), length in words (16 bits), extension elements
     payload, then if P: padding whose last byte is its own length

RTP and RTCP share a port; the second byte tells them apart (RFC 5761).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from .extensions import pack_extensions

Buffer = bytes | bytearray | memoryview

_FIXED = struct.Struct(">BBHII")
_EXTENSION = struct.Struct(">HH")


class MalformedRtp(ValueError):  # noqa: N818 - reads as what the packet is
    """The bytes are not an RTP packet."""


class RtpPacket:
    """Where the parts of an RTP packet lie in the buffer it was read from.

    Attributes
    ----------
    payload_type, sequence, timestamp, ssrc : int
        The header fields, as sent (7, 16, 32 and 32 bits).
    marker : bool
        The M bit.
    csrcs : int
        Number of contributing sources.
    extension_profile : int
        0 if the packet has no header extension, else its 16-bit profile.
    extension_start, extension_length : int
        The extension's elements, in bytes from the start of the buffer.
    payload_start, payload_length : int
        The payload without padding, in bytes.
    padding : int
        Length of the padding, in bytes.
    """

    __slots__ = (
        "csrcs",
        "extension_length",
        "extension_profile",
        "extension_start",
        "marker",
        "padding",
        "payload_length",
        "payload_start",
        "payload_type",
        "sequence",
        "ssrc",
        "timestamp",
    )

    def __init__(
        self,
        payload_type: int,
        marker: bool,
        sequence: int,
        timestamp: int,
        ssrc: int,
        csrcs: int,
        extension_profile: int,
        extension_start: int,
        extension_length: int,
        payload_start: int,
        payload_length: int,
        padding: int,
    ) -> None:
        self.payload_type = payload_type
        self.marker = marker
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.csrcs = csrcs
        self.extension_profile = extension_profile
        self.extension_start = extension_start
        self.extension_length = extension_length
        self.payload_start = payload_start
        self.payload_length = payload_length
        self.padding = padding

    def __repr__(self) -> str:
        return (
            f"<RtpPacket pt={self.payload_type} seq={self.sequence} ts={self.timestamp} "
            f"ssrc={self.ssrc} marker={int(self.marker)} payload={self.payload_length} B>"
        )


def is_rtcp(second_byte: int) -> bool:
    """Tell RTCP from RTP by the second byte of a packet whose first byte is 128..191 (RFC 5761)."""
    return 192 <= second_byte <= 223


def parse_rtp(buffer: Buffer, length: int) -> RtpPacket:
    """Read the header of the RTP packet in the first `length` bytes of `buffer`.

    Raises
    ------
    MalformedRtp
        If the packet is truncated, of another version or longer than the buffer.
    """
    if length < 12 or length > len(buffer):
        raise MalformedRtp("an RTP packet has at least 12 bytes")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(buffer)
    if first & 0xC0 != 0x80:
        raise MalformedRtp("not RTP version 2")
    start = 12
    csrcs = profile = extension_start = extension_length = padding = 0
    if first & 0x3F:
        csrcs = first & 0x0F
        start += 4 * csrcs
        if first & 0x10:
            if start + 4 > length:
                raise MalformedRtp("the header extension is cut off")
            profile, words = _EXTENSION.unpack_from(buffer, start)
            extension_start = start + 4
            extension_length = 4 * words
            start = extension_start + extension_length
        if start > length:
            raise MalformedRtp("the header is longer than the packet")
        if first & 0x20:
            padding = buffer[length - 1]
            if padding == 0 or padding > length - start:
                raise MalformedRtp("the padding is longer than the payload, or 0")
    return RtpPacket(
        second & 0x7F,
        second > 0x7F,
        sequence,
        timestamp,
        ssrc,
        csrcs,
        profile,
        extension_start,
        extension_length,
        start,
        length - start - padding,
        padding,
    )


def build_rtp(
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes = b"",
    *,
    marker: bool = False,
    csrcs: Iterable[int] = (),
    extensions: Iterable[tuple[int, bytes]] = (),
    padding: int = 0,
) -> bytes:
    """Build an RTP packet.

    Parameters
    ----------
    payload_type, sequence, timestamp, ssrc : int
        The header fields; each must fit its width.
    payload : bytes, optional
        What is carried.
    marker : bool, optional
        The M bit.
    csrcs : iterable of int, optional
        Contributing sources, at most 15.
    extensions : iterable of (int, bytes), optional
        Header extension elements as (id, value); written in the short form of RFC 8285 if all of them fit it.
    padding : int, optional
        Bytes of padding, its length byte included.

    Raises
    ------
    ValueError
        If a value does not fit its field.
    """
    sources = list(csrcs)
    profile, elements = pack_extensions(extensions)
    if len(sources) > 15 or not 0 <= padding <= 255 or not 0 <= payload_type <= 127:
        raise ValueError("at most 15 CSRCs, 255 bytes of padding, and a payload type of 7 bits")
    first = 0x80 | (0x20 if padding else 0) | (0x10 if profile else 0) | len(sources)
    try:
        header = _FIXED.pack(first, payload_type | (0x80 if marker else 0), sequence, timestamp, ssrc)
        header += struct.pack(f">{len(sources)}I", *sources)
    except struct.error as error:
        raise ValueError(f"a header field is out of range: {error}") from error
    if profile:
        header += _EXTENSION.pack(profile, len(elements) // 4) + elements
    return header + payload + (bytes(padding - 1) + bytes((padding,)) if padding else b"")
