"""Packets shaped like those of a browser: VP8 with its real descriptors, and Opus.

A picture is cut into packets of nearly the same size, the first ones a byte shorter, as Chromium cuts it.
What the decoder would read is filler, but for a stamp that says when the publisher sent the packet. `clip`
makes pictures that can be decoded, for servers that do.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import NamedTuple

import numpy as np

PACKET = 1100  # bytes of payload
WIDTH, HEIGHT = 640, 360
KEYFRAME_S = 3.0

_DESCRIPTOR = struct.Struct("!BBHBB")  # X S | I L T K | picture id, 15 bits | TL0PICIDX | TID Y KEYIDX
_KEYFRAME = bytes.fromhex("1002009d012a") + struct.pack("<HH", WIDTH, HEIGHT)
_DELTA = bytes.fromhex("110200") + bytes(7)
_STAMP = struct.Struct("!4sQI")
_MAGIC = b"rtcb"
_STAMP_AT = _DESCRIPTOR.size + 10


class Stamp(NamedTuple):
    """When a packet was sent, in nanoseconds of Unix time, and which it was."""

    sent_ns: int
    number: int


def vp8_picture(picture: int, keyframe: bool, packets: int, filler: bytes) -> list[bytearray]:
    """The payloads of a picture of `packets` packets, not stamped yet.

    Parameters
    ----------
    picture : int
        Its number; picture id and TL0PICIDX follow from it.
    keyframe : bool
        Whether it looks like one.
    packets : int
        How many.
    filler : bytes
        At least `PACKET` random bytes.
    """
    payloads = []
    for index in range(packets):
        length = PACKET - (packets > 1 and index < packets // 2)
        first = 0x90 if index == 0 else 0x80
        payload = bytearray(
            _DESCRIPTOR.pack(first, 0xF0, 0x8000 | picture & 0x7FFF, picture & 0xFF, (picture // 90) & 0x1F)
        )
        payload += _KEYFRAME if keyframe else _DELTA
        payload += bytes(_STAMP.size)
        payload += filler[: length - len(payload)]
        payloads.append(payload)
    return payloads


def stamp(payload: bytearray, sent_ns: int, number: int) -> None:
    """Write into a payload of `vp8_picture` when it leaves."""
    _STAMP.pack_into(payload, _STAMP_AT, _MAGIC, sent_ns, number & 0xFFFFFFFF)


def read_stamp(packet: bytes | memoryview) -> Stamp | None:
    """The stamp in an RTP packet, decrypted; None when it has none."""
    if len(packet) < 12:
        return None
    start = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10 and len(packet) >= start + 4:
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    start += _STAMP_AT
    if len(packet) < start + _STAMP.size:
        return None
    magic, sent_ns, number = _STAMP.unpack_from(packet, start)
    return Stamp(sent_ns, number) if magic == _MAGIC else None


def clip(fps: int, packets: int) -> list[list[bytes]]:
    """Real VP8: `KEYFRAME_S` seconds of a moving picture, the payloads of each frame with their descriptor.

    It begins with a keyframe and can be looped; its bit rate is about that of `packets` a frame.
    """
    import av
    from aiortc.codecs.vpx import VpxPayloadDescriptor

    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.framerate = Fraction(fps)
    encoder.time_base = Fraction(1, fps)
    encoder.bit_rate = fps * packets * PACKET * 8
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "g": "100000"}
    random = np.random.default_rng(1)
    noise = random.integers(0, 255, (HEIGHT * 3 // 2, 2 * WIDTH), np.uint8)
    frames = []
    for number in range(int(KEYFRAME_S * fps)):
        shift = 4 * number % WIDTH
        picture = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(noise[:, shift : shift + WIDTH] // 4 + 96), format="yuv420p"
        )
        picture.pts = number
        data = b"".join(bytes(part) for part in encoder.encode(picture))
        size = -(-len(data) // max(1, -(-len(data) // PACKET))) or 1
        payloads = []
        for start in range(0, len(data), size):
            descriptor = VpxPayloadDescriptor(
                partition_start=int(start == 0),
                partition_id=0,
                picture_id=number,
                tl0picidx=number & 0xFF,
                tid=(0, 0),
                keyidx=0,
            )
            payloads.append(bytes(descriptor) + data[start : start + size])
        frames.append(payloads)
    return frames
