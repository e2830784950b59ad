"""Share links through the Jupyter server: a page for people without a login, who come with a token of a room.

The page is the same for everybody and holds no secret. Its files are the kernel's, asked for once and kept:
all that a visitor without a token costs the kernel is to look at what they show instead. The token stands
behind the ``#`` of the link; only the WebSocket, to which a page can give no header, has it in its query, and
that Jupyter leaves out of its log. Jupyter's own token has no part in any of this.

Each address has so many attempts a second; what a token allows is for the room to say, see
`rtclab.signaling.shares`.
"""

from __future__ import annotations

import html
import json
import math
import re
import time
import weakref
from typing import Any, Final

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.httputil import responses
from tornado.web import HTTPError

from ..signaling.rates import Rates, network_of
from ..signaling.web import PAGE_HEADERS
from .protocol import GOING_AWAY, PAGE, share_path
from .registry import EngineSocket, Refused, Registry
from .rooms import BrowserSocket

FILES: Final = ("", "page.js", "publisher.js", "viewer.js", "page.css")
BURST: Final = 300  # attempts of one address at once: a class behind one, and each page has some files
PER_S: Final = 10.0

_ERROR = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>rtclab</title>
<h1>This link does not work now.</h1>
<p>{sentence}.</p>
"""


class ShareDesk:
    """What the handlers of share links have in common.

    Parameters
    ----------
    registry : Registry
        The rooms.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._rates = Rates(BURST, PER_S)
        self._files: weakref.WeakKeyDictionary[EngineSocket, dict[str, tuple[str, str]]] = (
            weakref.WeakKeyDictionary()
        )

    def limit(self, address: str | None) -> None:
        """Let an address try once more.

        Raises
        ------
        Refused
            It has tried too often.
        """
        wait = math.ceil(self._rates.wait_s(network_of(address or ""), time.monotonic()))
        if wait:
            sentence = f"too many attempts came from this address; try again in {wait} s"
            raise Refused(429, sentence, "share_rate", wait)

    async def file(self, room: str, name: str) -> tuple[str, str]:
        """Type and text of one of the page's files.

        Raises
        ------
        Refused
            There is no such room, or its kernel does not answer.
        """
        engine = self.registry.room(room)
        files = self._files.setdefault(engine, {})
        if name not in files:
            response = await engine.ask(
                {"room": room, "method": "GET", "path": f"{PAGE}/{name}", "headers": {}, "body": ""}
            )
            if response.status != 200:
                raise Refused(502, "the kernel has no page for share links")
            files[name] = (dict(response.headers).get("Content-Type", "text/plain"), response.body)
        return files[name]


class SharePage(JupyterHandler):
    """The page and its files."""

    def initialize(self, desk: ShareDesk) -> None:
        self.desk = desk

    @allow_unauthenticated
    async def get(self, room: str, name: str) -> None:
        """One of the files."""
        self.desk.limit(self.request.remote_ip)
        kind, text = await self.desk.file(room, name)
        self._set_page_headers(kind)
        self.finish(text)

    @allow_unauthenticated
    async def head(self, room: str, name: str) -> None:
        """Its headers."""
        await self.get(room, name)

    def _set_page_headers(self, kind: str) -> None:
        for header, value in {**PAGE_HEADERS, "Content-Type": kind}.items():
            self.set_header(header, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say why, to a person."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        sentence = error.detail if isinstance(error, Refused) else responses.get(status_code, "Error")
        self._set_page_headers("text/html; charset=utf-8")
        self.finish(_ERROR.format(sentence=html.escape(sentence[:1].upper() + sentence[1:])))


class ShareSocket(BrowserSocket):
    """Somebody who comes by a share link."""

    def initialize(self, desk: ShareDesk) -> None:  # type: ignore[override]
        super().initialize(desk.registry)
        self.desk = desk

    @allow_unauthenticated
    async def get(self, room: str) -> None:
        """Take part; a plain request is told why a WebSocket would be refused."""
        self.desk.limit(self.request.remote_ip)
        token = self.get_query_argument("token", "")
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await self.splice(room, "share", token)
            return
        far = await self.registry.open(room, "share", token, self.request.remote_ip)
        far.close(GOING_AWAY, "this was only a question")
        raise HTTPError(426, "this is for WebSockets")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say why, to the page."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        problem: dict[str, Any] = {"title": responses.get(status_code, "Error"), "status": status_code}
        if isinstance(error, Refused):
            problem["detail"] = error.detail
            problem["code"] = error.code or "share_refused"
            if error.retry_s is not None:
                self.set_header("Retry-After", str(error.retry_s))
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps(problem))


def routes(base_url: str, registry: Registry) -> list[Any]:
    """Rules for the web application of a Jupyter server."""
    room = url_path_join(base_url, share_path(r"([\w-]+)"))
    shared = {"desk": ShareDesk(registry)}
    files = "|".join(map(re.escape, FILES))
    return [(f"{room}/signaling", ShareSocket, shared), (f"{room}/({files})", SharePage, shared)]
