"""Receiver reports that lead datagrams are read all at once, and like one by one; nothing else is lost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp import rtcp
from rtclab.rtp.report_blocks import read_blocks

WORD = st.integers(0, 2**32 - 1)
BLOCKS = st.builds(
    rtcp.ReportBlock,
    WORD,
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    WORD,
    WORD,
    WORD,
    WORD,
)
REPORTS = st.builds(rtcp.receiver_report, WORD, st.lists(BLOCKS, max_size=31))
DESCRIPTIONS = st.builds(rtcp.sdes, WORD, st.text(max_size=20))
OTHERS = st.one_of(
    DESCRIPTIONS,
    REPORTS,
    st.builds(rtcp.pli, WORD, WORD),
    st.builds(rtcp.nack, WORD, WORD, st.lists(st.integers(0, 0xFFFF), max_size=3)),
    st.builds(rtcp.sender_report, WORD, st.just(1 << 63), WORD, WORD, WORD),
)
COMPOUNDS = st.lists(st.one_of(REPORTS, OTHERS), min_size=1, max_size=3).map(b"".join)


def side_by_side(datagrams: list[bytes]) -> tuple[npt.NDArray[np.uint8], list[int]]:
    slots = np.full((len(datagrams), 2048), 0xEE, np.uint8)
    for slot, datagram in zip(slots, datagrams, strict=True):
        slot[: len(datagram)] = np.frombuffer(datagram, np.uint8)
    return slots, [len(datagram) for datagram in datagrams]


@given(st.lists(COMPOUNDS, max_size=8))
def test_reports_are_read_like_one_by_one(datagrams: list[bytes]) -> None:
    blocks, rest = read_blocks(*side_by_side(datagrams))
    heard = [(place, packet) for place, start in rest for packet in rtcp.parse_rtcp(datagrams[place][start:])]
    for place, datagram in enumerate(datagrams):
        packets = rtcp.parse_rtcp(datagram)
        leading: tuple[rtcp.ReportBlock, ...] = ()
        if isinstance(packets[0], rtcp.ReceiverReport):
            leading = packets.pop(0).blocks  # type: ignore[union-attr]
        assert tuple(block for where, block in blocks if where == place) == leading
        left = [packet for where, packet in heard if where == place]
        passed_over = not left and all(isinstance(packet, rtcp.Sdes) for packet in packets)
        assert left == packets or (passed_over and len(packets) == 1)


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=8), st.booleans())
def test_what_is_no_report_is_left_whole(datagrams: list[bytes], like_a_report: bool) -> None:
    if like_a_report:
        datagrams = [b"\x81\xc9\0\7" + datagram for datagram in datagrams]
    blocks, rest = read_blocks(*side_by_side(datagrams))
    read = {place for place, _ in blocks}
    for place, datagram in enumerate(datagrams):
        if (place, 0) in rest:
            assert place not in read
            continue
        count, size = datagram[0] & 31, 4 * int.from_bytes(datagram[2:4], "big") + 4
        assert datagram[0] >> 5 == 4  # version 2, no padding
        assert datagram[1] == rtcp.RR
        assert 8 + 24 * count <= size <= len(datagram)


@pytest.mark.parametrize(
    "after",
    [
        rtcp.sdes(1, "bob")[:-4],  # cut off
        rtcp.sdes(1, "bob") + b"\0",
        rtcp.sdes(1, "bob") + rtcp.pli(1, 2),
        b"\xa1" + rtcp.sdes(1, "bob")[1:],  # padded
        b"\x81\xca",
    ],
)
def test_only_a_whole_description_is_passed_over(after: bytes) -> None:
    report = rtcp.receiver_report(5, [rtcp.ReportBlock(1, 2, -3, 4, 5, 6, 7)])
    slots, lengths = side_by_side([report + after, report + rtcp.sdes(1, "bob"), report])
    blocks, rest = read_blocks(slots, lengths)
    assert [place for place, _ in blocks] == [0, 1, 2]
    assert rest == [(0, len(report))]


def test_an_empty_slot_is_passed_over() -> None:
    report = rtcp.receiver_report(5, [rtcp.ReportBlock(1, 2, 3, 4, 5, 6, 7)])
    slots, lengths = side_by_side([report, report])
    assert [place for place, _ in read_blocks(slots, [0, lengths[1]])[0]] == [1]
    assert read_blocks(slots[:0], []) == ([], [])
