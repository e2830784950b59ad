"""A stock aiortc peer connection offers, and takes the room's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy

from rtclab.signaling.negotiation import (
    AcceptPublish,
    AcceptReceive,
    Decision,
    Inactive,
    LocalFields,
    Offer,
    Publishing,
    Receiving,
    build_answer,
    choose_codec,
    payload_type_for,
    read_offer,
)

LOCAL = LocalFields(
    "room", "p" * 24, ":".join(["A5"] * 32), "passive", ["candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"]
)


@pytest.fixture(autouse=True)
def _gather_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


def run(test: Callable[[RTCPeerConnection], Awaitable[None]]) -> None:
    async def main() -> None:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        try:
            await asyncio.wait_for(test(peer), 10)
        finally:
            await peer.close()

    asyncio.run(main())


def decide(offer: Offer, video: str = "VP8") -> dict[str, Decision]:
    decisions: dict[str, Decision] = {}
    for number, section in enumerate(offer.sections):
        if isinstance(section, Publishing):
            codec = choose_codec(section, [video], [])
            decisions[section.mid] = AcceptPublish(codec, section.rtx.get(codec.payload_type))
        elif isinstance(section, Receiving):
            rtx = 2000 + number if section.rtx else None
            decisions[section.mid] = AcceptReceive(1000 + number, rtx, "room", f"track{number}", "alice")
    return decisions


async def negotiate(peer: RTCPeerConnection, video: str = "VP8") -> Offer:
    await peer.setLocalDescription(await peer.createOffer())
    offer = read_offer(peer.localDescription.sdp)
    answer = build_answer(offer, decide(offer, video), LOCAL)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert peer.signalingState == "stable"
    return offer


@pytest.mark.parametrize("video", ["VP8", "H264"])
def test_publishing(video: str) -> None:
    async def test(peer: RTCPeerConnection) -> None:
        peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
        peer.addTransceiver(VideoStreamTrack(), direction="sendonly")
        offer = await negotiate(peer, video)
        section = offer.sections[1]
        assert isinstance(section, Publishing)
        assert len(section.ssrcs) == 1
        assert [transceiver.currentDirection for transceiver in peer.getTransceivers()] == ["sendonly"] * 2
        answer = read_answer_codecs(peer)
        assert answer == ["opus", video]

    run(test)


def read_answer_codecs(peer: RTCPeerConnection) -> list[str]:
    """The first codec of each m-line as aiortc understood the answer."""
    return [transceiver._codecs[0].mimeType.split("/")[1] for transceiver in peer.getTransceivers()]


def test_receiving() -> None:
    async def test(peer: RTCPeerConnection) -> None:
        tracks: list[Any] = []
        peer.on("track", tracks.append)
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
        offer = await negotiate(peer)
        assert [track.kind for track in tracks] == ["audio", "video"]
        assert [track.id for track in tracks] == ["track0", "track1"]
        audio, video = offer.sections
        assert isinstance(audio, Receiving)
        assert isinstance(video, Receiving)
        for codec in (*audio.codecs, *video.codecs):
            section = audio if codec.name == "opus" else video
            payload_type, rtx = payload_type_for(codec, section)
            assert payload_type is not None
            assert (rtx is None) == (codec.name == "opus")

    run(test)


def test_offers_that_grow() -> None:
    async def test(peer: RTCPeerConnection) -> None:
        peer.addTransceiver(VideoStreamTrack(), direction="sendonly")
        first = await negotiate(peer)
        peer.addTransceiver("video", direction="recvonly")
        peer.addTransceiver("audio", direction="recvonly")
        second = await negotiate(peer)
        assert first.remote == second.remote
        directions = [transceiver.currentDirection for transceiver in peer.getTransceivers()]
        assert directions == ["sendonly", "recvonly", "recvonly"]
        peer.getTransceivers()[0].direction = "inactive"
        await negotiate(peer)
        assert peer.getTransceivers()[0].currentDirection == "inactive"

    run(test)


def test_a_paused_m_line() -> None:
    async def test(peer: RTCPeerConnection) -> None:
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        offer = read_offer(peer.localDescription.sdp)
        answer = build_answer(offer, {"0": Inactive()}, LOCAL)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        assert peer.getTransceivers()[0].currentDirection == "inactive"

    run(test)


def test_every_bundle_policy() -> None:
    async def main() -> None:
        for policy in RTCBundlePolicy:
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=policy))
            peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
            peer.addTransceiver("video", direction="recvonly")
            offer = await negotiate(peer)
            assert offer.transport_mid == "0"
            await peer.close()

    asyncio.run(main())
