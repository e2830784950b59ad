"""What is written here is read by aiortc's RTP code, and the other way round."""

from __future__ import annotations

from typing import Any

from aiortc import rtp

from rtclab.rtp import rtcp
from rtclab.rtp.packet import build_rtp, parse_rtp
from rtclab.rtp.rtcp import ReportBlock, parse_rtcp

stranger: Any = rtp  # its packets are told apart by their values here, not by their types
BLOCK = ReportBlock(7, 12, -3, 70000, 90, 0x11112222, 65536)


def test_reports() -> None:
    ntp = rtcp.to_ntp(1_700_000_000.25)
    compound = rtcp.sender_report(1, ntp, 2, 3, 4, [BLOCK]) + rtcp.receiver_report(1, [BLOCK])
    sender, receiver = stranger.RtcpPacket.parse(compound)
    assert (sender.ssrc, sender.sender_info.ntp_timestamp, sender.sender_info.octet_count) == (1, ntp, 4)
    for report in (sender.reports[0], receiver.reports[0]):
        assert (report.ssrc, report.fraction_lost, report.packets_lost) == (7, 12, -3)
        assert (report.highest_sequence, report.jitter, report.lsr, report.dlsr) == BLOCK[3:]
    assert parse_rtcp(bytes(sender) + bytes(receiver)) == parse_rtcp(compound)


def test_source_description_and_goodbye() -> None:
    for name in ("", "a", "ab", "abc", "{00000000-0000-0000-0000-000000000000}"):
        compound = rtcp.sdes(5, name) + rtcp.bye([5, 6])
        description, goodbye = stranger.RtcpPacket.parse(compound)
        assert description.chunks[0].ssrc == 5
        assert description.chunks[0].items == [(1, name.encode())]
        assert goodbye.sources == [5, 6]
        assert parse_rtcp(bytes(description) + bytes(goodbye)) == parse_rtcp(compound)


def test_feedback() -> None:
    lost = [65530, 65535, 0, 9, 100]
    compound = rtcp.nack(1, 2, lost) + rtcp.pli(1, 2) + rtcp.remb(1, 1_234_567, [2, 3])
    nack, pli, remb = stranger.RtcpPacket.parse(compound)
    assert (nack.fmt, nack.ssrc, nack.media_ssrc, nack.lost) == (1, 1, 2, lost)
    assert (pli.fmt, pli.media_ssrc, pli.fci) == (1, 2, b"")
    bitrate, ssrcs = stranger.unpack_remb_fci(remb.fci)
    assert (remb.fmt, ssrcs) == (15, [2, 3])
    assert parse_rtcp(compound)[2] == rtcp.Remb(1, bitrate, (2, 3))
    nack.lost.sort()
    assert parse_rtcp(bytes(nack)) == [rtcp.Nack(1, 2, (0, 9, 100, 65530, 65535))]


def test_media() -> None:
    built = build_rtp(
        96,
        65535,
        1 << 31,
        9,
        b"body",
        marker=True,
        csrcs=[1],
        extensions=[(3, b"a1"), (5, b"\x99")],
        padding=4,
    )
    extensions = stranger.HeaderExtensionsMap()
    extensions._HeaderExtensionsMap__ids.mid = 3
    packet = stranger.RtpPacket.parse(built, extensions)
    assert (packet.payload_type, packet.sequence_number, packet.timestamp) == (96, 65535, 1 << 31)
    assert (packet.ssrc, packet.csrc, packet.marker, packet.padding_size) == (9, [1], 1, 4)
    assert packet.payload == b"body"
    assert packet.extensions.mid == "a1"

    back = packet.serialize(extensions)
    parsed = parse_rtp(back, len(back))
    assert back[parsed.payload_start : parsed.payload_start + parsed.payload_length] == b"body"
    assert (parsed.marker, parsed.csrcs, parsed.padding) == (True, 1, 4)
