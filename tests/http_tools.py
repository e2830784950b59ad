"""What the tests of a room's HTTP side share: a server around a room, a plain client, and offers."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import rtclab
from rtclab.engine import get_engine
from rtclab.serve import RoomServer
from rtclab.web_server import WebServer
from stock_client import until

LIMIT = 30.0  # s, for every wait
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
SENDING = (Path(__file__).parent / "signaling" / "ffmpeg_8_offer.sdp").read_text("utf-8")
RECEIVING = re.sub(r"(?m)^a=(ssrc|ssrc-group|msid):.*\n", "", SENDING.replace("a=sendonly", "a=recvonly"))


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Message
    body: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class At:
    """What `ask` needs to know of a server that is known by its URL."""

    def __init__(self, url: str) -> None:
        self.port = int(url.split("#")[0].rstrip("/").rsplit(":", 1)[1])


def ask(
    server: WebServer | At,
    method: str,
    path: str,
    body: str | bytes | None = None,
    headers: Mapping[str, str] = {},
) -> Reply:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    try:
        connection.request(
            method, path, body.encode() if isinstance(body, str) else body, {"Connection": "close", **headers}
        )
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read().decode())
    finally:
        connection.close()


@contextlib.contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of requests, on a thread of its own; host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def serving(room: rtclab.Room, host: str = "127.0.0.1", token: str | None = None) -> Iterator[RoomServer]:
    """An HTTP server around a room, on a free port."""
    server = RoomServer(room, host, 0, token)
    get_engine().run(server.start(), LIMIT)
    try:
        yield server
    finally:
        get_engine().run(server.stop(), LIMIT)


def on_engine(function: Callable[[], Any]) -> Any:
    """Call a function on the engine's thread."""

    async def call() -> Any:
        return function()

    return get_engine().run(call(), LIMIT)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that the engine's thread brings about."""

    async def wait() -> None:
        await until(condition)

    get_engine().run(wait(), 2 * LIMIT)
