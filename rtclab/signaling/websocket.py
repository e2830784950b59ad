"""The carrier of pages: one WebSocket (RFC 6455) for each client, one JSON message in each text frame, media
of the tunnel (`rtclab.transport.tunnel_format`) in binary frames.

The room's close codes: 1000 the session is over, 1001 the server stops, 1009 a message is too long (see
`rtclab.signaling.messages`), 1013 there are too many clients, or one does not read what is sent to it. A
client whose socket is lost in any other way has its place kept and resumes it over the next.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Final

from tornado.httputil import HTTPServerRequest
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler

from ..transport.tunnel_format import MAX_MEDIA
from .carrier import ConnectGuest, Endpoint
from .messages import MAX_MESSAGE
from .shares import Grant, granted
from .web import Access, ProblemHandler

MAX_SOCKETS: Final = 2000
MAX_MEDIA_UNSENT: Final = 2 * MAX_MEDIA  # bytes that a client has not taken yet, before media is left out
MAX_UNSENT: Final = 4 * MAX_MESSAGE + MAX_MEDIA_UNSENT  # and before it is lost
PING_S: Final = 10.0


class SocketHub:
    """Every WebSocket client of one room; used on the engine's thread.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    limit : int
        Clients at once.
    """

    def __init__(self, connect: ConnectGuest, limit: int = MAX_SOCKETS) -> None:
        self.connect = connect
        self.limit = limit
        self.carriers: set[SocketCarrier] = set()

    def close(self) -> None:
        """Close every socket; the clients may come back."""
        for carrier in list(self.carriers):
            carrier.end(1001, "the server stops")

    def route(self, path: str, access: Access) -> Any:
        """A rule for a `tornado.web.Application`."""
        return (path, SignalingSocket, {"access": access, "hub": self})


class SocketCarrier:
    """The way to one client; see `rtclab.signaling.carrier.Carrier`.

    Parameters
    ----------
    hub : SocketHub
        Which it belongs to.
    socket : SignalingSocket or WebSocketClientConnection
        Its socket: one that the client dialed, or one dialed for it.
    kind : str
        The name shown in the trace.
    """

    def __init__(
        self, hub: SocketHub, socket: SignalingSocket | WebSocketClientConnection, kind: str = "websocket"
    ) -> None:
        self.kind = kind
        self.unsent = 0
        self.endpoint: Endpoint | None = None
        self._hub = hub
        self._socket: SignalingSocket | WebSocketClientConnection | None = socket
        hub.carriers.add(self)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; a client that does not read is lost."""
        if self._socket is None:
            return
        text = json.dumps(message, allow_nan=False).encode()
        if self.unsent + len(text) > MAX_UNSENT:
            # not from inside the room's own call
            asyncio.get_running_loop().call_soon(self.end, 1013, "messages are not read")
            return
        self._write(text, binary=False)

    def send_media(self, data: bytes) -> None:
        """Send media, unless too much waits already."""
        if self.unsent + len(data) <= MAX_MEDIA_UNSENT:
            self._write(data, binary=True)

    def _write(self, data: bytes, binary: bool) -> None:
        if self._socket is None:
            return
        try:
            sent = asyncio.ensure_future(self._socket.write_message(data, binary))
        except WebSocketClosedError:  # `lost` follows
            return
        self.unsent += len(data)
        sent.add_done_callback(lambda future: self._sent(len(data), future))

    def _sent(self, size: int, sent: asyncio.Future[None]) -> None:
        self.unsent -= size
        if not sent.cancelled():
            sent.exception()  # a socket closed meanwhile: nobody else asks

    def close(self) -> None:
        """End it from the room's side."""
        self.endpoint = None
        self.end(1000, "the session is over")

    def take(self, frame: str | bytes) -> None:
        """Hand over what the client sent: a message, or media."""
        if self.endpoint is None:
            return
        if isinstance(frame, bytes):
            self.endpoint.receive_media(frame)
            return
        if len(frame) > MAX_MESSAGE:
            self.end(1009, "a message is too long")
            return
        try:
            content = json.loads(frame)
        except (ValueError, RecursionError):
            content = None  # no message: the session's reply says so
        self.endpoint.receive(content)

    def end(self, code: int, reason: str) -> None:
        """Close the socket, and tell the room unless it was the room that closed it."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close(code, reason)
        self._hub.carriers.discard(self)
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            endpoint.lost(reason)


class SignalingSocket(ProblemHandler, WebSocketHandler):
    """Accepts a client's WebSocket."""

    max_message_size: ClassVar[int] = MAX_MEDIA
    ping_interval: ClassVar[float] = PING_S
    ping_timeout: ClassVar[float] = PING_S

    def __init__(
        self, application: Application, request: HTTPServerRequest, *, access: Access, hub: SocketHub
    ) -> None:
        self._access = access
        self._hub = hub
        self._carrier: SocketCarrier | None = None
        self._grant: Grant | None = None
        super().__init__(application, request)

    def prepare(self) -> None:
        self._grant = self._access.check(self.request, visit=True)

    def check_origin(self, origin: str) -> bool:
        return self._access.allows_origin(origin, self.request.host)

    def open(self, *args: str, **kwargs: str) -> None:
        if len(self._hub.carriers) >= self._hub.limit:
            self.close(1013, f"{self._hub.limit} clients are connected, which is all")
            return
        self.set_nodelay(True)
        self._carrier = SocketCarrier(self._hub, self)
        self._carrier.endpoint = granted(self._hub.connect, self._grant)(self._carrier)

    def on_message(self, message: str | bytes) -> None:
        if self._carrier is not None:
            self._carrier.take(message)

    def on_close(self) -> None:
        if self._carrier is not None:
            self._carrier.end(1000, f"the client closed its socket ({self.close_code or 'without a word'})")
