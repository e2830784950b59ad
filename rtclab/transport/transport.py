"""One client's transport on the room's UDP port: ICE-lite, DTLS and SRTP.

The port calls in with what it received; everything happens on the event loop's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rtp.drops import Drops
from .ice import IceLite, Source, new_credentials
from .secure import CHECK_TIMEOUT, RemoteParameters, SecureTransport, Setup, State

if TYPE_CHECKING:
    from .port import UdpPort

__all__ = ["CHECK_TIMEOUT", "RemoteParameters", "Setup", "State", "Transport"]


class Transport(SecureTransport):
    """One client on a `UdpPort`; made by `UdpPort.new_transport`.

    Attributes
    ----------
    ice : IceLite
        Its ICE session.
    path : Source or None
        What its row of the path table says.
    """

    def __init__(self, port: UdpPort) -> None:
        self._port = port
        drops = Drops()
        self.ice = IceLite(*new_credentials(), drops)
        super().__init__(port.certificate, port.protector, self.ice, port.paths.allocate(), drops)
        self.path: Source | None = None
        self.path_name = b""
        self.path_local = -1
        self._path_since = 0.0

    @property
    def selected(self) -> tuple[str, int] | None:
        """Host and port of the client, once known."""
        return (self.path.host, self.path.port) if self.path else None

    def candidates(self) -> list[str]:
        """The port's."""
        return self._port.candidates()

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
        if self.ice.selected is not None and (self.setup == "passive" or self.ice.nominated):
            super().start_dtls()

    def moved(self, source: Source, now: float) -> None:
        """An authentic packet that arrived at `now` came by another path than the selected one."""
        # one that waited since before the choice says nothing about it
        if now >= self._path_since and self.ice.moved(source):
            self._take_path(now)

    def _take_path(self, now: float) -> None:
        selected = self.ice.selected
        if selected is not None:
            self._path_since = now
            self.path = selected
            self.path_local = selected.local
            self.path_name = self._port.set_path(self.row, selected)

    # what differs from other transports

    def _now(self) -> float:
        return self._port.time()

    def _begin(self, remote: RemoteParameters) -> None:
        self.ice.connect(remote.ufrag, self._now())
        self._port.claim(self)

    def _begin_anew(self, remote: RemoteParameters) -> None:
        self.ice.restart(remote.ufrag, new_credentials(), self._now())
        self._port.claim(self)

    def _transmit(self, datagram: bytes) -> None:
        self._port.send(datagram, self.row)

    def _media_changed(self) -> None:
        self._port.paths.set_context(self.row, self._send_context)

    def _give_up(self, keep: object) -> None:
        self._port.unregister(self, keep)
