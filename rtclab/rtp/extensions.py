"""RTP header extensions (RFC 8285): small values that ride in every packet.

The SDP's ``a=extmap`` lines give each URI a number; a packet carries (number, value) elements in one of two
forms:

- short, profile 0xBEDE: one byte ``id(4) length-1(4)``, ids 1..14, values of 1..16 bytes;
- long, profile 0x1000..0x100F: two bytes ``id(8) length(8)``, ids 1..255, values of 0..255 bytes.

A zero byte is padding. Audio levels are RFC 6464; mid and rid are RFC 9143 and RFC 8852.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_SEQUENCE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000


def iter_extensions(
    buffer: bytes | bytearray | memoryview, start: int, length: int, profile: int
) -> Iterator[tuple[int, int, int]]:
    """Walk the elements of a header extension.

    Parameters
    ----------
    buffer : bytes-like
        The packet.
    start, length : int
        The elements in `buffer`, in bytes (`RtpPacket.extension_start`, ``.extension_length``).
    profile : int
        The extension's profile; anything but the two forms of RFC 8285 has no elements.

    Yields
    ------
    (int, int, int)
        Id, first byte and length of each value. Ends at the first element that makes no sense.
    """
    end = min(start + length, len(buffer))
    position = start
    if profile == ONE_BYTE:
        while position < end:
            head = buffer[position]
            position += 1
            if head < 0x10:
                if head:
                    return  # id 0 with a length: RFC 8285 section 4.2 says to stop
                continue
            size = (head & 0x0F) + 1
            if head >= 0xF0 or position + size > end:
                return
            yield head >> 4, position, size
            position += size
    elif profile & 0xFFF0 == TWO_BYTE:
        while position < end:
            number = buffer[position]
            position += 1
            if number == 0:
                continue
            if position >= end:
                return
            size = buffer[position]
            position += 1
            if position + size > end:
                return
            yield number, position, size
            position += size


def pack_extensions(elements: Iterable[tuple[int, bytes]]) -> tuple[int, bytes]:
    """Write header extension elements, in the short form if all of them fit it.

    Parameters
    ----------
    elements : iterable of (int, bytes)
        Id and value of each.

    Returns
    -------
    (int, bytes)
        The profile and the elements padded to whole words; ``(0, b"")`` for no elements.

    Raises
    ------
    ValueError
        If an id is not in 1..255, a value is longer than 255 bytes, or all of it is too long.
    """
    items = list(elements)
    if not items:
        return 0, b""
    if any(not 1 <= number <= 255 or len(value) > 255 for number, value in items):
        raise ValueError("extension ids are 1..255 and values have at most 255 bytes")
    packed = bytearray()
    if all(number <= 14 and 1 <= len(value) <= 16 for number, value in items):
        profile = ONE_BYTE
        for number, value in items:
            packed.append(number << 4 | len(value) - 1)
            packed += value
    else:
        profile = TWO_BYTE
        for number, value in items:
            packed += bytes((number, len(value)))
            packed += value
    packed += bytes(-len(packed) % 4)
    if len(packed) > 4 * 0xFFFF:
        raise ValueError("the header extension is longer than 65535 words")
    return profile, bytes(packed)


def audio_level(value: int) -> tuple[bool, int]:
    """Decode the byte of RFC 6464.

    Returns
    -------
    (bool, int)
        Whether the sender heard a voice, and the level in dBov: 0 is the loudest, -127 is silence.
    """
    return value > 0x7F, -(value & 0x7F)


def text(buffer: bytes | bytearray | memoryview, start: int, length: int) -> str | None:
    """Decode a mid or rid; None if it is empty or not printable ASCII."""
    raw = bytes(buffer[start : start + length])
    if not raw or not raw.isascii():
        return None
    decoded = raw.decode("ascii")
    return decoded if decoded.isprintable() else None


def transport_sequence(buffer: bytes | bytearray | memoryview, start: int) -> int:
    """Decode the 16-bit transport-wide sequence number that begins at `start`."""
    return buffer[start] << 8 | buffer[start + 1]


def abs_send_time(now_ntp_seconds: float) -> int:
    """Give the 24-bit abs-send-time (6.18 fixed point seconds, wraps after 64 s) of a time in seconds."""
    return int(now_ntp_seconds * 0x40000) & 0xFFFFFF
