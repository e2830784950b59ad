"""What the HTTP handlers of a room share: who is let in, CORS, errors that explain themselves, bounded
bodies.

With a token (RFC 6750) whoever knows it is let in, from any page, since a browser never sends it by itself.
Without one only this machine is: pages on loopback, and requests that name a loopback host, because a name of
somebody else's that points here (DNS rebinding) would make their page look like ours. Who comes by a share
link shows its token in the same place, from the room's own page only, and gets a grant.

A handler runs on the engine's loop, on which the room lives, so nothing hops between threads. Errors are
problem details (RFC 9457).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, urlsplit

from tornado import httputil
from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..errors import ShareRefused
from .shares import Grant, Shares

EXPOSED: Final = "Accept-Patch, Accept-Post, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate"
# what a page of ours needs: its own scripts, a preview of what it captures, a WebSocket to where it came from
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob: mediastream:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PREFLIGHT_S: Final = 600  # how long a browser may remember what a preflight allowed


class Problem(HTTPError):  # noqa: N818 - the word of RFC 9457
    """A refusal, with a sentence for the person and a code for programs.

    Parameters
    ----------
    status : int
        HTTP status code.
    detail : str
        What is wrong, and what to do.
    code : str, optional
        Machine-readable reason, for instance of `rtclab.signaling.messages`.
    headers : mapping, optional
        Headers that go with the status.
    """

    def __init__(
        self, status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})


class Access:
    """Who may use a room over HTTP.

    Parameters
    ----------
    token : str, optional
        The bearer token to be shown; without one only this machine is let in.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may ask `host` (None: it was no page, or our own)."""
        return self.token is not None or origin is None or is_loopback(_split(origin).hostname)

    def check(self, request: httputil.HTTPServerRequest, visit: bool = False) -> Grant | None:
        """Let a request in; None lets it do everything. A visit is a connection that stays.

        Raises
        ------
        Problem
            401, 403 or 429.
        """
        if self.token is None:
            if not is_loopback(_split(f"//{request.host}").hostname):
                raise Problem(
                    403, "without a token this room is reached as localhost only; start it with a token"
                )
            if not self.allows_origin(request.headers.get("Origin"), request.host):
                raise Problem(403, "without a token only pages of this machine are let in")
            return None
        given = _token_of(request)
        if given is None:
            raise Problem(
                401, "a bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="rtclab"'}
            )
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            challenge = 'Bearer realm="rtclab", error="invalid_token"'
            raise Problem(401, "this is not the token of this room", headers={"WWW-Authenticate": challenge})
        return None


class ShareAccess(Access):
    """Who may use a room over HTTP by a share link: with its token, and from no page but the room's own.

    Parameters
    ----------
    shares : Shares
        The room's shares.
    clock : callable
        Unix time in seconds.
    """

    def __init__(self, shares: Shares, clock: Callable[[], float]) -> None:
        super().__init__()
        self.shares = shares
        self.clock = clock

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may ask `host`: only its own."""
        return origin is None or _split(origin).netloc == host

    def check(self, request: httputil.HTTPServerRequest, visit: bool = False) -> Grant:
        """Let a request in by its token."""
        if not self.allows_origin(request.headers.get("Origin"), request.host):
            raise Problem(403, "by a share link only the room's own page is let in")
        given = _token_of(request)
        if given is None:
            sentence = "a share link is needed: open all of it, with what follows the #"
            raise Problem(401, sentence, "share_none", {"WWW-Authenticate": 'Bearer realm="rtclab"'})
        try:
            return self.shares.admit(given, self.clock(), request.remote_ip or "", visit)
        except ShareRefused as refused:
            if refused.retry_s is not None:
                headers = {"Retry-After": str(refused.retry_s)}
            else:
                headers = {"WWW-Authenticate": 'Bearer realm="rtclab", error="invalid_token"'}
            raise Problem(refused.status, str(refused), refused.code, headers) from None


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL is this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _split(url: str) -> SplitResult:
    """The parts of a URL; nowhere if it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "?", "", "", "")


def _token_of(request: httputil.HTTPServerRequest) -> str | None:
    """The token in the Authorization header, or in the query: no page can give a WebSocket a header."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    values = request.query_arguments.get("token")
    return values[-1].decode("utf-8", "replace") if values else None


class SecretQuery(RequestHandler):
    """A handler whose query is not logged, as it may hold a token."""

    def _request_summary(self) -> str:
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)
        else:  # Tornado would add the whole request
            app_log.error("Uncaught exception %s", self._request_summary(), exc_info=value)


class ProblemHandler(SecretQuery):
    """A handler whose errors are problem details."""

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        title = httputil.responses.get(status_code, "Error")
        problem: dict[str, Any] = {"title": title, "status": status_code}
        if isinstance(error, Problem):
            problem["detail"] = error.detail
            if error.code is not None:
                problem["code"] = error.code
            for name, value in error.headers.items():
                self.set_header(name, value)
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.methods))
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps(problem))

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)


@dataclass(frozen=True)
class PageFiles:
    """The files of a page.

    Attributes
    ----------
    types : mapping
        Media types by name; the page itself has an empty name.
    read : callable
        From a name to the text.
    """

    types: Mapping[str, str]
    read: Callable[[str], str]

    def routes(self, path: str = "") -> list[Any]:
        """Rules for a `tornado.web.Application`, below a path."""
        return [(f"{path}/({'|'.join(map(re.escape, self.types))})", PageFile, {"files": self})]


class PageFile(ProblemHandler):
    """A file of a page; nothing in it is secret."""

    def initialize(self, files: PageFiles) -> None:
        self.files = files

    def get(self, name: str) -> None:
        """The file."""
        self.set_header("Content-Type", f"{self.files.types[name]}; charset=utf-8")
        for header, value in PAGE_HEADERS.items():
            self.set_header(header, value)
        self.finish(self.files.read(name))

    head = get


@stream_request_body
class RoomHandler(ProblemHandler):
    """A handler whose methods begin with `admit`."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "OPTIONS")
    max_body: ClassVar[int] = 0

    access: Access
    grant: Grant | None
    too_large: bool
    received: bytearray

    def initialize(self, access: Access) -> None:
        self.access = access
        self.received = bytearray()
        self.too_large = False

    def data_received(self, chunk: bytes) -> None:
        """Keep the body as far as it is of use; the rest is read all the same, so that the reply arrives."""
        if len(self.received) + len(chunk) > self.max_body:
            self.too_large = True
        if not self.too_large:
            self.received += chunk

    def admit(self, content_type: str | None = None) -> str:
        """Check who asks and what they sent, and return the body as text.

        Raises
        ------
        Problem
            401, 403, 413, 415, 429, or 400 for what is no UTF-8.
        """
        self.grant = self.access.check(self.request)
        if content_type is not None:
            given = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if given != content_type:
                accept = "Accept-Patch" if self.request.method == "PATCH" else "Accept-Post"
                wrong = f"the body must be {content_type}, not {given or 'unnamed'}"
                raise Problem(415, wrong, headers={accept: content_type})
        if self.too_large:
            raise Problem(413, f"the body is larger than {self.max_body // 1024} KiB", "too_large")
        try:
            return self.received.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(400, "the body is no UTF-8 text") from None

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Content-Type")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        access: Access | None = getattr(self, "access", None)
        origin = self.request.headers.get("Origin")
        if access is None or origin is None or not access.allows_origin(origin, self.request.host):
            return
        self.set_header("Access-Control-Allow-Origin", "*" if access.token is not None else origin)
        self.set_header("Access-Control-Expose-Headers", EXPOSED)
        self.set_header("Vary", "Origin")

    def prepare(self) -> None:
        self.set_default_headers()  # again, now that `access` is known

    def compute_etag(self) -> str | None:
        """None: an ETag names an ICE generation here."""
        return None

    def options(self, *_: str | None) -> None:
        """Say what can be done here; the answer to a CORS preflight, which carries no token."""
        self.set_header("Allow", ", ".join(self.methods))
        self.set_header("Access-Control-Allow-Methods", ", ".join(self.methods))
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
        self.set_header("Access-Control-Max-Age", str(PREFLIGHT_S))


class NothingHere(RoomHandler):
    """The handler of every path that no other one has."""

    methods = ()

    def _refuse(self, *_: str | None) -> None:
        self.access.check(self.request)
        raise Problem(404, f"there is nothing at {self.request.path}")

    get = head = post = put = patch = delete = options = _refuse
