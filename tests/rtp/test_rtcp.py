"""RTCP: round trips, known bytes, and damage."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp import rtcp
from rtclab.rtp.rtcp import MalformedRtcp, ReportBlock, parse_rtcp

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
blocks = st.builds(ReportBlock, u32, u8, st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32)
TRANSPORT_FEEDBACK = bytes.fromhex(
    "8fcd0006 00000001 00000002 fffe0004 fffffe07"  # base 65534, 4 packets, reference -2, feedback 7
    "d200 04 ffff 000000"  # two bits: small, missing, large, missing; 1 ms, -0.25 ms
)

packets = st.one_of(
    st.builds(
        rtcp.sender_report, u32, st.integers(0, 2**64 - 1), u32, u32, u32, st.lists(blocks, max_size=40)
    ),
    st.builds(rtcp.receiver_report, u32, st.lists(blocks, max_size=40)),
    st.builds(rtcp.sdes, u32, st.text(max_size=60)),
    st.builds(rtcp.bye, st.lists(u32, max_size=31)),
    st.builds(rtcp.nack, u32, u32, st.lists(u16, max_size=40)),
    st.builds(rtcp.pli, u32, u32),
    st.builds(rtcp.fir, u32, st.lists(st.tuples(u32, u8), max_size=5)),
    st.builds(rtcp.remb, u32, st.integers(0, 1 << 40), st.lists(u32, max_size=5)),
    st.just(TRANSPORT_FEEDBACK),
)


def blocks_of(parsed: list[rtcp.RtcpPacket]) -> list[ReportBlock]:
    return [block for packet in parsed if isinstance(packet, rtcp.ReceiverReport) for block in packet.blocks]


@given(u32, st.integers(0, 2**64 - 1), u32, u32, u32, st.lists(blocks, max_size=70))
def test_sender_report(
    ssrc: int, ntp: int, rtp: int, count: int, octets: int, reports: list[ReportBlock]
) -> None:
    first, *more = parse_rtcp(rtcp.sender_report(ssrc, ntp, rtp, count, octets, reports))
    assert first == rtcp.SenderReport(ssrc, ntp, rtp, count, octets, tuple(reports[:31]))
    assert all(isinstance(packet, rtcp.ReceiverReport) and packet.ssrc == ssrc for packet in more)
    assert blocks_of(more) == reports[31:]


@given(u32, st.lists(blocks, max_size=70))
def test_receiver_report(ssrc: int, reports: list[ReportBlock]) -> None:
    parsed = parse_rtcp(rtcp.receiver_report(ssrc, reports))
    assert len(parsed) == max(-(-len(reports) // 31), 1)
    assert blocks_of(parsed) == reports


def test_counters_of_a_sender_report_wrap() -> None:
    (report,) = parse_rtcp(rtcp.sender_report(1, 2, 1 << 32, (1 << 32) + 5, (1 << 33) + 6))
    assert report == rtcp.SenderReport(1, 2, 0, 5, 6, ())


@given(u32, st.text(max_size=63))
def test_source_description(ssrc: int, name: str) -> None:
    (packet,) = parse_rtcp(rtcp.sdes(ssrc, name))
    assert packet == rtcp.Sdes((rtcp.SdesChunk(ssrc, name),))


def test_source_descriptions_with_other_items_and_several_chunks() -> None:
    raw = bytes.fromhex(
        "82ca0006 00000001 0203 616263 0101 62 00000000 00000002 02017800"  # NOTE-like item, CNAME b; tool x
    )
    assert parse_rtcp(raw) == [rtcp.Sdes((rtcp.SdesChunk(1, "b"), rtcp.SdesChunk(2, None)))]


@given(st.lists(u32, max_size=31))
def test_goodbye(ssrcs: list[int]) -> None:
    assert parse_rtcp(rtcp.bye(ssrcs)) == [rtcp.Bye(tuple(ssrcs))]


@given(u32, u32, st.integers(0, 0xFFFF), st.lists(st.integers(1, 40), max_size=60))
def test_nack(sender: int, media: int, first: int, gaps: list[int]) -> None:
    sequences = [first]
    for gap in gaps:
        sequences.append((sequences[-1] + gap) & 0xFFFF)
    raw = rtcp.nack(sender, media, sequences)
    assert parse_rtcp(raw) == [rtcp.Nack(sender, media, tuple(sequences))]


def test_nack_packs_seventeen_numbers_in_one_word() -> None:
    raw = rtcp.nack(1, 2, range(250, 267))
    assert raw == bytes.fromhex("81cd0003 00000001 00000002 00faffff")


def test_nack_masks_are_read_around_the_wrap() -> None:
    (packet,) = parse_rtcp(bytes.fromhex("81cd0003 00000001 00000002 fffe8005"))
    assert packet == rtcp.Nack(1, 2, (65534, 65535, 1, 14))


def test_keyframe_requests() -> None:
    assert parse_rtcp(rtcp.pli(1, 2)) == [rtcp.Pli(1, 2)]
    assert rtcp.pli(1, 2) == bytes.fromhex("81ce0002 00000001 00000002")
    assert parse_rtcp(rtcp.fir(1, [(2, 3), (4, 259)])) == [rtcp.Fir(1, ((2, 3), (4, 3)))]


@given(st.integers(0, (1 << 81) - 1), st.lists(u32, max_size=4))
def test_remb_loses_less_than_eighteen_bits_of_precision(bitrate: int, ssrcs: list[int]) -> None:
    (packet,) = parse_rtcp(rtcp.remb(1, bitrate, ssrcs))
    assert isinstance(packet, rtcp.Remb)
    assert packet.ssrcs == tuple(ssrcs)
    assert packet.bitrate <= bitrate <= packet.bitrate + packet.bitrate // (1 << 17)


def test_transport_feedback() -> None:
    (packet,) = parse_rtcp(TRANSPORT_FEEDBACK)
    assert isinstance(packet, rtcp.TransportFeedback)
    assert (packet.sender, packet.media, packet.base, packet.count) == (1, 2, 65534, 4)
    assert (packet.reference, packet.feedback_count) == (-2, 7)
    assert packet.arrivals == ((65534, -0.127), (65535, None), (0, -0.12725), (1, None))


def test_transport_feedback_chunks() -> None:
    raw = bytes.fromhex("8fcd0007 00000001 00000002 00000013 00000100 2003 a001 0002 04080c101400")
    (packet,) = parse_rtcp(raw)
    assert isinstance(packet, rtcp.TransportFeedback)
    received = {number: arrival for number, arrival in packet.arrivals if arrival is not None}
    assert received == {0: 0.065, 1: 0.067, 2: 0.07, 3: 0.074, 16: 0.079}
    assert len(packet.arrivals) == 19


def test_a_small_packet_cannot_claim_many_arrivals() -> None:
    one = bytes.fromhex("8fcd0006 00000001 00000002 00007ffc 00000100 1fff 1fff 1fff 1fff")
    assert len(parse_rtcp(one)) == 1
    with pytest.raises(MalformedRtcp, match="too many"):
        parse_rtcp(one + one)
    with pytest.raises(MalformedRtcp, match="too many"):
        parse_rtcp(one[:14] + b"\xff\xff" + one[16:])


def test_compound_and_unknown_types() -> None:
    unknown = bytes.fromhex(
        "80cf0001 00000001 8ccd0002 00000001 00000002 8fce0003 00000001 00000002 41424344"
    )
    compound = rtcp.receiver_report(1) + unknown + rtcp.sdes(1, "a") + rtcp.pli(1, 2)
    kinds = [type(packet) for packet in parse_rtcp(memoryview(compound))]
    assert kinds == [rtcp.ReceiverReport, rtcp.Sdes, rtcp.Pli]


def test_padding_only_at_the_end() -> None:
    padded = bytes.fromhex("a1ce0003 00000001 00000002 00000004")
    assert parse_rtcp(padded) == [rtcp.Pli(1, 2)]
    with pytest.raises(MalformedRtcp):
        parse_rtcp(padded + padded)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "80c900",
        "40c9000100000001",  # version 1
        "80c90000",  # a receiver report without SSRC
        "80c90002 00000001",  # longer than the datagram
        "81c9000100000001",  # a block that is not there
        "80c80001 00000001",  # no sender information
        "80cd0001 00000001",  # no media source
        "81cd0003 00000001 00000002",  # cut off
        "81ca0000",  # no chunk
        "81ca0002 00000001 01ff6161",  # an item that is cut off
        "81ca0002 00000001 01026161",  # a chunk that does not end
        "82cb0001 00000001",  # a source that is not there
        "8fce0003 00000001 00000000 52454d42",  # REMB without numbers
        "8fcd0002 00000001 00000002",  # transport feedback without anything
        "8fcd0005 00000001 00000002 00000001 00000000 60010000",  # symbol 3
        "8fcd0004 00000001 00000002 00000001 00000000",  # no chunk
        "a0c90001 00000000",  # padding of 0
        "a0c90001 00000009",  # padding longer than the packet
    ],
)
def test_malformed(raw: str) -> None:
    with pytest.raises(MalformedRtcp):
        parse_rtcp(bytes.fromhex(raw))


@given(st.lists(packets, min_size=1, max_size=3).map(b"".join), st.data())
def test_damaged_packets_are_read_or_refused(raw: bytes, data: st.DataObject) -> None:
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(u8)
    with suppress(MalformedRtcp):
        parse_rtcp(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


@given(st.integers(200, 207), u8, st.binary(max_size=64))
def test_random_bodies_are_read_or_refused(kind: int, first: int, body: bytes) -> None:
    body += bytes(-len(body) % 4)
    with suppress(MalformedRtcp):
        parse_rtcp(bytes((0x80 | first & 0x3F, kind)) + (len(body) // 4).to_bytes(2, "big") + body)


def test_builders_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        rtcp.sdes(1, "x" * 256)
    with pytest.raises(ValueError, match="31 sources"):
        rtcp.bye([1] * 32)
    with pytest.raises(ValueError, match="bit/s"):
        rtcp.remb(1, 1 << 81, [])


def test_ntp_time() -> None:
    assert rtcp.to_ntp(0.0) == 2_208_988_800 << 32
    assert rtcp.to_ntp(1.75) - rtcp.to_ntp(0.0) == 7 << 30
    assert rtcp.middle_32(0x1122334455667788) == 0x33445566
