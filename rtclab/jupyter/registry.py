"""The extension's side of the kernels: which rooms there are, and the way to each.

Everything runs on the Jupyter server's loop. See `rtclab.jupyter.protocol` for what is said.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .protocol import ID, MAX_CONTROL, MAX_FRAME, MAX_ROOMS, VERSION, close_code

MAX_STREAMS: Final = 1000
MAX_GUESTS: Final = 800  # of them, and as many of a hundred: the rest is for people with a login
MAX_WAITING: Final = 100  # questions to one kernel that it has not answered yet
MAX_GUESTS_WAITING: Final = 80
OPEN_TIMEOUT: Final = 10.0  # s
REQUEST_TIMEOUT: Final = 30.0  # s; a room gives up earlier
CROWDED_S: Final = 10  # after which some may have left
CROWDED: Final = f"too many are connected to this server; try again in {CROWDED_S} s"
SILENT: Final = "the kernel does not answer; a long computation may hold it up"


class Refused(HTTPError):  # noqa: N818 - it is an answer
    """The room, or the way to it, lets nobody in now.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        What is wrong, and what to do.
    code : str, optional
        Machine-readable reason.
    retry_s : int, optional
        Seconds after which another attempt may succeed.
    """

    def __init__(self, status: int, detail: str, code: str | None = None, retry_s: int | None = None) -> None:
        super().__init__(status, detail)
        self.detail = detail
        self.code = code
        self.retry_s = retry_s


class Response(NamedTuple):
    """What a room answers to an HTTP request."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class _Opening(NamedTuple):
    """Somebody whom a kernel is asked to take in."""

    engine: EngineSocket
    future: asyncio.Future[StreamSocket]
    guest: bool


class Registry:
    """The rooms of all kernels of one Jupyter server.

    Parameters
    ----------
    key : str
        What a kernel has to show.
    on_active : callable
        Called with a kernel's id, None if it is not known, whenever somebody in one of its rooms is active.
    """

    def __init__(self, key: str, on_active: Callable[[str | None], None] = lambda kernel: None) -> None:
        self.key = key
        self.on_active = on_active
        self.rooms: dict[str, EngineSocket] = {}
        self.streams: set[StreamSocket] = set()
        self._opening: dict[str, _Opening] = {}

    def room(self, room: str) -> EngineSocket:
        """The kernel that has a room.

        Raises
        ------
        Refused
            None has.
        """
        engine = self.rooms.get(room)
        if engine is None:
            raise Refused(404, "there is no such room: it was closed, or its kernel has ended")
        return engine

    async def open(
        self, room: str, kind: str, token: str | None, remote: str | None, origin: str | None = None
    ) -> StreamSocket:
        """Ask the kernel to take somebody in.

        Parameters
        ----------
        room : str
            The room's id.
        kind : str
            ``"signaling"`` for somebody with a Jupyter login, ``"share"`` for somebody with a token.
        token : str or None
            The token of a share.
        remote : str or None
            The address they come from.
        origin : str, optional
            The origin of their page, if that is the server's own.

        Raises
        ------
        Refused
            The kernel says no, or does not answer.
        """
        engine = self.room(room)
        guest = kind == "share"
        if len(self.streams) + len(self._opening) >= MAX_STREAMS or engine.waiting >= MAX_WAITING:
            raise Refused(503, CROWDED)
        if guest:
            connected = sum(stream.guest for stream in self.streams)
            waiting = [opening.engine for opening in self._opening.values() if opening.guest]
            if connected + len(waiting) >= MAX_GUESTS or waiting.count(engine) >= MAX_GUESTS_WAITING:
                raise Refused(429, CROWDED, "share_full", CROWDED_S)
        stream = secrets.token_urlsafe(12)
        future: asyncio.Future[StreamSocket] = asyncio.get_running_loop().create_future()
        self._opening[stream] = _Opening(engine, future, guest)
        try:
            engine.tell(
                {
                    "type": "open",
                    "stream": stream,
                    "room": room,
                    "kind": kind,
                    "token": token,
                    "remote": remote,
                    "origin": origin,
                }
            )
            return await asyncio.wait_for(future, OPEN_TIMEOUT)
        except asyncio.TimeoutError:
            raise Refused(504, SILENT) from None
        finally:
            del self._opening[stream]

    def dialed(self, stream: str, socket: StreamSocket) -> EngineSocket | None:
        """A kernel's end of a stream is there; None if nobody waits for it (any more)."""
        opening = self._opening.get(stream)
        if opening is None or opening.future.done():
            return None
        socket.guest = opening.guest
        opening.future.set_result(socket)
        return opening.engine

    def refused(self, engine: EngineSocket, stream: str, error: Refused) -> None:
        """A kernel says no to somebody."""
        opening = self._opening.get(stream)
        if opening is not None and opening.engine is engine and not opening.future.done():
            opening.future.set_exception(error)

    def waiting(self, engine: EngineSocket) -> int:
        """How many wait for a kernel to take them in."""
        return sum(opening.engine is engine for opening in self._opening.values())

    def lost(self, engine: EngineSocket) -> None:
        """A kernel is gone; what is connected to it ends by itself."""
        for room in [room for room, owner in self.rooms.items() if owner is engine]:
            del self.rooms[room]
        for stream in list(self._opening):
            self.refused(engine, stream, Refused(502, "the kernel has ended"))


class KernelSocket(WebSocketHandler):
    """A WebSocket that only a kernel of this user may open."""

    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    def prepare(self) -> None:
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(key.encode(), self.registry.key.encode())
        if scheme.lower() != "bearer" or not known or "Origin" in self.request.headers:  # no page's business
            raise HTTPError(403)

    @allow_unauthenticated
    async def get(self, *args: str) -> None:
        """Accept it; `prepare` has seen the key."""
        await super().get(*args)


class EngineSocket(KernelSocket):
    """The control connection of one kernel.

    Attributes
    ----------
    kernel : str or None
        The kernel's id in this server.
    names : dict
        Its rooms, names by id.
    """

    max_message_size = MAX_CONTROL

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self.kernel: str | None = None
        self.names: dict[str, str] = {}
        self._replies: dict[int, asyncio.Future[Response]] = {}
        self._numbers = itertools.count(1)
        super().__init__(application, request, **kwargs)

    @property
    def waiting(self) -> int:
        """How many questions the kernel has not answered yet."""
        return len(self._replies) + self.registry.waiting(self)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises
        ------
        Refused
            The kernel is gone, or would end the connection, as the message is too long.
        """
        text = json.dumps(message)
        if len(text) > MAX_CONTROL:
            raise Refused(413, "the request is too large for the way to the kernel")
        try:
            sent = self.write_message(text)
        except WebSocketClosedError:
            raise Refused(502, "the kernel has ended") from None
        sent.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def ask(self, message: dict[str, Any]) -> Response:
        """Pass on an HTTP request and wait for its response.

        Raises
        ------
        Refused
            There is none.
        """
        if self.waiting >= MAX_WAITING:
            raise Refused(503, "too many requests wait for this kernel; try again later")
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            self.tell({**message, "type": "request", "id": number})
            return await asyncio.wait_for(reply, REQUEST_TIMEOUT)
        except asyncio.TimeoutError:
            raise Refused(504, SILENT) from None
        finally:
            del self._replies[number]

    def on_message(self, message: str | bytes) -> None:
        try:
            content = json.loads(message)
            handle = {
                "register": self._register,
                "refuse": self._refuse,
                "response": self._response,
                "active": self._active,
            }[content["type"]]
            handle(content)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.close(1002, "this is no message that a kernel sends")

    def _register(self, message: dict[str, Any]) -> None:
        if message["version"] != VERSION:
            self.close(1002, f"the server has version {VERSION} of this protocol; restart it after updates")
            return
        names = {room["id"]: room["name"] for room in message["rooms"]}
        for room, name in names.items():
            if not isinstance(room, str) or not ID.fullmatch(room) or not isinstance(name, str):
                raise ValueError
        if len(names) > MAX_ROOMS:
            raise ValueError
        self.kernel = message["kernel"] if isinstance(message["kernel"], str) else None
        self.names = names
        rooms = self.registry.rooms
        for room in [room for room, owner in rooms.items() if owner is self and room not in names]:
            del rooms[room]
        rooms.update(dict.fromkeys(names, self))
        self.tell({"type": "registered", "rooms": list(names)})

    def _refuse(self, message: dict[str, Any]) -> None:
        status, detail = message["status"], str(message["detail"])
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError
        code, retry_s = message.get("code"), message.get("retry_s")
        refused = Refused(
            status,
            detail,
            code if isinstance(code, str) else None,
            retry_s if isinstance(retry_s, int) else None,
        )
        self.registry.refused(self, message["stream"], refused)

    def _response(self, message: dict[str, Any]) -> None:
        status, body = message["status"], str(message["body"])
        headers = [(str(name), str(value)) for name, value in message["headers"]]
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError
        reply = self._replies.get(message["id"])
        if reply is not None and not reply.done():
            reply.set_result(Response(status, headers, body))

    def _active(self, message: dict[str, Any]) -> None:
        self.registry.on_active(self.kernel)

    def on_close(self) -> None:
        self.registry.lost(self)
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Refused(502, "the kernel has ended"))


class End(WebSocketHandler):
    """One end of a stream, which passes on what it gets to the other."""

    max_message_size = MAX_FRAME

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self.ended = False
        self._other: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        super().__init__(application, request, **kwargs)

    def join(self, other: End) -> None:
        """Make two ends one stream; both can be written to."""
        for one, another in ((self, other), (other, self)):
            if not one._other.done():
                one._other.set_result(another)
            elif not another.ended:  # it has ended meanwhile
                another.close(close_code(one.close_code), one.close_reason)

    async def on_message(self, message: str | bytes) -> None:
        """Pass a frame on; the next one is read when this one is taken."""
        try:
            other = await self._other
            await other.write_message(message, isinstance(message, bytes))
        except (WebSocketClosedError, asyncio.CancelledError):  # the close code follows
            return

    def on_close(self) -> None:
        """Close the other end for the same reason."""
        self.ended = True
        if self._other.cancel() or self._other.cancelled():
            return
        other = self._other.result()
        if not other.ended:
            other.close(close_code(self.close_code), self.close_reason)


class StreamSocket(KernelSocket, End):
    """The kernel's end of a stream.

    Attributes
    ----------
    engine : EngineSocket or None
        The kernel.
    guest : bool
        Whether it is for somebody who came by a share link.
    """

    engine: EngineSocket | None = None
    guest = False

    def open(self, stream: str) -> None:
        """Begin: somebody waits for it."""
        self.set_nodelay(True)
        self.engine = self.registry.dialed(stream, self)
        if self.engine is None:
            self.close(close_code(None), "nobody waits for this any more")
            return
        self.registry.streams.add(self)

    def on_close(self) -> None:
        """End it in the registry, too."""
        self.registry.streams.discard(self)
        super().on_close()
