"""Rooms as browsers and WHIP clients reach them, with the manners of any Jupyter handler."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from jupyter_server.auth.decorator import allow_unauthenticated, authorized, ws_authenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError

from ..signaling.messages import MAX_SDP
from ..signaling.web import EXPOSED, SecretQuery
from .protocol import GOING_AWAY, REQUEST_HEADERS, RESPONSE_HEADERS, room_path
from .registry import End, Refused, Registry, StreamSocket

AUTH_RESOURCE: Final = "rtclab:rooms"
MAX_BODY: Final = MAX_SDP  # bytes: what a room takes; as JSON it is up to six times as long
PING_S: Final = 10.0  # a page that is lost without a word makes room for its next connection


class BrowserSocket(SecretQuery, WebSocketMixin, End, JupyterHandler):
    """A browser's end of a stream."""

    auth_resource = AUTH_RESOURCE
    ping_interval = PING_S
    ping_timeout = PING_S

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self._kernels_end: StreamSocket | None = None
        super().__init__(application, request, **kwargs)

    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    def set_default_headers(self) -> None:
        """None: they make no sense for a WebSocket."""

    async def splice(self, room: str, kind: str, token: str | None = None) -> None:
        """Accept the socket once the kernel has taken it in; returns at its end.

        Raises
        ------
        tornado.web.HTTPError
            It is no WebSocket, comes from another origin, or the room refuses.
        """
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise HTTPError(426, "this is for WebSockets")
        if not self.check_origin():
            raise HTTPError(403, "pages of another origin are not let in")
        far = await self.registry.open(room, kind, token, self.request.remote_ip, self._own_origin())
        self._kernels_end = far
        try:
            if not self.ended:
                await super().get(room)
        finally:
            if not far.ended and self.ws_connection is None:
                far.close(GOING_AWAY, "the browser is gone")

    def _own_origin(self) -> str | None:
        """The origin of the page if that is the server's own, and not another one that Jupyter lets in.

        The scheme is for the page to say: a proxy may have ended TLS without a word about it.
        """
        origin = self.request.headers.get("Origin", "")
        return origin if origin.partition("://")[2].lower() == self.request.host.lower() else None

    def open(self, *args: str) -> None:
        """Join the two ends; that of the mixin would ping by its own rules."""
        assert self._kernels_end is not None
        self.set_nodelay(True)
        self.join(self._kernels_end)

    async def on_message(self, message: str | bytes) -> None:
        """Pass a frame on, and note that somebody is there."""
        if self._kernels_end is not None and self._kernels_end.engine is not None:
            self.registry.on_active(self._kernels_end.engine.kernel)
        await super().on_message(message)


class SignalingSocket(BrowserSocket):
    """A client of a room whose person has a Jupyter login."""

    @ws_authenticated
    @authorized(action="write")
    async def get(self, room: str) -> None:  # type: ignore[override]
        """Take part."""
        await self.splice(room, "signaling")


class RoomsHandler(SecretQuery, APIHandler):
    """The rooms of this server's kernels."""

    auth_resource = AUTH_RESOURCE

    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    @web.authenticated
    @authorized
    def get(self) -> None:
        """List them."""
        rooms = [
            {"id": room, "name": engine.names[room], "kernel": engine.kernel, "path": room_path(room)}
            for room, engine in self.registry.rooms.items()
        ]
        self.finish({"rooms": rooms})


class RoomRequestHandler(SecretQuery, APIHandler):
    """WHIP and WHEP: each request is answered by the room itself."""

    auth_resource = AUTH_RESOURCE

    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    def compute_etag(self) -> str | None:
        """None: an ETag names an ICE generation here."""
        return None

    async def _pass_on(self, room: str, path: str) -> None:
        engine = self.registry.room(room)
        if len(self.request.body) > MAX_BODY:
            raise Refused(413, f"the body is larger than {MAX_BODY // 1024} KiB")
        try:
            body = self.request.body.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(400, "the body is no UTF-8 text") from None
        given = self.request.headers
        response = await engine.ask(
            {
                "room": room,
                "method": self.request.method,
                "path": f"/{quote(path)}",
                "headers": {name: given[name] for name in REQUEST_HEADERS if name in given},
                "body": body,
            }
        )
        self.set_status(response.status)
        kind = "application/json"
        for name, value in response.headers:
            if name == "Content-Type":
                kind = value
            elif name == "Location":
                self.set_header(name, url_path_join(self.base_url, room_path(room), value))
            elif name in RESPONSE_HEADERS:
                self.add_header(name, value)
        self.set_header("Access-Control-Expose-Headers", EXPOSED)
        self.finish(response.body or None, set_content_type=kind)

    @web.authenticated
    @authorized
    async def get(self, room: str, path: str) -> None:
        """See `rtclab.signaling.whip`, as for the other methods."""
        await self._pass_on(room, path)

    @web.authenticated
    @authorized
    async def head(self, room: str, path: str) -> None:
        await self._pass_on(room, path)

    @web.authenticated
    @authorized
    async def post(self, room: str, path: str) -> None:
        await self._pass_on(room, path)

    @web.authenticated
    @authorized
    async def patch(self, room: str, path: str) -> None:
        await self._pass_on(room, path)

    @web.authenticated
    @authorized
    async def delete(self, room: str, path: str) -> None:
        await self._pass_on(room, path)

    @allow_unauthenticated
    def options(self, *args: str, **kwargs: str) -> None:
        """What a page of another origin may ask, where Jupyter lets one in at all."""
        super().options(*args, **kwargs)
        allowed = self._headers.get("Access-Control-Allow-Headers", "")
        self.set_header("Access-Control-Allow-Headers", f"{allowed}, if-match")


def routes(base_url: str, registry: Registry) -> list[Any]:
    """Rules for the web application of a Jupyter server."""
    shared = {"registry": registry}
    room = url_path_join(base_url, room_path(r"([\w-]+)"))
    return [
        (url_path_join(base_url, "rtclab/rooms"), RoomsHandler, shared),
        (f"{room}/signaling", SignalingSocket, shared),
        (f"{room}/((?:whip|whep)(?:/[^/]+)?|sessions/[\\w-]+)", RoomRequestHandler, shared),
    ]
