"""Every seam into aiortc and aioice that headless peers need, in one place.

A headless peer is a stock `RTCPeerConnection`. It needs help in four things, all of them private to aiortc
1.16 and aioice 0.13: candidates on the loopback interface (aioice leaves it out), routes for
retransmissions when several m-lines share a payload type (aiortc routes RTX only when there is one), a
keyframe after the source of a sender has changed, and a receiver that forgets the half frame of its
previous track.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc import rtcrtpreceiver as receivers
from aiortc.exceptions import InternalError, InvalidStateError, OperationError
from aiortc.rtcdtlstransport import RtpRouter
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from ..errors import NegotiationError

LOOPBACK_V4, LOOPBACK_V6 = "127.0.0.1", "::1"

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_NACK_GENERATOR = "_RTCRtpReceiver__nack_generator"

_gathering = contextvars.ContextVar("rtclab_gathering", default=False)


def _with_loopback(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Host addresses with the loopback in front, but only while one of our own connections gathers."""

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses: list[str] = original(use_ipv4, use_ipv6)
        if _gathering.get():
            loopback = [LOOPBACK_V4] * use_ipv4 + [LOOPBACK_V6] * use_ipv6
            addresses = loopback + [address for address in addresses if address not in loopback]
        return addresses

    return get_host_addresses


aioice.ice.get_host_addresses = _with_loopback(aioice.ice.get_host_addresses)


def new_connection() -> RTCPeerConnection:
    """A connection that asks no STUN server and sends everything over one transport."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


async def make_offer(connection: RTCPeerConnection) -> str:
    """Set the local description to a new offer, with all candidates, and return its SDP."""
    gathering = _gathering.set(True)
    try:
        await connection.setLocalDescription(await connection.createOffer())
    finally:
        _gathering.reset(gathering)
    return str(connection.localDescription.sdp)


async def take_answer(connection: RTCPeerConnection, sdp: str) -> None:
    """Set the remote description to the room's answer.

    Raises
    ------
    rtclab.errors.NegotiationError
        aiortc cannot use it.
    """
    try:
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    except (ValueError, AssertionError, InternalError, InvalidStateError, OperationError) as error:
        raise NegotiationError("bad_sdp", f"the room's answer is not usable: {error}") from error
    by_mid = {transceiver.mid: transceiver for transceiver in connection.getTransceivers()}
    for mid, ssrc in retransmission_ssrcs(sdp):
        transceiver = by_mid.get(mid)
        if transceiver is not None:
            router: RtpRouter = transceiver.receiver.transport._rtp_router
            router.ssrc_table[ssrc] = transceiver.receiver


def retransmission_ssrcs(sdp: str) -> list[tuple[str, int]]:
    """The (mid, SSRC) of every retransmission stream in a session description (RFC 5576 FID groups)."""
    found: list[tuple[str, int]] = []
    mid = ""
    groups: list[int] = []
    for line in [*sdp.splitlines(), "m="]:
        if line.startswith("m="):
            found += [(mid, ssrc) for ssrc in groups]
            mid, groups = "", []
        elif line.startswith("a=mid:"):
            mid = line[6:].strip()
        elif line.startswith("a=ssrc-group:FID "):
            groups += [int(number) for number in line.split()[2:] if number.isdigit()]
    return found


def send_keyframe(sender: RTCRtpSender) -> None:
    """Make the next frame of a sender a keyframe."""
    sender._send_keyframe()


def forget_stream(transceiver: RTCRtpTransceiver) -> None:
    """Drop what a receiver holds of its last track: it would be decoded as the first frame of the next."""
    receiver = transceiver.receiver
    video = transceiver.kind == "video"
    buffer = receivers.JitterBuffer(512, is_video=True) if video else receivers.JitterBuffer(16, prefetch=4)
    setattr(receiver, _JITTER_BUFFER, buffer)
    if video:
        setattr(receiver, _NACK_GENERATOR, receivers.NackGenerator())


def missing_seams() -> list[str]:
    """The private names above that the installed aiortc does not have: none, or a release moved them."""
    used: list[tuple[Any, str]] = [
        (aioice.ice, "get_host_addresses"),
        (RTCRtpSender, "_send_keyframe"),
        (RTCRtpReceiver, "_handle_rtp_packet"),
        (receivers, "JitterBuffer"),
        (receivers, "NackGenerator"),
        (RtpRouter(), "ssrc_table"),
    ]
    return [f"{owner!r}.{name}" for owner, name in used if not hasattr(owner, name)]
