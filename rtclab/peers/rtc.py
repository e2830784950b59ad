"""Every seam into aiortc and aioice that headless peers need, in one place.

A headless peer is a stock `RTCPeerConnection`. It needs help in nine things, all of them private to aiortc
1.16 and aioice 0.13: candidates on the loopback interface (aioice leaves it out), routes for
retransmissions when several m-lines share a payload type (aiortc routes RTX only when there is one), routes
by mid for streams that come before the answer that names them (aiortc gives them to another m-line), a
keyframe after the source of a sender has changed, a receiver that forgets the half frame of its previous
track and takes what comes before the answer that lets the next one in, pictures that go on after a loss
(`rtclab.peers.picture_buffer`), bytes counted for each m-line, what became of a TURN server that gave no
candidate (aioice keeps it for itself), and what perfect negotiation takes (W3C webrtc-pc section 10.7; aiortc
has no rollback, and lends an m-line of ours that is not negotiated yet to the first remote one of its kind).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aioice.ice
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc import rtcrtpreceiver as receivers
from aiortc.exceptions import InternalError, InvalidStateError, OperationError
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpRouter
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import RtpPacket
from aiortc.sdp import candidate_from_sdp

from ..errors import IceServerError, NegotiationError
from ..rtp.packet import MalformedRtp, is_rtcp, parse_rtp
from ..transport.servers import Policy, each
from ..transport.turn import allocated, problem
from .draining import drain_sockets
from .picture_buffer import PictureBuffer

UDP_IP_BYTES = 28
MOST_SSRCS = 256
LOOPBACK_V4, LOOPBACK_V6 = "127.0.0.1", "::1"

_CODECS = "_RTCRtpReceiver__codecs"
_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_NACK_GENERATOR = "_RTCRtpReceiver__nack_generator"
_PENDING_OFFER = "_RTCPeerConnection__pendingLocalDescription"
_CONNECT = "_RTCPeerConnection__connect"
_REMOTE_ICE = "_RTCPeerConnection__remoteIce"
_CONFIGURATION = "_RTCPeerConnection__configuration"
_ICE_STARTED = "_RTCIceTransport__start"
_SET_STATE = "_RTCPeerConnection__setSignalingState"
_UNNAMED = "-"  # no m-line has this mid

log = logging.getLogger("rtclab.peers")


@dataclass(frozen=True)
class Ice:
    """The STUN and TURN servers that a room wants used, as its welcome has them."""

    servers: tuple[Mapping[str, Any], ...] = ()
    policy: Policy = "all"


NO_SERVERS = Ice()

# While one of our own connections gathers: what has become of its TURN servers, None for those that have
# not answered.
_gathering: contextvars.ContextVar[dict[tuple[str, int], BaseException | None] | None] = (
    contextvars.ContextVar("rtclab_gathering", default=None)
)


def _with_loopback(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Host addresses with the loopback in front, but only while one of our own connections gathers."""

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses: list[str] = original(use_ipv4, use_ipv6)
        if _gathering.get() is not None:
            loopback = [LOOPBACK_V4] * use_ipv4 + [LOOPBACK_V6] * use_ipv6
            addresses = loopback + [address for address in addresses if address not in loopback]
        return addresses

    return get_host_addresses


def _with_reasons(original: Callable[..., Any]) -> Callable[..., Any]:
    """The candidate of a TURN server, or a note of why there is none."""

    async def relayed_candidate(**arguments: Any) -> Any:
        failures = _gathering.get()
        server = arguments["turn_server"]
        if failures is not None:
            failures[server] = None
        try:
            found = await allocated(lambda: original(**arguments))
        except Exception as error:
            if failures is not None:
                failures[server] = error
            raise
        if failures is not None:
            failures.pop(server, None)
        return found

    return relayed_candidate


aioice.ice.get_host_addresses = _with_loopback(aioice.ice.get_host_addresses)
aioice.ice.relayed_candidate = _with_reasons(aioice.ice.relayed_candidate)


def new_connection(ice: Ice = NO_SERVERS) -> RTCPeerConnection:
    """A connection that asks no servers but these and sends everything over one transport; on the running
    loop."""
    drain_sockets(asyncio.get_running_loop())
    return RTCPeerConnection(configuration(ice))


def use_servers(connection: RTCPeerConnection, ice: Ice) -> None:
    """Let a connection that has no m-line yet use these servers."""
    setattr(connection, _CONFIGURATION, configuration(ice))


def configuration(ice: Ice) -> RTCConfiguration:
    """What aiortc can use of it: the first STUN and the first TURN server, by name or IPv4 address."""
    servers = [
        RTCIceServer(server.url, server.username, server.credential)
        for server in each(ice.servers)
        if ":" not in server.host
    ]
    policy = RTCIceTransportPolicy(ice.policy)
    return RTCConfiguration(servers, policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)


@contextlib.contextmanager
def gathering(connection: RTCPeerConnection) -> Iterator[None]:
    """While the local description is being set: gather from the loopback too, and say what fails.

    Raises
    ------
    rtclab.errors.IceServerError
        There is no candidate at all.
    """
    failures: dict[tuple[str, int], BaseException | None] = {}
    before = _gathering.set(failures)
    try:
        yield
    finally:
        _gathering.reset(before)
    reasons = "; ".join(
        problem(f"the TURN server {host}:{port}", failures[host, port]) for host, port in failures
    )
    if "a=candidate:" not in connection.localDescription.sdp:
        reasons = reasons or "no TURN server is among them that a headless peer can use"
        raise IceServerError(
            f"there is no way to the room: {reasons}. Look at its ice_servers and its ice_transport_policy"
        )
    if reasons:
        log.warning("%s", reasons)


async def make_offer(connection: RTCPeerConnection) -> str:
    """Set the local description to a new offer, with all candidates, and return its SDP.

    Raises
    ------
    rtclab.errors.IceServerError
        The candidates may only be those of TURN servers, and these give none.
    """
    with gathering(connection):
        await connection.setLocalDescription(await connection.createOffer())
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
    _route_retransmissions(connection, sdp)


async def take_offer(connection: RTCPeerConnection, sdp: str) -> str:
    """Set the remote description to somebody's offer and return the SDP of the answer to it.

    Each of its m-lines that send gets a receiver here; ours stay what they are.

    Raises
    ------
    rtclab.errors.NegotiationError
        aiortc cannot use it; the connection is of no more use.
    rtclab.errors.IceServerError
        As for `make_offer`.
    """
    ours = [transceiver for transceiver in connection.getTransceivers() if transceiver.mid is None]
    try:
        for transceiver in ours:
            transceiver._set_mid(_UNNAMED)
            transceiver._offerDirection = "inactive"
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        with gathering(connection):
            await connection.setLocalDescription(await connection.createAnswer())
    except IceServerError:
        raise
    except Exception as error:  # whatever a parser makes of somebody's text
        raise NegotiationError("bad_sdp", f"the offer is not usable: {error}") from error
    finally:
        for transceiver in ours:
            transceiver._set_mid(None)  # type: ignore[arg-type]
    _route_retransmissions(connection, sdp)
    return str(connection.localDescription.sdp)


def roll_back(connection: RTCPeerConnection) -> None:
    """Take back an offer that was set as the local description and not answered (JSEP, RFC 9429 section
    4.1.10.2): its new m-lines may be offered again."""
    agreed = connection.remoteDescription  # of the last negotiation that was completed
    known = set(re.findall(r"^a=mid:(\S+)", agreed.sdp, re.MULTILINE)) if agreed is not None else set()
    setattr(connection, _PENDING_OFFER, None)
    getattr(connection, _SET_STATE)("stable")
    for transceiver in connection.getTransceivers():
        if transceiver.mid not in known:
            transceiver._set_mid(None)  # type: ignore[arg-type]
            transceiver._set_mline_index(None)  # type: ignore[arg-type]
        transceiver._bundled = True  # whoever owns the only transport may no longer come first
        ice = transceiver.receiver.transport.transport
        if ice.state == "new":
            ice._role_set = False  # the other's offer decides who controls


async def start_media(connection: RTCPeerConnection) -> None:
    """Start the senders and receivers that were negotiated while DTLS connected: aiortc passes them over."""
    await getattr(connection, _CONNECT)()


async def close(connection: RTCPeerConnection) -> None:
    """End a connection, even while it is being set up: aiortc and aioice would go on with that, and start
    the tasks of what is closed, which never end."""
    transceivers = connection.getTransceivers()
    getattr(connection, _REMOTE_ICE).clear()
    for transceiver in transceivers:
        transceiver._setCurrentDirection("inactive")
    await connection.close()
    for ice in {transceiver.receiver.transport.transport for transceiver in transceivers}:
        started: asyncio.Event | None = getattr(ice, _ICE_STARTED)
        if started is not None:  # its checks have ended: they wake up once more at the most
            await started.wait()
        if ice._connection._query_consent_task is not None:
            ice._connection._query_consent_task.cancel()


async def add_candidate(connection: RTCPeerConnection, candidate: str, sdp_mid: str | None) -> None:
    """Add a candidate that came after its description; one of an unknown kind is ignored."""
    transceivers = connection.getTransceivers()
    if transceivers and candidate.startswith("candidate:"):
        try:
            parsed = candidate_from_sdp(candidate.removeprefix("candidate:"))
            parsed.sdpMid = sdp_mid
            await transceivers[0].receiver.transport.transport.addRemoteCandidate(parsed)
        except (ValueError, AssertionError, IndexError):
            return


def fingerprint(sdp: str) -> str | None:
    """The first certificate fingerprint of a description; it stands for one connection of its sender."""
    found = re.search(r"^a=fingerprint:(\S+ \S+)", sdp, re.MULTILINE)
    return found[1].lower() if found else None


def _route_retransmissions(connection: RTCPeerConnection, sdp: str) -> None:
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


def route_by_mid(transport: RTCDtlsTransport) -> None:
    """Find the m-line of an SSRC seen for the first time by the packet's mid (RFC 9143 section 9.2).

    aiortc goes by payload types: while only one m-line receives video, it takes the first packets of the next
    one's for its own, and decodes a keyframe of somebody else.
    """
    router = transport._rtp_router
    by_payload_type = router.route_rtp

    def route_rtp(packet: RtpPacket) -> Any:
        mid = packet.extensions.mid
        if mid is not None and packet.ssrc not in router.ssrc_table:
            receiver = router.mid_table.get(mid)
            if receiver is None:  # the answer is on its way
                return None
            router.ssrc_table[packet.ssrc] = receiver
        return by_payload_type(packet)

    router.route_rtp = route_rtp  # type: ignore[method-assign]


def begin_stream(transceiver: RTCRtpTransceiver) -> None:
    """Prepare a receiver for a track: what it holds of its last one would be decoded as the first frame."""
    receiver = transceiver.receiver
    receiver._enabled = True  # what comes before the answer is the keyframe that all else needs
    if transceiver.kind == "video":
        setattr(receiver, _JITTER_BUFFER, PictureBuffer(getattr(receiver, _CODECS)))
        setattr(receiver, _NACK_GENERATOR, receivers.NackGenerator())
    else:
        setattr(receiver, _JITTER_BUFFER, receivers.JitterBuffer(16, prefetch=4))


class Count:
    """Packets and bytes of some SSRCs; `plain` bytes are those of whole RTP packets before encryption."""

    def __init__(self) -> None:
        self.packets = self.payload = self.plain = 0


class Meter:
    """Counts the RTP of one transport, by SSRC and direction."""

    def __init__(self, transport: RTCDtlsTransport) -> None:
        self._transport = transport
        self._sent: dict[int, Count] = {}
        self._received: dict[int, Count] = {}
        send, handle = transport._send_rtp, transport._handle_rtp_data

        async def send_rtp(data: bytes) -> None:
            await send(data)
            _add(self._sent, data)

        async def handle_rtp_data(data: bytes, arrival_time_ms: int) -> None:
            _add(self._received, data)
            await handle(data, arrival_time_ms)

        transport._send_rtp = send_rtp  # type: ignore[method-assign]
        transport._handle_rtp_data = handle_rtp_data  # type: ignore[method-assign]

    def sent(self, sender: RTCRtpSender) -> Count:
        """What a sender has sent, retransmissions included."""
        return _sum(self._sent.get(ssrc) for ssrc in (sender._ssrc, sender._rtx_ssrc))

    def received(self, receiver: RTCRtpReceiver) -> Count:
        """What a receiver was given, retransmissions included."""
        routes = self._transport._rtp_router.ssrc_table.items()
        return _sum(self._received.get(ssrc) for ssrc, owner in routes if owner is receiver)

    @property
    def overhead(self) -> int:
        """Bytes that SRTP, UDP and IPv4 add to each packet."""
        ssl = self._transport._ssl
        profile = ssl.get_selected_srtp_profile() if ssl is not None else b""
        return UDP_IP_BYTES + (10 if b"CM" in profile else 16)


def _add(counts: dict[int, Count], data: bytes) -> None:
    if is_rtcp(data[1]):
        return
    try:
        packet = parse_rtp(data, len(data))
    except MalformedRtp:
        return
    if len(counts) < MOST_SSRCS or packet.ssrc in counts:
        count = counts.setdefault(packet.ssrc, Count())
        count.packets += 1
        count.payload += packet.payload_length
        count.plain += len(data)


def _sum(counts: Iterable[Count | None]) -> Count:
    total = Count()
    for count in filter(None, counts):
        total.packets += count.packets
        total.payload += count.payload
        total.plain += count.plain
    return total


def missing_seams() -> list[str]:
    """The private names above that the installed aiortc does not have: none, or a release moved them."""
    used: list[tuple[Any, str]] = [
        (aioice.ice, "get_host_addresses"),
        (aioice.ice, "relayed_candidate"),
        (RTCRtpSender, "_send_keyframe"),
        (RTCRtpReceiver, "_handle_rtp_packet"),
        (receivers.JitterBuffer(16), "_origin"),
        (receivers.JitterBuffer(16), "_packets"),
        (receivers.JitterBuffer(16), "_remove_frame"),
        (receivers, "NackGenerator"),
        (RtpRouter(), "ssrc_table"),
        (RtpRouter(), "mid_table"),
        (RtpRouter, "route_rtp"),
        (RTCDtlsTransport, "_send_rtp"),
        (RTCDtlsTransport, "_handle_rtp_data"),
        (RTCPeerConnection, _SET_STATE),
        (RTCPeerConnection, _CONNECT),
        (RTCRtpTransceiver, "_set_mid"),
        (RTCRtpTransceiver, "_set_mline_index"),
    ]
    return [f"{owner!r}.{name}" for owner, name in used if not hasattr(owner, name)]
