"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): media in and out of a room by plain HTTP requests.

    POST /whip/alice   an offer that sends       -> 201, the answer; alice is in the room and publishes
    POST /whep/alice   an offer that receives    -> 201, the answer; alice's audio and video
    POST /whip         the room chooses the name;  POST /whep: whoever published first
         201: Location: /sessions/<secret>   ETag: "ICE generation"   Link: <stun:..>; rel="ice-server"
    PATCH /sessions/<secret>   If-Match: "ICE generation", candidates            -> 204
                               If-Match: *, another ufrag and pwd (ICE restart)  -> 200, the room's side, ETag
    DELETE /sessions/<secret>                                                    -> 200

The room sends no counter-offer, which WHEP leaves to the server. With nothing to receive the answer is 409
with Retry-After, as WHEP says; a name that is taken is 409, too. An offer that cannot be used whole is 422,
one that cannot be read 400. A session whose transport dies is over, and its URL answers 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from ..errors import SignalingError
from .carrier import Connect, ConnectGuest
from .guests import VIEW_ONLY
from .http_session import NOTHING_LIVE, HttpSession
from .messages import MAX_SDP
from .sdpfrag import MAX_FRAGMENT, MEDIA_TYPE, parse_fragment
from .shares import granted
from .web import Access, Problem, RoomHandler

SDP: Final = "application/sdp"
MAX_SESSIONS: Final = 2000
RETRY_S: Final = 2  # what Retry-After says
STATUS: Final = {
    "bad_message": 400,
    "bad_sdp": 400,
    "too_large": 413,
    "no_codec": 422,
    "not_allowed": 422,
    "name_taken": 409,
    "offer_pending": 409,
    NOTHING_LIVE: 409,
    "room_closed": 503,
}


class WhipDesk:
    """The WHIP and WHEP sessions of one room; used on the engine's thread.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    limit : int
        Sessions at once; one more is answered 503.
    path : str
        Where this is mounted: the path before ``/whip``.
    """

    def __init__(self, connect: ConnectGuest, limit: int = MAX_SESSIONS, path: str = "") -> None:
        self.connect = connect
        self.limit = limit
        self.path = path
        self.sessions: dict[str, HttpSession] = {}

    def open(self) -> HttpSession:
        """A new session, not begun yet.

        Raises
        ------
        Problem
            503: there are too many.
        """
        if len(self.sessions) >= self.limit:
            raise Problem(
                503, f"{self.limit} sessions are open, which is all", headers={"Retry-After": str(RETRY_S)}
            )
        session = HttpSession(self._ended)
        self.sessions[session.id] = session
        return session

    def _ended(self, session: HttpSession) -> None:
        self.sessions.pop(session.id, None)

    def close(self) -> None:
        """End every session."""
        for session in list(self.sessions.values()):
            session.leave()

    def routes(self, access: Access) -> list[Any]:
        """Rules for a `tornado.web.Application`."""
        shared = {"access": access, "desk": self}
        return [
            (rf"{self.path}/whip(?:/([^/]+))?/?", WhipEndpoint, shared),
            (rf"{self.path}/whep(?:/([^/]+))?/?", WhepEndpoint, shared),
            (rf"{self.path}/sessions/([\w-]+)", SessionHandler, shared),
        ]


def _problem(error: SignalingError | asyncio.TimeoutError) -> Problem:
    if not isinstance(error, SignalingError):
        return Problem(503, "the room did not answer in time", headers={"Retry-After": str(RETRY_S)})
    status = STATUS.get(error.code, 500)
    wait = {"Retry-After": str(RETRY_S)} if error.code == NOTHING_LIVE else None
    return Problem(status, str(error), error.code, wait)


class _Handler(RoomHandler):
    desk: WhipDesk

    def initialize(self, access: Access, desk: WhipDesk) -> None:  # type: ignore[override]
        super().initialize(access)
        self.desk = desk


class WhipEndpoint(_Handler):
    """Where a publisher begins."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "OPTIONS")
    max_body: ClassVar[int] = MAX_SDP

    def options(self, *_: str | None) -> None:
        super().options()
        self.set_header("Accept-Post", SDP)

    def get(self, *_: str | None) -> None:
        """Nothing, successfully: an endpoint has no representation."""
        self.admit()
        self.set_status(204)

    head = get

    async def post(self, name: str | None = None) -> None:
        """Begin a session."""
        offer = self.admit(SDP)
        session = self.desk.open()
        try:
            connect = granted(self.desk.connect, self.grant)
            agent = self.request.headers.get("User-Agent", "")
            answer = await self._begin(session, connect, name, agent, offer)
        except BaseException as error:
            session.leave()
            if isinstance(error, SignalingError | asyncio.TimeoutError):
                raise _problem(error) from None
            raise
        self.set_status(201)
        self.set_header("Content-Type", SDP)
        self.set_header("Location", f"{self.desk.path}/sessions/{session.id}")
        self.set_header("ETag", session.etag)
        self.set_header("Accept-Patch", MEDIA_TYPE)
        for link in _links(session.ice_servers):
            self.add_header("Link", link)
        # RFC 9725 section 4.4.1 wants the attribute; it is implied by how the room answers
        self.finish(answer.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n"))

    async def _begin(
        self, session: HttpSession, connect: Connect, name: str | None, agent: str, offer: str
    ) -> str:
        if self.grant is not None and self.grant.role == "viewer":
            raise Problem(403, VIEW_ONLY, "not_allowed")
        return await session.publish(connect, name, agent, offer)


class WhepEndpoint(WhipEndpoint):
    """Where a viewer begins."""

    def get(self, *_: str | None) -> None:
        """Nothing, but of the type by which players know a WHEP endpoint."""
        self.admit()
        self.set_header("Content-Type", SDP)

    head = get

    async def _begin(
        self, session: HttpSession, connect: Connect, name: str | None, agent: str, offer: str
    ) -> str:
        return await session.watch(connect, name, agent, offer)


class SessionHandler(_Handler):
    """A session that has begun."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "PATCH", "DELETE", "OPTIONS")
    max_body: ClassVar[int] = MAX_FRAGMENT

    def options(self, *_: str | None) -> None:
        super().options()
        self.set_header("Accept-Patch", MEDIA_TYPE)

    def get(self, name: str) -> None:
        """Nothing, successfully: a session has no representation."""
        self.admit()
        self._session(name)
        self.set_status(204)

    head = get

    async def patch(self, name: str) -> None:
        """Trickle, or restart ICE."""
        self.access.check(self.request)
        session = self._session(name)
        body = self.admit(MEDIA_TYPE)
        expected = self.request.headers.get("If-Match")
        if expected is None:
            raise Problem(428, "If-Match is needed: the ETag of the session, or * to restart ICE")
        try:
            fragment = parse_fragment(body)
            # the examples of RFC 9725 have "*" in quotes
            tags = {tag.strip() for tag in expected.split(",")}
            if not tags & {"*", '"*"', session.etag}:
                raise Problem(412, "the session is in another ICE generation than If-Match names")
            restarted = await session.patch(fragment)
        except (SignalingError, asyncio.TimeoutError) as error:
            raise _problem(error) from None
        if restarted is None:
            self.set_status(204)
            return
        self.set_header("Content-Type", MEDIA_TYPE)
        self.set_header("ETag", session.etag)
        self.finish(restarted)

    def delete(self, name: str) -> None:
        """End the session."""
        self.access.check(self.request)
        self._session(name).leave()

    def _session(self, name: str) -> HttpSession:
        session = self.desk.sessions.get(name)
        if session is None:
            raise Problem(404, "there is no such session: it has ended, or never was")
        return session


def _links(ice_servers: list[dict[str, Any]]) -> Iterator[str]:
    """A Link header for each URL of the W3C RTCIceServers (RFC 9725 section 4.6)."""
    for server in ice_servers:
        urls = server.get("urls", [])
        for url in [urls] if isinstance(urls, str) else urls:
            parts = [f"<{url}>", 'rel="ice-server"']
            names = [name for name in ("username", "credential") if name in server]
            parts += [f'{name}="{_quoted(str(server[name]))}"' for name in names]
            if "credential" in server:
                parts.append('credential-type="password"')
            yield "; ".join(parts)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
