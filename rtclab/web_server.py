"""The HTTP side of a room on a TCP port of its own: a page, WHIP, WHEP, and signaling over a WebSocket.

Tornado runs on the engine's loop, where the room is, so an offer is answered without a change of threads. Who
is let in is for an `rtclab.signaling.web.Access` to say; the files of the page hold no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, Final

import tornado.netutil
from tornado.httpserver import HTTPServer
from tornado.web import Application

from .signaling.carrier import ConnectGuest
from .signaling.web import Access, NothingHere, PageFiles
from .signaling.websocket import SocketHub
from .signaling.whip import WhipDesk
from .widgets import bundle

CLOSE_TIMEOUT: Final = 5.0
IDLE_S: Final = 60.0  # how long a connection may be kept without a request
BODY_S: Final = 30.0  # how long a request's body may take
PAGE: Final = PageFiles(bundle.PAGE_FILES, bundle.page_file)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on an address.

    Raises
    ------
    OSError
        It cannot be listened on.
    """
    return tornado.netutil.bind_sockets(port, host)


class WebServer:
    """What a room shows over HTTP.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    sockets : list of socket.socket
        Where to listen, see `bind`.
    access : Access
        Who is let in.
    """

    def __init__(self, connect: ConnectGuest, sockets: list[socket.socket], access: Access) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self.access = access
        self.desk = WhipDesk(connect)
        self.hub = SocketHub(connect)
        self._sockets = sockets
        self._http: HTTPServer | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is in the room by it."""
        return bool(self.hub.carriers or self.desk.sessions)

    def routes(self) -> list[Any]:
        """Rules for a `tornado.web.Application`."""
        signaling = self.hub.route("/signaling", self.access)
        return [*self.desk.routes(self.access), signaling, *PAGE.routes()]

    async def start(self) -> None:
        """Begin to answer; on the engine's loop."""
        application = Application(
            self.routes(),
            default_handler_class=NothingHere,
            default_handler_args={"access": self.access},
            log_function=lambda handler: None,
        )
        self._http = HTTPServer(application, idle_connection_timeout=IDLE_S, body_timeout=BODY_S)
        self._http.add_sockets(self._sockets)

    async def stop(self) -> None:
        """Stop to answer; ends what came over HTTP and frees the port."""
        if self._http is None:
            for bound in self._sockets:
                bound.close()
            return
        self._http.stop()
        self.desk.close()
        self.hub.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._http.close_all_connections(), CLOSE_TIMEOUT)


def shown_host(host: str, candidates: Sequence[str]) -> str:
    """The host that goes into URLs: for a wildcard, an address at which other machines reach this one.

    Parameters
    ----------
    host : str
        What is listened on.
    candidates : sequence of str
        The room's ICE candidates.
    """
    if host in ("", "0.0.0.0", "::"):
        addresses = [candidate.split()[4] for candidate in candidates]
        outside = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
        host = next(iter([*outside, *addresses]), "127.0.0.1")
    return f"[{host}]" if ":" in host else host
