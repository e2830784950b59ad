"""Header extension elements: both forms, garbage, and the values inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp import extensions
from rtclab.rtp.extensions import ONE_BYTE, TWO_BYTE, iter_extensions, pack_extensions

short = st.lists(st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), min_size=1, max_size=10)
long = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=255)), min_size=1, max_size=5)


def read(packed: bytes, profile: int) -> list[tuple[int, bytes]]:
    return [
        (number, packed[start : start + size])
        for number, start, size in iter_extensions(packed, 0, len(packed), profile)
    ]


@given(st.one_of(short, long))
def test_round_trip(items: list[tuple[int, bytes]]) -> None:
    profile, packed = pack_extensions(items)
    assert len(packed) % 4 == 0
    assert read(packed, profile) == items


def test_the_short_form_is_used_when_it_fits() -> None:
    assert pack_extensions([(14, bytes(16))])[0] == ONE_BYTE
    assert pack_extensions([(15, b"x")])[0] == TWO_BYTE
    assert pack_extensions([(1, b"")])[0] == TWO_BYTE
    assert pack_extensions([]) == (0, b"")


@pytest.mark.parametrize("item", [(0, b"x"), (256, b"x"), (1, bytes(256))])
def test_impossible_elements(item: tuple[int, bytes]) -> None:
    with pytest.raises(ValueError, match="ids are 1"):
        pack_extensions([item])


def test_padding_between_elements() -> None:
    assert read(bytes.fromhex("10aa 0000 21bbcc 00"), ONE_BYTE) == [(1, b"\xaa"), (2, b"\xbb\xcc")]
    assert read(bytes.fromhex("0101aa 00 020000 0300"), 0x100F) == [(1, b"\xaa"), (2, b""), (3, b"")]


@pytest.mark.parametrize(
    ("packed", "profile"),
    [
        ("10aa 01 20bb", ONE_BYTE),  # id 0 with a length
        ("10aa f0 20bb", ONE_BYTE),  # id 15
        ("10aa 2fbbcc", ONE_BYTE),  # longer than what is left
        ("0101aa 02", TWO_BYTE),  # no length
        ("0101aa 0205bb", TWO_BYTE),
    ],
)
def test_stops_at_garbage(packed: str, profile: int) -> None:
    assert read(bytes.fromhex(packed), profile) == [(1, b"\xaa")]


def test_other_profiles_have_no_elements() -> None:
    assert read(b"\x10\xaa\x00\x00", 0) == []
    assert read(b"\x10\xaa\x00\x00", 0x1010) == []


@given(
    st.binary(max_size=60), st.integers(0, 60), st.integers(0, 70), st.sampled_from([ONE_BYTE, TWO_BYTE, 7])
)
def test_random_bytes_stay_inside(data: bytes, start: int, length: int, profile: int) -> None:
    for _, at, size in iter_extensions(memoryview(data), start, length, profile):
        assert start < at <= at + size <= min(start + length, len(data))


def test_audio_level() -> None:
    assert extensions.audio_level(0x80 | 30) == (True, -30)
    assert extensions.audio_level(127) == (False, -127)


def test_abs_send_time_wraps_after_64_s() -> None:
    assert extensions.abs_send_time(0.5) == 1 << 17
    assert extensions.abs_send_time(64.5) == 1 << 17
    assert extensions.abs_send_time(3_900_000_000.25) == int(3_900_000_000.25 % 64 * 2**18)


def test_text_and_transport_sequence() -> None:
    assert extensions.text(memoryview(b"..audio0"), 2, 6) == "audio0"
    assert extensions.text(b"\xff\x00", 0, 2) is None
    assert extensions.text(b"a\n", 0, 2) is None
    assert extensions.text(b"", 0, 0) is None
    assert extensions.transport_sequence(b"\x00\xab\xcd", 1) == 0xABCD
