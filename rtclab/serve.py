"""``rtclab serve``: a room without a notebook, over HTTP.

    /                 a page to publish and to view
    /whip /whep       media from and to any WHIP or WHEP client, see `rtclab.signaling.whip`
    /signaling        the room's own messages over a WebSocket, see `rtclab.signaling.websocket`
    /stats            the rows of `Room.stats` as JSON

Tornado runs on the engine's loop, where the room is, so an offer is answered without a change of threads.
Bound to loopback it needs no token; anywhere else it has one, made up when none is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

import tornado.netutil
from tornado.httpserver import HTTPServer
from tornado.web import Application

from .engine import get_engine
from .errors import RtclabError
from .room import Room
from .signaling.web import Access, NothingHere, ProblemHandler, RoomHandler
from .signaling.websocket import SocketHub
from .signaling.whip import WhipDesk
from .widgets import bundle

DEFAULT_PORT: Final = 8080
CLOSE_TIMEOUT: Final = 5.0
IDLE_S: Final = 60.0  # how long a connection may be kept without a request
BODY_S: Final = 30.0  # how long a request's body may take
# what a page of ours needs: its own scripts, a preview of what it captures, a WebSocket to where it came from
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob: mediastream:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class RoomServer:
    """The HTTP side of a room.

    Parameters
    ----------
    room : Room
        The room; it stays open when the server stops.
    host : str
        Address or name to listen on.
    port : int
        TCP port; 0 takes a free one.
    token : str, optional
        What clients must show. Without one, it is made up unless `host` is loopback.

    Raises
    ------
    rtclab.errors.RtclabError
        The address cannot be listened on, or the token is none.
    """

    def __init__(
        self, room: Room, host: str = "127.0.0.1", port: int = DEFAULT_PORT, token: str | None = None
    ) -> None:
        if token is not None and not re.fullmatch(r"[!-~]{1,256}", token):
            raise RtclabError("--token must be 1 to 256 visible ASCII characters: it travels in a header")
        try:
            self._sockets = tornado.netutil.bind_sockets(port, host)
        except OSError as error:
            raise RtclabError(
                f"HTTP cannot listen on {host} port {port} ({error.strerror or error}); "
                "stop what uses it, or choose another with --port (0 takes a free one)"
            ) from None
        self.room = room
        addresses = [str(bound.getsockname()[0]) for bound in self._sockets]
        self.port: int = self._sockets[0].getsockname()[1]
        exposed = not all(ipaddress.ip_address(address).is_loopback for address in addresses)
        self.token = token or (secrets.token_urlsafe(18) if exposed else None)
        self.base = f"http://{_shown(host, room)}:{self.port}"
        self.desk = WhipDesk(room.connect)
        self.hub = SocketHub(room.connect)
        self._http: HTTPServer | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What ``rtclab serve`` prints when it is ready."""
        described: dict[str, Any] = {
            "url": f"{self.base}/" + (f"#token={self.token}" if self.token else ""),
            "whip": f"{self.base}/whip",
            "whep": f"{self.base}/whep",
            "udp_port": self.room.udp_port,
            "pid": os.getpid(),
        }
        return described | ({"token": self.token} if self.token else {})

    async def start(self) -> None:
        """Begin to answer; on the engine's loop."""
        access = Access(self.token)
        files = [(path, PageFile, {"text": text, "kind": kind}) for path, (kind, text) in _page().items()]
        application = Application(
            [
                *self.desk.routes(access),
                self.hub.route("/signaling", access),
                ("/stats", StatsHandler, {"access": access, "room": self.room}),
                *files,
            ],
            default_handler_class=NothingHere,
            default_handler_args={"access": access},
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


class PageFile(ProblemHandler):
    """A file of the page; nothing in it is secret."""

    def initialize(self, text: str, kind: str) -> None:
        self.text, self.kind = text, kind

    def get(self) -> None:
        """The file."""
        self.set_header("Content-Type", f"{self.kind}; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-cache")
        self.finish(self.text)

    head = get


class StatsHandler(RoomHandler):
    """The room's figures."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "OPTIONS")

    def initialize(self, access: Access, room: Room) -> None:  # type: ignore[override]
        super().initialize(access)
        self.room = room

    def get(self) -> None:
        """One object for each row of `Room.stats`."""
        self.admit()
        self.set_header("Content-Type", "application/json")
        self.finish(self.room.stats().to_json(orient="records"))


def _page() -> dict[str, tuple[str, str]]:
    """The files of the page by path, as type and text."""
    return {
        "/": ("text/html", bundle.page()),
        "/publisher.js": ("text/javascript", bundle.module("entry_page_publisher.js")),
        "/viewer.js": ("text/javascript", bundle.module("entry_page_viewer.js")),
        "/page.css": ("text/css", bundle.style() + bundle.page_style()),
    }


def _shown(host: str, room: Room) -> str:
    """The host that goes into URLs: for a wildcard, an address at which other machines reach this one."""
    if host in ("", "0.0.0.0", "::"):
        addresses = [candidate.split()[4] for candidate in room.host_candidates]
        outside = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
        host = next(iter([*outside, *addresses]), "127.0.0.1")
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _signals(stopped: threading.Event) -> Iterator[None]:
    """Meanwhile the first SIGINT or SIGTERM sets `stopped`; the next one acts as it did before."""
    before: dict[int, Any] = {}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def stop(*_: object) -> None:
        restore()
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def _print_line(description: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(description) + "\n")
    sys.stdout.flush()


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    udp_port: int = 0,
    token: str | None = None,
    architecture: str = "sfu",
    ready: Callable[[dict[str, Any]], None] = _print_line,
) -> None:
    """Run a room until SIGINT or SIGTERM; call it on the main thread.

    Parameters
    ----------
    host, port, token
        See `RoomServer`.
    udp_port : int
        The room's UDP port; 0 takes a free one.
    architecture : str
        How the room forwards.
    ready : callable
        Called with the description once requests are answered; prints it as one line of JSON.

    Raises
    ------
    rtclab.errors.RtclabError
        A port is in use.
    """
    stopped = threading.Event()
    engine = get_engine()
    with _signals(stopped), Room("room", udp_port=udp_port, architecture=architecture) as room:
        server = RoomServer(room, host, port, token)
        try:
            engine.run(server.start())
            ready(server.description)
            while not stopped.wait(1):  # not forever: Windows delivers a signal only between two waits
                pass
        finally:
            engine.run(server.stop(), 2 * CLOSE_TIMEOUT, "stopping the HTTP server")
