"""VP8 payload descriptors: every combination of fields, real encoder output, widening, damage."""

from __future__ import annotations

from fractions import Fraction

import pytest
from aiortc.codecs import vpx
from av import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.payload import MalformedPayload, PayloadInfo, describer, vp8

KEYFRAME = bytes.fromhex("10020 0 9d012a 8002 6801".replace(" ", "")) + b"rest"  # 640x360, no scaling bits
DELTA = b"\x31rest"


def descriptor(
    start: bool = True,
    picture_id: int | None = None,
    bits: int = 15,
    tl0: int | None = None,
    layer: tuple[int, bool] | None = None,
    key_index: int | None = None,
    partition: int = 0,
) -> bytes:
    """Write a descriptor field by field, after the figure in RFC 7741 section 4.2."""
    flags, fields = 0, b""
    if picture_id is not None:
        flags |= 0x80
        fields += (0x8000 | picture_id).to_bytes(2, "big") if bits == 15 else bytes([picture_id])
    if tl0 is not None:
        flags |= 0x40
        fields += bytes([tl0])
    if layer is not None or key_index is not None:
        flags |= (0x20 if layer else 0) | (0x10 if key_index is not None else 0)
        number, sync = layer or (0, False)
        fields += bytes([number << 6 | sync << 5 | (key_index or 0)])
    first = (0x10 if start else 0) | partition | (0x80 if flags else 0)
    return bytes([first]) + (bytes([flags]) if flags else b"") + fields


picture_ids = st.one_of(
    st.tuples(st.none(), st.just(15)),
    st.tuples(st.integers(0, 127), st.just(7)),
    st.tuples(st.integers(0, 0x7FFF), st.just(15)),
)


@given(
    st.booleans(),
    picture_ids,
    st.none() | st.integers(0, 255),
    st.none() | st.tuples(st.integers(0, 3), st.booleans()),
    st.none() | st.integers(0, 31),
    st.sampled_from([KEYFRAME, DELTA]),
)
def test_every_combination_of_fields(
    start: bool,
    picture: tuple[int | None, int],
    tl0: int | None,
    layer: tuple[int, bool] | None,
    key_index: int | None,
    body: bytes,
) -> None:
    picture_id, bits = picture
    payload = descriptor(start, picture_id, bits, tl0, layer, key_index) + body
    info = vp8.describe(memoryview(payload))
    keyframe = start and body is KEYFRAME
    assert (info.start, info.keyframe) == (start, keyframe)
    assert (info.width, info.height) == ((640, 360) if keyframe else (None, None))
    assert (info.temporal_id, info.layer_sync) == (layer or (0, False))
    assert (info.picture_id, info.tl0) == (picture_id, tl0)
    assert info.picture_id_bits == (0 if picture_id is None else bits)
    if tl0 is not None:
        assert payload[info.tl0_at] == tl0
    if picture_id is not None:
        raw = payload[info.picture_id_at : info.picture_id_at + (2 if bits == 15 else 1)]
        assert int.from_bytes(raw, "big") & (1 << bits) - 1 == picture_id

    wide = vp8.widen(payload, info)
    assert vp8.describe(wide) == info
    assert info.picture_id == picture_id
    assert info.picture_id_bits == (0 if picture_id is None else 15)
    assert len(wide) - len(payload) == (bits == 7)
    assert wide.endswith(body)


def test_the_start_of_a_later_partition_is_not_the_start_of_a_frame() -> None:
    info = vp8.describe(descriptor(partition=1) + KEYFRAME)
    assert not info.start
    assert not info.keyframe


def test_scaling_bits_are_not_part_of_the_size() -> None:
    frame = bytearray(KEYFRAME)
    frame[7] |= 0xC0
    frame[9] |= 0x40
    info = vp8.describe(descriptor() + frame)
    assert (info.width, info.height) == (640, 360)


def test_a_keyframe_cut_within_its_header_has_no_size() -> None:
    info = vp8.describe(descriptor() + KEYFRAME[:9])
    assert info.keyframe
    assert info.width is None


def test_payloads_of_an_encoder() -> None:
    encoder = vpx.Vp8Encoder()
    for number in range(3):
        frame = VideoFrame(320, 240, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        payloads, _ = encoder.encode(frame, force_keyframe=number == 2)
        infos = [vp8.describe(payload) for payload in payloads]
        assert [info.start for info in infos] == [True] + [False] * (len(infos) - 1)
        assert infos[0].keyframe is (number != 1)
        assert infos[0].width == (None if number == 1 else 320)
        assert len({info.picture_id for info in infos}) == 1


@pytest.mark.parametrize("raw", ["", "10", "80", "9080", "908081", "90808100", "90e0 01 02", "90f0010203"])
def test_cut_off_within_the_descriptor(raw: str) -> None:
    with pytest.raises(MalformedPayload):
        vp8.describe(bytes.fromhex(raw))


@given(st.binary(max_size=30))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        info = vp8.describe(data)
    except MalformedPayload:
        return
    assert info.picture_id_at < len(data)
    assert info.tl0_at < len(data)
    assert vp8.describe(vp8.widen(data, info)) == info


def test_describer_knows_codecs_by_any_case_and_lets_others_pass() -> None:
    assert describer("vp8") is describer("VP8") is vp8.describe
    for name in ("opus", "PCMU", "H265"):
        assert describer(name)(b"") == PayloadInfo(keyframe=True, start=True)
