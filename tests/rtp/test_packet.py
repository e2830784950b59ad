"""RTP headers: what is read, and that nothing but MalformedRtp is raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.extensions import ONE_BYTE
from rtclab.rtp.packet import MalformedRtp, build_rtp, is_rtcp, parse_rtp

packets = st.builds(
    build_rtp,
    st.integers(0, 127),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15),
    extensions=st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=20)), max_size=4),
    padding=st.integers(0, 255),
)


def test_plain_header() -> None:
    packet = parse_rtp(bytes.fromhex("80e0 1234 89abcdef 01020304") + b"hello", 17)
    assert (packet.payload_type, packet.marker, packet.sequence) == (96, True, 0x1234)
    assert (packet.timestamp, packet.ssrc) == (0x89ABCDEF, 0x01020304)
    assert (packet.csrcs, packet.extension_profile, packet.padding) == (0, 0, 0)
    assert (packet.payload_start, packet.payload_length) == (12, 5)
    assert "seq=4660" in repr(packet)


def test_full_header_in_a_larger_buffer() -> None:
    built = build_rtp(
        111, 1, 2, 3, b"payload", csrcs=[4, 5], extensions=[(1, b"mid"), (4, b"\x80")], padding=6
    )
    packet = parse_rtp(memoryview(bytearray(built + b"rubbish")), len(built))
    assert (packet.csrcs, packet.extension_profile, packet.padding) == (2, ONE_BYTE, 6)
    assert (packet.extension_start, packet.extension_length) == (24, 8)
    assert built[packet.payload_start : packet.payload_start + packet.payload_length] == b"payload"


def test_padding_only_packet() -> None:
    built = build_rtp(96, 1, 2, 3, padding=255)
    packet = parse_rtp(built, len(built))
    assert (packet.payload_length, packet.padding) == (0, 255)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "80600001000000020000",  # 10 bytes
        "006000010000000200000003",  # version 0
        "c06000010000000200000003",  # version 3
        "816000010000000200000003",  # a CSRC that is not there
        "906000010000000200000003",  # no room for an extension
        "906000010000000200000003bede0001",  # an extension that is cut off
        "a06000010000000200000003",  # padding flag without payload
        "a0600001000000020000000300",  # padding of 0
        "a0600001000000020000000302",  # padding longer than the payload
    ],
)
def test_malformed(raw: str) -> None:
    data = bytes.fromhex(raw)
    with pytest.raises(MalformedRtp):
        parse_rtp(data, len(data))


def test_length_beyond_the_buffer() -> None:
    with pytest.raises(MalformedRtp):
        parse_rtp(build_rtp(96, 1, 2, 3), 13)


@given(packets)
def test_round_trip(raw: bytes) -> None:
    packet = parse_rtp(raw, len(raw))
    assert packet.payload_start + packet.payload_length + packet.padding == len(raw)
    assert packet.extension_start + packet.extension_length in (0, packet.payload_start)


@given(st.one_of(st.binary(max_size=80), packets), st.data())
def test_damaged_packets_are_read_or_refused(raw: bytes, data: st.DataObject) -> None:
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(damaged)))
    try:
        packet = parse_rtp(damaged, length)
    except MalformedRtp:
        return
    assert packet.payload_length >= 0
    assert packet.payload_start + packet.payload_length + packet.padding == length


@pytest.mark.parametrize(
    ("payload_type", "sequence", "ssrc", "padding"),
    [(128, 1, 3, 0), (96, 65536, 3, 0), (96, 1, -1, 0), (96, 1, 3, 256)],
)
def test_build_refuses_what_does_not_fit(payload_type: int, sequence: int, ssrc: int, padding: int) -> None:
    with pytest.raises(ValueError, match=r"range|at most"):
        build_rtp(payload_type, sequence, 2, ssrc, padding=padding)


def test_rtcp_is_told_from_rtp() -> None:
    assert [second for second in range(256) if is_rtcp(second)] == list(range(192, 224))
