"""``rtclab serve``: a room without a notebook, over HTTP.

    /                 a page to publish and to view
    /whip /whep       media from and to any WHIP or WHEP client, see `rtclab.signaling.whip`
    /signaling        the room's own messages over a WebSocket, see `rtclab.signaling.websocket`
    /stats            the rows of `Room.stats` as JSON

Bound to loopback it needs no token; anywhere else it has one, made up when none is given.
"""

from __future__ import annotations

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

from .engine import get_engine
from .errors import RtclabError
from .room import Room
from .signaling.web import Access, RoomHandler
from .web_server import CLOSE_TIMEOUT, WebServer, bind, shown_host

DEFAULT_PORT: Final = 8080


class RoomServer(WebServer):
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
            sockets = bind(host, port)
        except OSError as error:
            raise RtclabError(
                f"HTTP cannot listen on {host} port {port} ({error.strerror or error}); "
                "stop what uses it, or choose another with --port (0 takes a free one)"
            ) from None
        self.room = room
        addresses = [str(bound.getsockname()[0]) for bound in sockets]
        exposed = not all(ipaddress.ip_address(address).is_loopback for address in addresses)
        self.token = token or (secrets.token_urlsafe(18) if exposed else None)
        super().__init__(room.connect, sockets, Access(self.token))
        self.base = f"http://{shown_host(host, room.host_candidates)}:{self.port}"

    def routes(self) -> list[Any]:
        """Rules for a `tornado.web.Application`."""
        return [*super().routes(), ("/stats", StatsHandler, {"access": self.access, "room": self.room})]

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
