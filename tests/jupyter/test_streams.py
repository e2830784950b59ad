"""What passes between a browser and a kernel through the Jupyter server, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from http_tools import LIMIT, on_engine, wait_until
from jupyter_tools import JupyterServer, Socket, refusal
from rtclab.engine import get_engine
from rtclab.errors import ShareRefused
from rtclab.jupyter.record import find_server
from rtclab.jupyter.uplink import Listing
from rtclab.signaling.carrier import Carrier, Connect
from rtclab.signaling.websocket import MAX_MEDIA_UNSENT, SocketCarrier


class Echo:
    """A room of its own kind: it says back what each client says."""

    def __init__(self) -> None:
        self.carriers: list[SocketCarrier] = []
        self.ends: list[str] = []
        self.tokens: list[tuple[str, str]] = []
        self.listing = Listing("echo", "echo", self.connect)
        self.listing.admit = self.admit

    def connect(self, carrier: Carrier, *_: object) -> Echo.Guest:
        assert isinstance(carrier, SocketCarrier)
        self.carriers.append(carrier)
        return Echo.Guest(self, carrier)

    def admit(self, token: str, remote: str) -> Connect:
        self.tokens.append((token, remote))
        raise ShareRefused("share_expired", "this link has expired")

    class Guest:
        def __init__(self, echo: Echo, carrier: SocketCarrier) -> None:
            self.echo, self.carrier = echo, carrier

        def receive(self, message: Any) -> None:
            self.carrier.send(message)

        def receive_media(self, data: bytes) -> None:
            self.carrier.send_media(data)

        def lost(self, reason: str) -> None:
            self.echo.ends.append(reason)


@pytest.fixture
def echo(as_kernel: None) -> Iterator[Echo]:
    echo = Echo()
    get_engine().run(echo.listing.register(), LIMIT)
    wait_until(lambda: echo.listing.path == PATH)
    yield echo
    on_engine(echo.listing.withdraw)


PATH = "rtclab/rooms/echo"
SIGNALING = f"{PATH}/signaling"


def test_frames_pass_both_ways_unchanged_and_in_order(jupyter: JupyterServer, echo: Echo) -> None:
    socket = Socket(jupyter, SIGNALING)
    frames = [
        b"\x01\x00media",
        {"type": "text", "words": "Grüße"},
        b"",
        bytes(900_000),
        {"n": 1},
        b"\xff" * 125,
    ]
    for frame in frames:
        socket.send(frame)
    assert [socket.receive() for _ in frames] == frames
    assert echo.carriers[0].kind == "server"


def test_clients_do_not_hear_each_other(jupyter: JupyterServer, echo: Echo) -> None:
    one, other = Socket(jupyter, SIGNALING), Socket(jupyter, SIGNALING)
    other.send({"from": "other"})
    one.send({"from": "one"})
    assert (one.receive(), other.receive()) == ({"from": "one"}, {"from": "other"})


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (4321, 4321), (1001, 1001)])
def test_a_close_code_of_the_kernels_reaches_the_browser(
    jupyter: JupyterServer, echo: Echo, code: int, seen: int
) -> None:
    socket = Socket(jupyter, SIGNALING)
    on_engine(lambda: echo.carriers[0].end(code, "so it is"))
    assert socket.wait_for_end() == seen
    assert socket.connection.close_reason == "so it is"


def test_the_kernel_learns_that_a_browser_is_gone(jupyter: JupyterServer, echo: Echo) -> None:
    Socket(jupyter, SIGNALING).close(4000)
    wait_until(lambda: echo.ends)
    assert "4000" in echo.ends[0]
    lost = Socket(jupyter, SIGNALING)
    assert lost.connection.protocol is not None
    on_engine(lost.connection.protocol._abort)
    wait_until(lambda: len(echo.ends) == 2)
    assert not echo.listing.hub.carriers


def test_a_frame_that_is_too_long_ends_its_stream(jupyter: JupyterServer, echo: Echo) -> None:
    socket = Socket(jupyter, SIGNALING)
    socket.send(bytes((1 << 20) + 1))
    assert socket.wait_for_end() in (1009, None)
    wait_until(lambda: echo.ends)


def test_who_does_not_read_holds_up_nobody_and_fills_no_memory(jupyter: JupyterServer, echo: Echo) -> None:
    slow, quick = Socket(jupyter, SIGNALING), Socket(jupyter, SIGNALING)
    carrier = echo.carriers[0]
    quick.send({"are": "you there?"})
    assert quick.receive()

    async def flood() -> int:
        """Send until it stays in the kernel, as far as a carrier keeps it."""
        sent = 0
        while carrier.unsent < MAX_MEDIA_UNSENT - 100_000:
            carrier.send_media(bytes(100_000))
            sent += 1
            await asyncio.sleep(0)
        return sent

    sent = get_engine().run(flood(), LIMIT)
    assert sent * 100_000 < 100 * MAX_MEDIA_UNSENT
    quick.send({"and": "now?"})
    assert quick.receive() == {"and": "now?"}
    assert [len(slow.receive()) for _ in range(sent)] == [100_000] * sent
    wait_until(lambda: carrier.unsent == 0)


def test_who_takes_no_messages_is_closed(jupyter: JupyterServer, echo: Echo) -> None:
    slow = Socket(jupyter, SIGNALING)

    async def flood() -> None:
        while not echo.ends:
            echo.carriers[0].send({"words": "x" * 100_000})
            await asyncio.sleep(0)

    get_engine().run(flood(), LIMIT)
    assert echo.ends == ["messages are not read"]
    assert slow.wait_for_end() in (1013, None)  # None: it was cut off before its backlog had left


def test_a_refusal_is_an_http_status(jupyter: JupyterServer, echo: Echo) -> None:
    echo.listing.hub.limit = 1
    Socket(jupyter, SIGNALING)
    assert refusal(jupyter, SIGNALING, {"Authorization": "token " + jupyter.environ["JUPYTER_TOKEN"]}) == 503


REGISTER = {"type": "register", "version": 1, "kernel": None, "rooms": []}
MALFORMED: list[Any] = [
    "no JSON",
    b"\xff",
    [],
    {},
    {"type": "unknown"},
    {"type": "register"},
    {**REGISTER, "version": 2},
    {**REGISTER, "rooms": [{}]},
    {**REGISTER, "rooms": [{"id": "../x", "name": "x"}]},
    {**REGISTER, "rooms": [{"id": [], "name": "x"}]},
    {**REGISTER, "rooms": [{"id": f"room{number}", "name": "x"} for number in range(300)]},
    {"type": "refuse", "stream": [], "status": 403, "detail": ""},
    {"type": "refuse", "stream": "x", "status": "200", "detail": ""},
    {"type": "response", "id": 1, "status": 99999, "headers": [], "body": ""},
    {"type": "response", "id": {}, "status": 200, "headers": [[]], "body": ""},
    "[" * 100_000,
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: json.dumps(str(message))[:40])
def test_a_kernel_that_talks_nonsense_is_closed(jupyter: JupyterServer, echo: Echo, message: Any) -> None:
    server = find_server(jupyter.runtime, jupyter.pid)
    assert server is not None
    socket = Socket(jupyter, "rtclab/engine", {"Authorization": f"Bearer {server.key}"})
    socket.send(message)
    assert socket.wait_for_end() == 1002
    assert [room["id"] for room in jupyter.rooms()] == ["echo"]
