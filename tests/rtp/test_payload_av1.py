"""AV1 payloads: aggregation headers, sizes from a real encoder's sequence header, damage."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.payload import MalformedPayload, av1


def split(unit: bytes) -> list[bytes]:
    """Split a temporal unit into OBUs without size fields, as RTP carries them; the delimiter is left out."""
    obus, position = [], 0
    while position < len(unit):
        header, at = unit[position], position + 1
        assert header & 0x06 == 0x02  # has a size, no extension
        size = shift = 0
        while True:
            size |= (unit[at] & 0x7F) << shift
            shift += 7
            at += 1
            if unit[at - 1] < 0x80:
                break
        if header >> 3 != 2:
            obus.append(bytes([header & ~0x02]) + unit[at : at + size])
        position = at + size
    return obus


@cache
def encoded() -> tuple[tuple[bytes, ...], ...]:
    """The OBUs of two pictures of 322x182, the first one a keyframe."""
    encoder = av.CodecContext.create("libsvtav1", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 322, 182, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "12", "svtav1-params": "pred-struct=1:lp=1"}
    packets = []
    for number in range(2):
        frame = av.VideoFrame(322, 182, "yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(tuple(split(bytes(packet))) for packet in packets)


def leb128(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + leb128(value >> 7) if value > 127 else bytes([value])


def test_keyframe_of_an_encoder() -> None:
    sequence, frame = encoded()[0][:2]
    with_lengths = b"\x08" + leb128(len(sequence)) + sequence + leb128(len(frame)) + frame
    last_without = b"\x28" + leb128(len(sequence)) + sequence + frame
    alone = b"\x18" + sequence
    for payload in (with_lengths, last_without, alone):
        info = av1.describe(memoryview(payload))
        assert (info.keyframe, info.start) == (True, True)
        assert (info.width, info.height) == (322, 182)


def test_delta_frame_of_an_encoder() -> None:
    info = av1.describe(b"\x10" + encoded()[1][0])
    assert (info.keyframe, info.start, info.width) == (False, True, None)


def test_sequence_header_that_keeps_its_size_field() -> None:
    sequence = encoded()[0][0]
    info = av1.describe(b"\x18" + bytes([sequence[0] | 0x02]) + leb128(len(sequence) - 1) + sequence[1:])
    assert (info.width, info.height) == (322, 182)


def test_sequence_header_with_timing_and_operating_points() -> None:
    bits = (
        "000 0 0"  # profile, still picture, reduced header
        + "1" + f"{1:032b}{30:032b}" + "1" + "010"  # timing, equal pictures of 2 ticks
        + "1" + "00011" + f"{1:032b}" + "00000" + "00000"  # decoder model, delays of 4 bits
        + "1" + "00001"  # display delay, two operating points
        + "000000000001" + "01000" + "0" + "1" + "0001" + "0010" + "0" + "1" + "0011"
        + "000000000011" + "00100" + "0" + "0"
        + "1010" + "1001" + f"{1279:011b}" + f"{719:010b}"
    ).replace(" ", "")  # fmt: skip
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    info = av1.describe(b"\x18\x08" + body)
    assert (info.width, info.height) == (1280, 720)
    with_extension = av1.describe(b"\x18\x0c\x00" + body)
    assert (with_extension.width, with_extension.height) == (1280, 720)


def test_reduced_still_picture_header() -> None:
    bits = "000 1 1 00101 0111 0110 11111111 1111111".replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    info = av1.describe(b"\x18\x08" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert (info.width, info.height) == (256, 128)


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        ("10 30 00", True),  # a frame
        ("10 18 00", True),  # a frame header
        ("10 20 00", False),  # a tile group
        ("90 00 00", False),  # the rest of an OBU
        ("50 30 00", True),  # the first part of a frame
    ],
)
def test_start_of_a_frame(raw: str, start: bool) -> None:
    info = av1.describe(bytes.fromhex(raw))
    assert (info.keyframe, info.start) == (False, start)


@pytest.mark.parametrize(
    "raw", ["", "10", "9830", "0005 30", "0080", "00 808080808080808080 30", "0000", "20 00 30"]
)
def test_malformed(raw: str) -> None:
    with pytest.raises(MalformedPayload):
        av1.describe(bytes.fromhex(raw))


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x18\x08", b"\x08\x0f\x0a", b"\x28"]))
def test_random_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    try:
        info = av1.describe(head + data)
    except MalformedPayload:
        return
    assert (info.width is None) is (info.height is None)
    assert info.temporal_id == 0
