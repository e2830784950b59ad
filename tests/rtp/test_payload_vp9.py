"""VP9 payload descriptors: fields, scalability structures, damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.payload import MalformedPayload, vp9


def test_keyframe_with_a_scalability_structure() -> None:
    # I, L, B, E, V; picture 0x1234; TID 0, SID 0; TL0 9; two layers with sizes; a group of two pictures
    payload = bytes.fromhex("ae 9234 00 09 38 0140 00b4 0280 0168 02 04 01 00") + b"frame"
    info = vp9.describe(memoryview(payload))
    assert (info.keyframe, info.start) == (True, True)
    assert (info.width, info.height) == (640, 360)
    assert (info.picture_id, info.picture_id_bits, info.picture_id_at) == (0x1234, 15, 1)
    assert (info.tl0, info.tl0_at) == (9, 4)


def test_delta_frame_of_a_temporal_layer() -> None:
    info = vp9.describe(bytes.fromhex("ec 45 50 07") + b"frame")
    assert (info.keyframe, info.start, info.layer_sync, info.temporal_id) == (False, True, True, 2)
    assert (info.picture_id, info.picture_id_bits, info.tl0) == (0x45, 7, 7)


def test_an_upper_spatial_layer_begins_no_frame() -> None:
    info = vp9.describe(bytes.fromhex("a8 45 02 07") + b"frame")
    assert (info.keyframe, info.start) == (False, False)


def test_the_middle_of_a_keyframe_is_not_its_start() -> None:
    info = vp9.describe(bytes.fromhex("80 45") + b"frame")
    assert (info.keyframe, info.start) == (False, False)


def test_flexible_mode_has_references_and_no_tl0() -> None:
    info = vp9.describe(bytes.fromhex("f8 45 20 03 05 06") + b"frame")
    assert (info.temporal_id, info.tl0, info.tl0_at) == (1, None, -1)
    with pytest.raises(MalformedPayload, match="three"):
        vp9.describe(bytes.fromhex("f8 45 20 03 05 07 08") + b"frame")


def test_structure_without_sizes() -> None:
    info = vp9.describe(bytes.fromhex("8a 05 20") + b"frame")
    assert info.keyframe
    assert info.width is None


@pytest.mark.parametrize(
    "raw", ["", "08", "88", "8880", "888011", "a80100", "a8010000", "58", "5803", "0a", "0a18"]
)
def test_cut_off_within_the_descriptor(raw: str) -> None:
    with pytest.raises(MalformedPayload):
        vp9.describe(bytes.fromhex(raw))


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        info = vp9.describe(data)
    except MalformedPayload:
        return
    assert info.picture_id_at < len(data)
    assert info.tl0_at < len(data)
    assert not info.keyframe or info.start
