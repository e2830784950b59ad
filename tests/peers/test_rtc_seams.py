"""The private parts of aiortc and aioice that headless peers rely on."""

from __future__ import annotations

import asyncio

import aioice.ice
from aiortc.rtp import RtpPacket

from rtclab.peers import rtc


def test_the_installed_aiortc_has_every_seam():
    assert rtc.missing_seams() == []


def test_own_offers_have_loopback_candidates_and_nobody_elses():
    async def main():
        connection = rtc.new_connection()
        connection.addTransceiver("video", "recvonly")
        connection.addTransceiver("video", "recvonly")
        sdp = await rtc.make_offer(connection)
        transceiver = connection.getTransceivers()[0]
        for name in (rtc._CODECS, rtc._JITTER_BUFFER, rtc._NACK_GENERATOR):
            assert hasattr(transceiver.receiver, name)
        for name in (rtc._REMOTE_ICE, rtc._PENDING_OFFER):
            assert hasattr(connection, name)
        for name in ("_bundled", "_offerDirection"):
            assert hasattr(transceiver, name)
        ice = transceiver.receiver.transport.transport
        for owner, name in (
            (ice, rtc._ICE_STARTED),
            (ice, "_role_set"),
            (ice._connection, "_query_consent_task"),
        ):
            assert hasattr(owner, name)
        old = getattr(transceiver.receiver, rtc._JITTER_BUFFER)
        rtc.begin_stream(transceiver)
        new = getattr(transceiver.receiver, rtc._JITTER_BUFFER)
        assert new is not old
        assert new.capacity == old.capacity
        assert hasattr(transceiver.receiver.transport, "_rtp_router")
        await connection.close()
        return sdp

    sdp = asyncio.run(main())
    assert " 127.0.0.1 " in sdp
    assert "a=group:BUNDLE 0 1" in sdp
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False)


def test_a_stream_that_comes_before_its_answer_is_nobody_elses():
    def packet(mid: str | None, ssrc: int) -> RtpPacket:
        made = RtpPacket(payload_type=97, ssrc=ssrc)
        made.extensions.mid = mid
        return made

    async def main():
        connection = rtc.new_connection()
        first, second = (connection.addTransceiver("video", "recvonly").receiver for _ in range(2))
        transport = first.transport
        rtc.route_by_mid(transport)
        router = transport._rtp_router
        router.register_receiver(first, [1], [97], "0")
        assert router.route_rtp(packet("0", 1)) is first
        assert router.route_rtp(packet("0", 2)) is first, "another SSRC of the same m-line"
        assert router.route_rtp(packet("1", 3)) is None
        assert router.route_rtp(packet(None, 4)) is first, "without a mid as aiortc has it"
        router.register_receiver(second, [3], [97], "1")
        assert router.route_rtp(packet("1", 3)) is second
        assert router.route_rtp(packet("1", 5)) is second
        await connection.close()

    asyncio.run(main())


def test_closing_while_it_connects_leaves_nothing_running():
    async def main():
        for wait in range(12):
            one, other = rtc.new_connection(), rtc.new_connection()
            for kind in ("video", "audio"):
                one.addTransceiver(kind, "sendonly")
            answer = await rtc.take_offer(other, await rtc.make_offer(one))
            await rtc.take_answer(one, answer)
            await asyncio.sleep(0.008 * wait)
            await rtc.close(one)
            await rtc.close(other)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=3)
        assert not [task for task in rest if not task.done()]

    asyncio.run(main())


def test_retransmission_streams_are_found_by_m_line():
    sdp = "\r\n".join(
        [
            "v=0",
            "m=video 9 UDP/TLS/RTP/SAVPF 97",
            "a=ssrc-group:FID 11 12",
            "a=mid:0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 96",
            "a=mid:1",
            "m=video 9 UDP/TLS/RTP/SAVPF 97",
            "a=mid:2",
            "a=ssrc-group:FID 21 22",
            "a=ssrc-group:SIM 1 2 3",
            "",
        ]
    )
    assert rtc.retransmission_ssrcs(sdp) == [("0", 12), ("2", 22)]
