"""The binary messages of the tunnel: encoded frames over a room's WebSocket or comm, where UDP cannot pass.

Each message is one WebSocket binary frame (or one comm buffer); numbers are in network byte order::

    FRAME     u8 1 | u8 flags | u32 number | u64 time_us | u16 width | u16 height
              | u8 n, n bytes mid | u8 m, m bytes rid | payload to the end
    ACK       u8 2 | u8 0 | u32 number | u32 waiting_ms
    KEYFRAME  u8 3 | u8 0 | u8 n, n bytes mid | u8 m, m bytes rid

All three go both ways. Flags of a frame: 1 it is a keyframe, 2 it is audio, 4 the payload is a JPEG picture.

* `number` counts all frames of one direction from 1; opening the tunnel (again) begins with 1. A frame that
  its sender left out takes no number.
* `time_us` is when the frame was captured, on one clock for everything that one participant sends: from the
  page its `performance.timeOrigin` based time, to the page the room's, both as Unix time in microseconds.
* `width`, `height` in pixels, 0 where they are not known. For audio `height` is 0, and `width` may be 256
  plus the byte of RFC 6464 (128 for a voice, plus the level in -dBov), so that the room knows who speaks.
* `mid` is the m-line of the client's own offer, `rid` the layer, empty without simulcast.
* The payload is a VP8 frame (RFC 6386), an H.264 access unit in Annex B form, one Opus packet (RFC 6716) or a
  JPEG picture.

An ACK says which frame was taken in last, and how many milliseconds of media are taken in but not yet decoded
(or passed on); it comes at least every 10 frames, and within 100 ms after each frame. A KEYFRAME asks for a
keyframe of an m-line, and layer if `rid` is not empty.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MAX_MEDIA: Final = 1024 * 1024  # bytes of one message
MAX_NAME: Final = 64  # bytes of a mid or rid

FRAME, ACK, KEYFRAME = 1, 2, 3
_KEY, _AUDIO, _JPEG = 1, 2, 4
_LEVEL = 256

_FRAME = struct.Struct(">BBIQHH")
_ACK = struct.Struct(">BBII")


class MalformedMedia(ValueError):  # noqa: N818 - reads as what the message is
    """The bytes are no message of the tunnel."""


class Frame(NamedTuple):
    """One encoded frame; `level` is the byte of RFC 6464, -1 if it is not known."""

    number: int
    time_us: int
    mid: str
    rid: str
    payload: bytes
    keyframe: bool = False
    audio: bool = False
    jpeg: bool = False
    width: int = 0
    height: int = 0
    level: int = -1

    def encode(self) -> bytes:
        """The bytes of the message."""
        flags = self.keyframe * _KEY | self.audio * _AUDIO | self.jpeg * _JPEG
        width = _LEVEL | self.level if self.level >= 0 else self.width
        head = _FRAME.pack(FRAME, flags, self.number & 0xFFFFFFFF, self.time_us, width, self.height)
        return head + _names(self.mid, self.rid) + self.payload


class Ack(NamedTuple):
    """How far frames were taken in."""

    number: int
    waiting_ms: int = 0

    def encode(self) -> bytes:
        """The bytes of the message."""
        return _ACK.pack(ACK, 0, self.number & 0xFFFFFFFF, self.waiting_ms)


class KeyframeRequest(NamedTuple):
    """A keyframe, please."""

    mid: str
    rid: str = ""

    def encode(self) -> bytes:
        """The bytes of the message."""
        return bytes((KEYFRAME, 0)) + _names(self.mid, self.rid)


def parse(data: bytes) -> Frame | Ack | KeyframeRequest:
    """Read a message.

    Raises
    ------
    MalformedMedia
        It is none, is cut off or too long, or an empty frame.
    """
    if not 2 <= len(data) <= MAX_MEDIA:
        raise MalformedMedia("a message has 2 bytes to 1 MiB")
    kind = data[0]
    try:
        if kind == FRAME:
            return _parse_frame(data)
        if kind == ACK and len(data) == _ACK.size:
            _, _, number, waiting_ms = _ACK.unpack(data)
            return Ack(number, waiting_ms)
        if kind == KEYFRAME:
            mid, rid, end = _read_names(data, 2)
            if end == len(data):
                return KeyframeRequest(mid, rid)
    except (struct.error, IndexError):
        raise MalformedMedia("the message is cut off") from None
    raise MalformedMedia("no message of this kind and length is known")


def _parse_frame(data: bytes) -> Frame:
    _, flags, number, time_us, width, height = _FRAME.unpack_from(data)
    mid, rid, start = _read_names(data, _FRAME.size)
    if start >= len(data):
        raise MalformedMedia("the frame is empty")
    audio = bool(flags & _AUDIO)
    level = width & 0xFF if audio and width & _LEVEL else -1
    return Frame(
        number,
        time_us,
        mid,
        rid,
        data[start:],
        bool(flags & _KEY),
        audio,
        bool(flags & _JPEG),
        0 if audio else width,
        0 if audio else height,
        level,
    )


def _names(mid: str, rid: str) -> bytes:
    first, second = mid.encode(), rid.encode()
    return b"".join((bytes((len(first),)), first, bytes((len(second),)), second))


def _read_names(data: bytes, start: int) -> tuple[str, str, int]:
    """The mid and rid at `start`, and where they end."""
    names = []
    for _ in range(2):
        end = start + 1 + data[start]
        raw = data[start + 1 : end]
        if end > len(data) or len(raw) > MAX_NAME or not raw.isascii():
            raise MalformedMedia("a mid or rid is cut off, too long or not ASCII")
        names.append(raw.decode("ascii"))
        start = end
    if not names[0]:
        raise MalformedMedia("the mid is empty")
    return names[0], names[1], start
