"""H.264 payloads: NAL unit types, sizes from real parameter sets, damage."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest
from aiortc.codecs import h264 as packetizer
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.payload import MalformedPayload, h264

SPS_640X360 = bytes.fromhex("42c01ed9 00a02ff9 70110000 03000100 00030032 0f162e48")


def encode(
    width: int, height: int, options: dict[str, str], frames: int = 1, pixels: str = "yuv420p"
) -> list[bytes]:
    """Encode black pictures; give the NAL units of each without start codes."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1", **options}
    units: list[bytes] = []
    for number in range(frames):
        frame = av.VideoFrame(width, height, pixels)
        frame.pts = number
        for packet in encoder.encode(frame):
            units += packetizer.H264Encoder._split_bitstream(bytes(packet))
    return units


@pytest.mark.parametrize(
    ("width", "height", "pixels", "options"),
    [
        (640, 360, "yuv420p", {"profile": "baseline"}),
        (320, 180, "yuv420p", {"profile": "main"}),
        (1280, 720, "yuv420p", {"profile": "high"}),
        (1920, 1080, "yuv420p", {"profile": "high", "x264-params": "interlaced=1"}),
        (178, 98, "yuv422p", {}),
        (178, 99, "yuv444p", {}),
        (161, 97, "gray", {}),
        (640, 368, "yuv420p", {"x264-params": "cqm=jvt"}),
    ],
)
def test_size_of_a_real_parameter_set(width: int, height: int, pixels: str, options: dict[str, str]) -> None:
    (sps,) = [unit for unit in encode(width, height, options, pixels=pixels) if unit[0] & 0x1F == 7]
    assert h264.picture_size(sps[1:]) == (width, height)
    info = h264.describe(memoryview(sps))
    assert (info.keyframe, info.start, info.width, info.height) == (True, True, width, height)


def test_packets_of_another_packetizer() -> None:
    units = encode(640, 360, {"x264-params": "keyint=2:bframes=0"}, frames=3)
    for unit, packets in ((unit, packetizer.H264Encoder._packetize([unit])) for unit in units):
        infos = [h264.describe(packet) for packet in packets]
        kind = unit[0] & 0x1F
        assert infos[0].keyframe is (kind in (5, 7))
        assert infos[0].start
        assert not any(info.start or info.keyframe for info in infos[1:])


def test_aggregated_parameter_sets() -> None:
    sps, pps = b"\x67" + SPS_640X360, bytes.fromhex("68cb83cb20")
    packet = b"\x78" + b"".join(struct.pack(">H", len(unit)) + unit for unit in (b"\x09\xf0", sps, pps))
    info = h264.describe(packet)
    assert (info.keyframe, info.start, info.width, info.height) == (True, True, 640, 360)


@pytest.mark.parametrize(
    ("raw", "keyframe", "start"),
    [
        ("6588", True, True),  # IDR slice of macroblock 0
        ("6548", True, False),  # IDR slice further down
        ("4188", False, True),
        ("4148", False, False),
        ("68ce", False, True),  # PPS
        ("0605", False, True),  # SEI
        ("7c8588", True, True),  # FU-A: start of an IDR slice
        ("7c0588", False, False),  # FU-A: middle
        ("7c4588", False, False),  # FU-A: end
        ("5c8188", False, True),
        ("78 0002 4188 0002 4148", False, True),
    ],
)
def test_units(raw: str, keyframe: bool, start: bool) -> None:
    info = h264.describe(bytes.fromhex(raw))
    assert (info.keyframe, info.start) == (keyframe, start)


@pytest.mark.parametrize(
    "raw", ["", "65", "0000", "7900", "7d00", "7800", "780000", "78000541", "7800024188ff"]
)
def test_malformed(raw: str) -> None:
    with pytest.raises(MalformedPayload):
        h264.describe(bytes.fromhex(raw))


def test_a_broken_parameter_set_has_no_size() -> None:
    info = h264.describe(b"\x67" + SPS_640X360[:5])
    assert info.keyframe
    assert info.width is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x67", b"\x67\x64\x00\x1f", b"\x78", b"\x7c"]))
def test_random_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    try:
        info = h264.describe(head + data)
    except MalformedPayload:
        return
    assert (info.width is None) is (info.height is None)


@given(st.lists(st.tuples(st.integers(0, len(SPS_640X360) - 1), st.integers(0, 255)), max_size=4))
def test_damaged_parameter_sets_have_a_size_in_range_or_none(damage: list[tuple[int, int]]) -> None:
    sps = bytearray(SPS_640X360)
    for at, value in damage:
        sps[at] = value
    size = h264.picture_size(bytes(sps))
    assert size is None or all(0 < side <= 0xFFFF for side in size)
