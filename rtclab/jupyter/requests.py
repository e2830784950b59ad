"""HTTP requests that reach a room through the Jupyter server: they run through the room's own handlers.

A Tornado application is given a connection that keeps what is written to it, so WHIP and WHEP are answered
word by word as `rtclab serve` answers them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from ..signaling.carrier import ConnectGuest
from ..signaling.web import Access, NothingHere, PageFiles
from ..signaling.whip import WhipDesk
from .protocol import PAGE, REQUEST_HEADERS, RESPONSE_HEADERS

HOST: Final = "localhost"


class Admitted(Access):
    """Lets everybody in: the Jupyter server has asked for a login, and sees to other origins."""

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Nothing is said about origins here."""
        return False

    def check(self, request: HTTPServerRequest, visit: bool = False) -> None:
        """Let a request in."""


class _Connection(HTTPConnection):
    """Keeps one response."""

    def __init__(self) -> None:
        self.status = 500
        self.headers = HTTPHeaders()
        self.body = bytearray()
        self.finished = asyncio.get_running_loop().create_future()

    def set_close_callback(self, callback: object) -> None:
        """Nobody hangs up."""

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        self.status, self.headers = start_line.code, headers
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        self.body += chunk
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)


class Responder:
    """The HTTP side of a room behind a Jupyter server; used on the engine's thread.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    page : PageFiles, optional
        The page of share links.
    """

    def __init__(self, connect: ConnectGuest, page: PageFiles | None = None) -> None:
        access = Admitted()
        self._desk = WhipDesk(connect)
        self._application = Application(
            [*self._desk.routes(access), *(page.routes(PAGE) if page is not None else [])],
            default_handler_class=NothingHere,
            default_handler_args={"access": access},
            log_function=lambda handler: None,
        )

    @property
    def busy(self) -> bool:
        """Whether somebody is in the room by it."""
        return bool(self._desk.sessions)

    def close(self) -> None:
        """End every session."""
        self._desk.close()

    async def respond(self, method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        """The response to a request, as it stands in `rtclab.jupyter.protocol`."""
        connection = _Connection()
        delegate = self._application.start_request(None, connection)
        given = HTTPHeaders({name: headers[name] for name in REQUEST_HEADERS if name in headers})
        given["Host"] = HOST
        prepared = delegate.headers_received(RequestStartLine(method, path, "HTTP/1.1"), given)
        if prepared is not None:
            await prepared
        received = delegate.data_received(body.encode())
        if received is not None:
            await received
        delegate.finish()
        await connection.finished
        kept = [pair for pair in connection.headers.get_all() if pair[0] in RESPONSE_HEADERS]
        return {
            "status": connection.status,
            "headers": kept,
            "body": connection.body.decode("utf-8", "replace"),
        }
