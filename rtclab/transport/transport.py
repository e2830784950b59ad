"""One client's transport: ICE-lite, DTLS and SRTP on the room's UDP port.

    new -> checking -> connecting -> connected <-> disconnected -> failed        (any) -> closed
           connect()   first check   DTLS done     silent 7 s      silent 12 s

The port calls in with what it received; everything happens on the event loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import Closed, NegotiationError
from ..rtp.drops import Drop, Drops
from . import dtls
from .ice import IceLite, Source, new_credentials

if TYPE_CHECKING:
    from .port import UdpPort

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 30.0  # s from `connect` to the client's first authentic check

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
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str = "actpass"


def _ignore(*_: object) -> None:
    return None


class Transport:
    """One client on a `UdpPort`; made by `UdpPort.new_transport`.

    Attributes
    ----------
    row : int
        Its row of ``port.paths``.
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

    def __init__(self, port: UdpPort) -> None:
        self._port = port
        self.drops = Drops()
        self.ice = IceLite(*new_credentials(), self.drops)
        self.row = port.paths.allocate()
        self.fingerprint = port.certificate.fingerprint
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
        self.path: Source | None = None  # what its row of the path table says
        self.path_name = b""
        self.path_local = -1
        self._path_since = 0.0
        self.ssrcs: set[int] = set()  # seen in authentic packets
        self.receive_context = 0
        self._send_context = 0
        self._dtls = dtls.Dtls(port.certificate, self._send, self._dtls_changed)
        self._remote: RemoteParameters | None = None

    def __repr__(self) -> str:
        where = f" {self.selected[0]} port {self.selected[1]}" if self.selected else ""
        return f"<Transport {self.row} {self.state}{where}>"

    @property
    def ufrag(self) -> str:
        """This side's ICE ufrag."""
        return self.ice.local.ufrag

    @property
    def pwd(self) -> str:
        """This side's ICE password."""
        return self.ice.local.pwd

    @property
    def selected(self) -> tuple[str, int] | None:
        """Host and port of the client, once known."""
        return (self.path.host, self.path.port) if self.path else None

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
        now = self._port.time()
        self._remote = remote
        self.setup = "active" if remote.setup == "passive" else "passive"
        self.ice.connect(remote.ufrag, now)
        self._port.claim(self)
        self.times["connect"] = now
        self._set_state("checking")

    def restart(self, remote: RemoteParameters) -> None:
        """Restart ICE: `ufrag` and `pwd` are new afterwards, DTLS goes on as it is.

        The address in use stays until the client has nominated one with the new credentials. An offer with
        the ufrag that is known already changes nothing.

        Raises
        ------
        rtclab.errors.Closed
            The transport is closed or was never connected.
        """
        if self._remote is None or self.state == "closed":
            raise Closed(f"this transport is {self.state}; ICE can be restarted only after connect()")
        if remote.ufrag == self._remote.ufrag:
            return
        self._remote = remote
        self.ice.restart(remote.ufrag, new_credentials(), self._port.time())
        self._port.claim(self)
        if self.state in ("checking", "failed") and self._dtls.state == "new":
            self.times["connect"] = self._port.time()
            self._set_state("checking")
        elif self.state == "failed" and self._dtls.state == "connected":
            self._open_media()
            self._set_state("disconnected")

    def send_rtcp(self, data: bytes) -> None:
        """Protect and send one compound RTCP packet; what cannot be sent is counted in `drops`."""
        if not self._send_context:
            self.drops.add(Drop.NOT_CONNECTED)
            return
        packet = self._port.protector.protect(self._send_context, data)
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
        self._port.unregister(self, sessions)
        self._report("closed")
        self.on_rtp = self.on_rtcp = self.on_state = _ignore

    # called by the port

    def receive_check(self, data: bytes, source: Source, now: float) -> bytes | None:
        """Take a STUN datagram that names this transport's ufrag and return the answer."""
        answer = self.ice.receive(data, source, now)
        if source in self.ice.sources:
            self._port.claim(self, source)
        if self.ice.selected != self.path:
            self._take_path(now)
        if self.ice.nominated and "ICE nominated" not in self.times:
            self.times["ICE nominated"] = now
        return answer

    def start_dtls(self) -> None:
        """Begin the handshake once ICE allows it; called after a check was answered."""
        # a server answers a client that is already talking; a ClientHello before nomination would be lost
        ready = self.ice.selected is not None and (self.setup == "passive" or self.ice.nominated)
        if ready and self.state == "checking" and self._remote is not None:
            self._dtls.start("server" if self.setup == "passive" else "client", self._remote.fingerprints)

    def receive_dtls(self, datagram: bytes) -> None:
        """Take a DTLS record from a validated source."""
        if not self._dtls.receive(datagram):
            self.drops.add(Drop.DTLS_QUEUE_FULL)

    def moved(self, source: Source, now: float) -> None:
        """An authentic packet that arrived at `now` came by another path than the selected one."""
        # one that waited since before the choice says nothing about it
        if now >= self._path_since and self.ice.moved(source):
            self._take_path(now)

    def tick(self, now: float) -> None:
        """Follow the clock: silence, recovery and expiry."""
        if self.state == "checking":
            if now - self.times["connect"] > CHECK_TIMEOUT:
                self._set_state("failed")
        elif self.state in ("connecting", "connected", "disconnected"):
            if self.ice.expired(now):
                self._close_media()  # consent to send is gone (RFC 7675)
                self._set_state("failed")
            elif self.ice.disconnected(now):
                self._set_state("disconnected")
            elif self.state == "disconnected":
                self._set_state("connected" if self._dtls.state == "connected" else "connecting")

    def _take_path(self, now: float) -> None:
        selected = self.ice.selected
        if selected is not None:
            self._path_since = now
            self.path = selected
            self.path_local = selected.local
            self.path_name = self._port.set_path(self.row, selected)

    def _send(self, datagram: bytes) -> None:
        self.packets_sent += 1
        self.bytes_sent += len(datagram)
        self._port.send(datagram, self.row)

    def _dtls_changed(self, state: dtls.State) -> None:
        if self.state == "closed":
            return
        if state == "connecting":
            self._set_state("connecting")
        elif state == "connected":
            self.srtp_profile = self._dtls.profile
            self._open_media()
            self.times["DTLS connected"] = self._port.time()
            self._set_state("connected")
        elif state == "failed":
            self._set_state("failed")
        elif state == "closed":
            self.close()

    def _open_media(self) -> None:
        self.receive_context = self._dtls.receive_context
        self._send_context = self._dtls.send_context
        self._port.paths.srtp[self.row] = self._send_context

    def _close_media(self) -> None:
        self.receive_context = self._send_context = 0
        self._port.paths.srtp[self.row] = 0

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._report(state)

    def _report(self, state: State) -> None:
        try:
            self.on_state(state)
        except Exception:  # it must not end a handshake or keep a transport from closing
            logger.exception("a transport's on_state failed")
