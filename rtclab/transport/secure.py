"""What all transports with DTLS and SRTP have in common, whichever way their datagrams go.

new -> checking -> connecting -> connected <-> disconnected -> failed        (any) -> closed
       connect()   first check   DTLS done     silent 7 s      silent 12 s
"""

from __future__ import annotations

import ctypes
import logging
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import Closed, NegotiationError
from ..rtp.drops import Drop, Drops
from ..rtp.packet import is_rtcp
from . import dtls, srtp
from .ice import Credentials

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 30.0  # s from `connect` to the client's first authentic check
MAX_SSRCS = 1024  # from one client: libsrtp keeps state for each and searches it packet by packet

_SSRC = struct.Struct("!I")
_MIN_SRTP = 12 + 10  # bytes of an RTP header and the shortest tag
_unprotect = srtp.load().unprotect
_unprotect_rtcp = srtp.load().unprotect_rtcp

State = Literal["new", "checking", "connecting", "connected", "disconnected", "failed", "closed"]
Setup = Literal["passive", "active"]
Received = Callable[[memoryview, int, float], object]


@dataclass(frozen=True)
class RemoteParameters:
    """What an offer says of its transport.

    Attributes
    ----------
    ufrag, pwd : str
        ICE credentials.
    fingerprints : tuple of (algorithm, value)
        For instance ``(("sha-256", "4A:AD:.."),)``.
    setup : str
        ``"actpass"``, ``"active"`` or ``"passive"``.
    candidates : tuple of str
        What follows ``a=candidate:``; of no use to a lite agent.
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str = "actpass"
    candidates: tuple[str, ...] = ()


class Ice(Protocol):
    """What DTLS and SRTP need to know of ICE."""

    local: Credentials
    last_packet: float

    def disconnected(self, now: float) -> bool: ...

    def expired(self, now: float) -> bool: ...


def _ignore(*_: object) -> None:
    return None


class SecureTransport(ABC):
    """One client's DTLS and SRTP, and how it stands.

    Parameters
    ----------
    certificate : Certificate
        The room's.
    protector : RtcpProtector
        What protects RTCP.
    ice : Ice
        The client's ICE session.
    row : int
        Its row of the path table.
    drops : Drops
        Where drops are counted, those of `ice` too.

    Attributes
    ----------
    row : int
        Its row of the path table.
    ufrag, pwd : str
        This side's ICE credentials; `restart` changes them.
    fingerprint : str
        SHA-256 digest of the room's certificate, ``"4A:AD:.."``.
    setup : {"passive", "active"}
        This side's DTLS role as an answer states it; settled by `connect`.
    state : str
        ``"new"``, ``"checking"``, ``"connecting"``, ``"connected"``, ``"disconnected"``, ``"failed"`` or
        ``"closed"``.
    on_rtp, on_rtcp : callable
        Called with ``(buffer, length, now)`` for each decrypted packet. The buffer is writable and good only
        during the call; `now` is the event loop's time in seconds.
    on_state : callable
        Called with each new state.
    times : dict of str to float
        Loop times of ``"connect"``, ``"ICE nominated"`` and ``"DTLS connected"``.
    srtp_profile : str or None
        For instance ``"AEAD_AES_128_GCM"``, once connected.
    packets_received, bytes_received : int
        Authentic SRTP and SRTCP packets.
    packets_sent, bytes_sent : int
        Packets sent one at a time (DTLS, SRTCP); the fan-out counts its own.
    drops : Drops
        What was received from or meant for this client and dropped.
    """

    lite = True  # whether this side's ICE is

    def __init__(
        self,
        certificate: dtls.Certificate,
        protector: srtp.RtcpProtector,
        ice: Ice,
        row: int,
        drops: Drops,
    ) -> None:
        self.drops = drops
        self.row = row
        self.fingerprint = certificate.fingerprint
        self.setup: Setup = "passive"
        self.state: State = "new"
        self.on_rtp: Received = _ignore
        self.on_rtcp: Received = _ignore
        self.on_state: Callable[[State], object] = _ignore
        self.times: dict[str, float] = {}
        self.srtp_profile: str | None = None
        self.packets_received = 0
        self.bytes_received = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.ssrcs: set[int] = set()  # seen in authentic packets
        self.receive_context = 0
        self._send_context = 0
        self._ice: Ice = ice
        self._protector = protector
        self._dtls = dtls.Dtls(certificate, self._send, self._dtls_changed)
        self._remote: RemoteParameters | None = None
        self._length = ctypes.c_int()
        self._length_pointer = ctypes.addressof(self._length)

    def __repr__(self) -> str:
        where = f" {self.selected[0]} port {self.selected[1]}" if self.selected else ""
        return f"<{type(self).__name__} {self.row} {self.state}{where}>"

    @property
    def ufrag(self) -> str:
        """This side's ICE ufrag."""
        return self._ice.local.ufrag

    @property
    def pwd(self) -> str:
        """This side's ICE password."""
        return self._ice.local.pwd

    @property
    @abstractmethod
    def selected(self) -> tuple[str, int] | None:
        """Host and port of the client, once known."""

    @abstractmethod
    def candidates(self) -> list[str]:
        """This side's candidates, as they stand after ``a=`` in SDP."""

    def connect(self, remote: RemoteParameters) -> None:
        """Wait for the checks of the client that made the offer.

        Raises
        ------
        rtclab.errors.NegotiationError
            The offer has no fingerprint.
        rtclab.errors.Closed
            The transport is closed, or was connected before.
        """
        if self.state != "new":
            raise Closed(f"this transport is {self.state}; a transport is connected once")
        if not remote.fingerprints:
            raise NegotiationError("bad_sdp", "the offer has no a=fingerprint line")
        self._remote = remote
        self.setup = "active" if remote.setup == "passive" else "passive"
        self.times["connect"] = self._now()
        self._begin(remote)
        self._set_state("checking")

    def restart(self, remote: RemoteParameters) -> None:
        """Restart ICE: `ufrag` and `pwd` are new afterwards, DTLS goes on as it is.

        The path in use stays until the client has nominated one with the new credentials. An offer with the
        ufrag that is known already changes nothing.

        Raises
        ------
        rtclab.errors.Closed
            The transport is closed or was never connected.
        """
        if self._remote is None or self.state == "closed":
            raise Closed(f"this transport is {self.state}; ICE can be restarted only after connect()")
        if remote.ufrag == self._remote.ufrag:
            return
        self._begin_anew(remote)
        self._remote = remote
        if self.state in ("checking", "failed") and self._dtls.state == "new":
            self.times["connect"] = self._now()
            self._set_state("checking")
        elif self.state == "failed" and self._dtls.state == "connected":
            self._open_media()
            self._set_state("disconnected")

    def send_rtcp(self, data: bytes) -> None:
        """Protect and send one compound RTCP packet; what cannot be sent is counted in `drops`."""
        if not self._send_context:
            self.drops.add(Drop.NOT_CONNECTED)
            return
        packet = self._protector.protect(self._send_context, data)
        if packet is None:
            self.drops.add(Drop.SEND_ERROR)
            return
        self._send(packet)

    def close(self) -> None:
        """Say goodbye (DTLS close_notify) and forget the client; more calls do nothing."""
        if self.state == "closed":
            return
        self.state = "closed"
        sessions = self._dtls.sessions
        self._dtls.close()
        self._close_media()
        self._give_up(sessions)
        self._report("closed")
        self.on_rtp = self.on_rtcp = self.on_state = _ignore

    def receive_dtls(self, datagram: bytes) -> None:
        """Take a DTLS record from a validated source."""
        if not self._dtls.receive(datagram):
            self.drops.add(Drop.DTLS_QUEUE_FULL)

    def unprotect(self, view: memoryview, pointer: int, length: int, now: float) -> int:
        """Decrypt an SRTP or SRTCP packet where it lies, at `pointer`; returns its new length.

        0 for a packet that is not authentic or not wanted, which is counted in `drops`.
        """
        context = self.receive_context
        if not context:
            self.drops.add(Drop.NOT_CONNECTED)
            return 0
        if length < _MIN_SRTP:
            self.drops.add(Drop.SRTP_AUTH)
            return 0
        rtcp = is_rtcp(view[1])
        (ssrc,) = _SSRC.unpack_from(view, 4 if rtcp else 8)
        new = ssrc not in self.ssrcs
        if new and len(self.ssrcs) >= MAX_SSRCS:
            self.drops.add(Drop.UNKNOWN_SSRC)
            return 0
        self._length.value = length
        status = (_unprotect_rtcp if rtcp else _unprotect)(context, pointer, self._length_pointer)
        if status:
            self.drops.add(srtp.drop_reason(status))
            return 0
        if new:
            self.ssrcs.add(ssrc)
        self.packets_received += 1
        self.bytes_received += length
        self._ice.last_packet = now
        return self._length.value

    def hand_on(self, view: memoryview, length: int, now: float) -> None:
        """Give a decrypted packet to whom it is for."""
        (self.on_rtcp if is_rtcp(view[1]) else self.on_rtp)(view, length, now)

    def start_dtls(self) -> None:
        """Begin the handshake, once ICE has found a way."""
        if self.state == "checking" and self._remote is not None:
            self._dtls.start("server" if self.setup == "passive" else "client", self._remote.fingerprints)

    def tick(self, now: float) -> None:
        """Follow the clock: silence, recovery and expiry."""
        if self.state == "checking":
            if now - self.times["connect"] > CHECK_TIMEOUT:
                self._set_state("failed")
        elif self.state in ("connecting", "connected", "disconnected"):
            if self._ice.expired(now):
                self._close_media()  # consent to send is gone (RFC 7675)
                self._set_state("failed")
            elif self._ice.disconnected(now):
                self._set_state("disconnected")
            elif self.state == "disconnected":
                self._set_state("connected" if self._dtls.state == "connected" else "connecting")

    # what differs

    @abstractmethod
    def _now(self) -> float:
        """The event loop's time in seconds."""

    @abstractmethod
    def _begin(self, remote: RemoteParameters) -> None:
        """Expect the checks of the client."""

    @abstractmethod
    def _begin_anew(self, remote: RemoteParameters) -> None:
        """Expect checks with other credentials, and change this side's."""

    @abstractmethod
    def _transmit(self, datagram: bytes) -> None:
        """Send one datagram on the path in use."""

    @abstractmethod
    def _media_changed(self) -> None:
        """`_send_context` is another."""

    @abstractmethod
    def _give_up(self, keep: object) -> None:
        """Forget the client; the row and `keep` are used until the current callback has ended."""

    # what does not

    def _send(self, datagram: bytes) -> None:
        self.packets_sent += 1
        self.bytes_sent += len(datagram)
        self._transmit(datagram)

    def _dtls_changed(self, state: dtls.State) -> None:
        if self.state == "closed":
            return
        if state == "connecting":
            self._set_state("connecting")
        elif state == "connected":
            self.srtp_profile = self._dtls.profile
            self._open_media()
            self.times["DTLS connected"] = self._now()
            self._set_state("connected")
        elif state == "failed":
            self._set_state("failed")
        elif state == "closed":
            self.close()

    def _open_media(self) -> None:
        self.receive_context = self._dtls.receive_context
        self._send_context = self._dtls.send_context
        self._media_changed()

    def _close_media(self) -> None:
        self.receive_context = self._send_context = 0
        self._media_changed()

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._report(state)

    def _report(self, state: State) -> None:
        try:
            self.on_state(state)
        except Exception:  # it must not end a handshake or keep a transport from closing
            logger.exception("a transport's on_state failed")
