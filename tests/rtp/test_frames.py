"""Frames into payloads and back: nothing is lost, strangers understand it, garbage is refused."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.frames import PAYLOAD_BYTES, depacketize, opus_samples, packetize
from rtclab.rtp.payload import MalformedPayload, describer

FILLER = 12
kinds = st.sampled_from([1, 5, 6, 7, 8])
bodies = st.one_of(st.binary(min_size=1, max_size=60), st.integers(1, 9000).map(lambda n: b"\x5a" * n))
# what an encoder escapes never occurs: two zeros before a byte below 4, and a zero at the end
units = st.builds(lambda kind, body: bytes((0x60 | kind,)) + body.replace(b"\0", b"\1"), kinds, bodies)


@given(st.binary(min_size=1, max_size=20_000), st.integers(0, 0x7FFF))
def test_a_vp8_frame_comes_back_and_its_payloads_are_even(frame: bytes, picture_id: int) -> None:
    payloads = packetize("VP8", frame, picture_id)
    assert depacketize("vp8", payloads) == frame
    assert b"".join(map(vp8_depayload, payloads)) == frame
    sizes = [len(payload) for payload in payloads]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= PAYLOAD_BYTES
    infos = [describer("VP8")(payload) for payload in payloads]
    assert [info.start for info in infos] == [True] + [False] * (len(payloads) - 1)
    assert {info.picture_id for info in infos} == {picture_id}


@given(st.lists(units, min_size=1, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_an_access_unit_comes_back(units: list[bytes], long: list[bool]) -> None:
    marks = [b"\0\0\0\1" if four else b"\0\0\1" for four in long]
    frame = b"".join(mark + unit for mark, unit in zip(marks, units, strict=False))
    payloads = packetize("H264", frame, 0)
    assert max(map(len, payloads)) <= PAYLOAD_BYTES
    expected = b"".join(b"\0\0\0\1" + unit for unit in units)
    assert depacketize("H264", payloads) == expected
    assert b"".join(map(h264_depayload, payloads)) == expected
    for payload in payloads:
        describer("H264")(payload)


def test_delimiters_and_filler_are_left_out() -> None:
    frame = b"\0\0\0\1\x09\xf0\0\0\1\x65\x88\x84\0\0\1" + bytes((FILLER, 0xFF, 0x80))
    assert packetize("H264", frame, 0) == [b"\x65\x88\x84"]


@pytest.mark.parametrize(
    "frame", [b"", b"\x65\x88", b"\0\0\1", b"\0\0\1\x65", b"\0\0\1\x1c\x85", b"\0\0\1\x09\xf0"]
)
def test_what_is_no_access_unit_is_refused(frame: bytes) -> None:
    with pytest.raises(MalformedPayload):
        packetize("H264", frame, 0)


@pytest.mark.parametrize("codec", ["VP8", "H264", "opus", "AV1"])
@given(payloads=st.lists(st.binary(max_size=40), max_size=4))
def test_garbage_is_refused_or_read(codec: str, payloads: list[bytes]) -> None:
    try:
        depacketize(codec, payloads)
    except MalformedPayload:
        assert codec != "opus"


@given(st.sampled_from(["VP8", "H264"]), st.binary(max_size=40))
def test_a_payload_that_is_described_can_be_read(codec: str, payload: bytes) -> None:
    try:
        info = describer(codec)(payload)
    except MalformedPayload:
        return
    if codec == "VP8" or payload[0] & 0x1F != 28:
        assert depacketize(codec, [payload])
    assert info.start in (True, False)


def test_a_stranger_decodes_what_was_cut_and_put_together() -> None:
    """Real H.264: each picture of x264, through payloads, decodes to what went in."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.bit_rate, encoder.framerate = 2_000_000, Fraction(30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "keyint=5:aud=1"}
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    random = np.random.default_rng(1)
    levels = []
    for number in range(10):
        level = 30 + 20 * number
        pixels = np.clip(random.normal(level, 8, (180, 320, 3)), 0, 255).astype(np.uint8)
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        for packet in encoder.encode(picture):
            payloads = packetize("H264", bytes(packet), 0)
            assert describer("H264")(payloads[0]).start
            decoded = decoder.decode(av.Packet(depacketize("H264", payloads)))
            levels += [float(one.to_ndarray(format="rgb24").mean()) for one in decoded]
    assert levels == pytest.approx([30 + 20 * number for number in range(10)], abs=4)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\x78\x01", 960),  # hybrid, 20 ms, one frame
        (b"\xfc\x01", 960),  # CELT, 20 ms
        (b"\xe0\x01", 120),  # CELT, 2.5 ms
        (b"\x18\x01", 2880),  # SILK, 60 ms
        (b"\x79\x01", 1920),  # two frames
        (b"\x7b\x03\x01", 2880),  # three, counted
        (b"\x1b\x03\x01", 0),  # 180 ms: more than a packet may hold
        (b"\x7b", 0),
        (b"", 0),
    ],
)
def test_opus_tells_its_duration(packet: bytes, samples: int) -> None:
    assert opus_samples(packet) == samples
