"""The kernel's way to its own Jupyter server: its rooms are registered there, and whoever comes is taken in.

There is one for each process, on the engine's loop, and it dials: neither a running cell nor a firewall is in
the way. It begins with the first room and ends with the last, comes back whenever it is lost, and is silent
where no server with the extension is found. See `rtclab.jupyter.protocol` for what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.netutil import Resolver
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from ..engine import Engine, get_engine
from ..errors import ShareRefused
from ..signaling.carrier import Connect, ConnectGuest
from ..signaling.web import PageFiles
from ..signaling.websocket import SocketCarrier, SocketHub
from ..transport.addresses import host_addresses
from .protocol import GOING_AWAY, MAX_CONTROL, MAX_FRAME, VERSION, room_path, share_path
from .record import Server, find_server, parent_pid, runtime_folder, service_prefix
from .requests import Responder

logger = logging.getLogger(__name__)

ENGINE: Final = "rtclab/engine"
DIAL_TIMEOUT: Final = 10.0  # s
SETTLE_TIMEOUT: Final = 1.0  # s that making a room may take longer, so that its first widget knows
FIRST_PAUSE: Final = 0.25  # s before another attempt
LONGEST_PAUSE: Final = 4.0  # a server that is started again is soon found; to look costs two small files
ACTIVE_S: Final = 30.0

Admit = Callable[[str, str], Connect]


@dataclass(eq=False)
class Listing:
    """A room as its uplink knows it.

    Attributes
    ----------
    id, name : str
        The room's.
    connect : callable
        Takes in a client, see `rtclab.signaling.carrier`.
    on_path : callable
        Told where the room is below the server's base URL, ``None`` while it is nowhere.
    admit : callable, optional
        From a share's token and the address of who shows it to what takes them in; raises
        `rtclab.errors.ShareRefused`.
    page : PageFiles, optional
        The page of share links.
    visited : callable
        Whether somebody is in the room by a port of the kernel's own.
    """

    id: str
    name: str
    connect: ConnectGuest
    on_path: Callable[[str | None], None] = lambda path: None
    admit: Admit | None = None
    page: PageFiles | None = None
    visited: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.hub = SocketHub(self.connect)
        self.responder = Responder(self.connect, self.page)
        self.path: str | None = None
        self.placed = asyncio.Event()
        self._uplink: Uplink | None = None

    async def register(self) -> None:
        """Register at the Jupyter server, in a kernel of one; waits a little for it."""
        self._uplink = get_uplink()
        if self._uplink is not None:
            self._uplink.add(self)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._uplink.settled(self), SETTLE_TIMEOUT)

    def withdraw(self) -> None:
        """Be found no more, and end what came through the server."""
        if self._uplink is not None:
            self._uplink.remove(self)

    def shown_at(self, origin: str) -> None:
        """Learn by which origin a page of the notebook is reached; on any thread."""
        if self._uplink is not None:
            self._uplink.shown_at(origin)

    @property
    def share_url(self) -> str | None:
        """Where the room's share links lead, as people reach it; None if it has never been registered."""
        base = self._uplink.public_url if self._uplink is not None else None
        return f"{base}{share_path(self.id)}/" if base is not None else None

    @property
    def busy(self) -> bool:
        """Whether somebody is in the room whom the server does not notice by itself."""
        return self.responder.busy or self.visited()

    def moved(self, path: str | None) -> None:
        """Learn where the room is."""
        if path != self.path:
            self.path = path
            try:
                self.on_path(path)
            except Exception:  # a widget's comm may fail in any way; the room is reached all the same
                logger.exception("not everybody could be told where the room is")
        if path is not None:
            self.placed.set()


class UnixResolver(Resolver):
    """Leads every name to a Unix socket."""

    def initialize(self, path: str) -> None:
        """Lead to `path`."""
        self._path = path

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:
        """The address that the socket has."""
        return [(socket.AF_UNIX, self._path)]


class Uplink:
    """The connection of one process to its Jupyter server; used on the engine's thread.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    find : callable
        From the server that was found before to the one to dial now; None when there is none.
    kernel : str, optional
        The kernel's id in the server.
    """

    def __init__(
        self, engine: Engine, find: Callable[[Server | None], Server | None], kernel: str | None = None
    ) -> None:
        self.engine = engine
        self._find = find
        self._kernel = kernel
        self._listings: dict[str, Listing] = {}
        self._server: Server | None = None
        self._former: Server | None = None
        self._socket: WebSocketClientConnection | None = None
        self._running: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._origin: str | None = None  # of the last page whose person has a login

    def shown_at(self, origin: str) -> None:
        """Learn the origin of a page whose person has a login; what is none is passed over."""
        if re.fullmatch(r"https?://[\w.:\[\]-]{1,255}", origin, re.ASCII):
            self._origin = origin

    @property
    def public_url(self) -> str | None:
        """The base URL by which people reach the server, as well as it is known here.

        Of a server on a Unix socket nothing is known until one of its pages has been heard of.
        """
        if self._server is None:
            return None
        own = urlsplit(self._server.url)
        if self._origin is not None:
            return f"{self._origin}{own.path}"
        if os.environ.get("JUPYTERHUB_PUBLIC_URL"):
            return os.environ["JUPYTERHUB_PUBLIC_URL"].rstrip("/") + "/"
        if self._server.exposed:
            host = host_addresses()[0]
            return f"{own.scheme}://{f'[{host}]' if ':' in host else host}:{own.port}{own.path}"
        return self._server.url

    # -- rooms ------------------------------------------------------------------------------------------

    def add(self, listing: Listing) -> None:
        """Register a room."""
        self._listings[listing.id] = listing
        if self._running is None:
            self._settled.clear()
            self._running = asyncio.ensure_future(self._run())
        else:
            self._register()

    def remove(self, listing: Listing) -> None:
        """Forget a room and end what came for it."""
        if self._listings.pop(listing.id, None) is None:
            return
        listing.moved(None)
        listing.hub.close()
        listing.responder.close()
        if self._listings:
            self._register()
        elif self._running is not None:
            self._running.cancel()
            self._running = None

    async def settled(self, listing: Listing) -> None:
        """Wait until a room is registered, or the first attempt to reach a server has failed."""
        await self._settled.wait()
        if self._socket is not None:
            await listing.placed.wait()

    # -- the connection ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause, failure = FIRST_PAUSE, ""
        try:
            while True:
                try:
                    self._server = self._find(self._former)
                    self._former = self._server or self._former
                    if self._server is not None and await self._stay(self._server):
                        pause, failure = FIRST_PAUSE, ""
                except Exception as error:  # the room must come back, whatever it was
                    if repr(error) != failure:  # once, and not with each attempt
                        logger.exception("the way to the Jupyter server has failed; it is tried again")
                    failure = repr(error)
                self._settled.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._settled.set()

    async def _stay(self, server: Server) -> bool:
        """Be connected for as long as it lasts; returns whether it was at all."""
        try:
            self._socket = await self.dial(server)
        except DIAL_ERRORS:
            return False
        active = asyncio.ensure_future(self._tell_active())
        try:
            self._settled.set()
            self._register()
            while (message := await self._socket.read_message()) is not None:
                self._take(message)
        finally:
            active.cancel()
            self._socket.close(GOING_AWAY)
            self._socket = None
            for listing in self._listings.values():
                listing.moved(None)
        return True

    @staticmethod
    async def dial(server: Server, path: str = ENGINE, size: int = MAX_CONTROL) -> WebSocketClientConnection:
        """Open a WebSocket to a server's extension, as a kernel; raises one of `DIAL_ERRORS`."""
        request = HTTPRequest(
            re.sub("^http", "ws", server.url) + path,
            headers={"Authorization": f"Bearer {server.key}"},
            connect_timeout=DIAL_TIMEOUT,
            request_timeout=DIAL_TIMEOUT,
            # the address is of this machine, its certificate made for another name
            validate_cert=False,
            # a hub with certificates of its own (internal_ssl) asks for one of everybody
            client_cert=os.environ.get("JUPYTERHUB_SSL_CERTFILE") or None,
            client_key=os.environ.get("JUPYTERHUB_SSL_KEYFILE") or None,
        )
        resolver = UnixResolver(server.sock) if server.sock is not None else None
        return await websocket_connect(request, max_message_size=size, resolver=resolver)

    def _tell(self, message: dict[str, Any]) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(WebSocketClosedError):
            sent = asyncio.ensure_future(self._socket.write_message(json.dumps(message)))
            sent.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _register(self) -> None:
        rooms = [{"id": listing.id, "name": listing.name} for listing in self._listings.values()]
        self._tell({"type": "register", "version": VERSION, "kernel": self._kernel, "rooms": rooms})

    async def _tell_active(self) -> None:
        while True:
            await asyncio.sleep(ACTIVE_S)
            if any(listing.busy for listing in self._listings.values()):
                self._tell({"type": "active"})

    # -- what the server says ---------------------------------------------------------------------------

    def _take(self, text: str | bytes) -> None:
        try:
            message = json.loads(text)
            kind = message["type"]
            if kind == "registered":
                for room in message["rooms"]:
                    if room in self._listings:
                        self._listings[room].moved(room_path(room))
            elif kind == "open":
                self._start(self._open(message["stream"], message))
            elif kind == "request":
                asked = [str(message[name]) for name in ("room", "method", "path", "body")]
                self._start(self._respond(message["id"], dict(message["headers"]), *asked))
        except (ValueError, KeyError, TypeError, RecursionError):
            return  # another version's

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _open(self, stream: str, message: dict[str, Any]) -> None:
        """Take somebody in, until they leave."""
        listing, server = self._listings.get(str(message.get("room"))), self._server
        if listing is None or server is None:
            self._refuse(stream, 404, "there is no such room: it was closed")
            return
        connect: Connect = listing.connect
        if message.get("kind") == "share":
            if listing.admit is None:
                self._refuse(stream, 403, "this room is not shared")
                return
            try:
                connect = listing.admit(str(message.get("token")), str(message.get("remote")))
            except ShareRefused as error:
                self._refuse(stream, error.status, str(error), error.code, error.retry_s)
                return
        else:
            self.shown_at(str(message.get("origin")))
        if len(listing.hub.carriers) >= listing.hub.limit:
            self._refuse(stream, 503, f"{listing.hub.limit} clients are connected, which is all")
            return
        try:
            socket = await self.dial(server, f"{ENGINE}/{stream}", MAX_FRAME)
        except DIAL_ERRORS:
            return  # the server, or whoever came, has given up
        if listing.id not in self._listings:
            socket.close(GOING_AWAY, "the room was closed")
            return
        carrier = SocketCarrier(listing.hub, socket, "server")
        carrier.endpoint = connect(carrier)
        while (frame := await socket.read_message()) is not None:
            carrier.take(frame)
        carrier.end(GOING_AWAY, f"the client closed its socket ({socket.close_code or 'without a word'})")

    def _refuse(
        self, stream: str, status: int, detail: str, code: str | None = None, retry_s: int | None = None
    ) -> None:
        refusal = {"stream": stream, "status": status, "detail": detail, "code": code, "retry_s": retry_s}
        self._tell({"type": "refuse", **refusal})

    async def _respond(
        self, number: int, headers: dict[str, str], room: str, method: str, path: str, body: str
    ) -> None:
        """Answer an HTTP request."""
        response: dict[str, Any] = {"status": 404, "headers": [], "body": ""}
        listing = self._listings.get(room)
        if listing is not None:
            response = await listing.responder.respond(method, path, headers, body)
        self._tell({"type": "response", "id": number, **response})


DIAL_ERRORS: Final = (OSError, HTTPClientError, WebSocketError, StreamClosedError, asyncio.TimeoutError)

_uplink: Uplink | None = None


def get_uplink() -> Uplink | None:
    """The uplink of this process's engine, made when first asked for; None outside a Jupyter kernel."""
    global _uplink
    if parent_pid() is None:
        return None
    engine = get_engine()
    if _uplink is None or _uplink.engine is not engine:
        _uplink = Uplink(engine, _find, kernel_id())
    return _uplink


def _find(former: Server | None) -> Server | None:
    return find_server(runtime_folder(), parent_pid(), former, service_prefix())


def kernel_id() -> str | None:
    """The id of this kernel in its Jupyter server, from the name of its connection file."""
    for argument in sys.argv:
        found = re.fullmatch(r"kernel-([\w-]+)\.json", os.path.basename(argument))
        if found:
            return found[1]
    return None
