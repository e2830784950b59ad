"""The WebSocket carrier: messages both ways, bounds, and how either side ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import rtclab
from http_tools import LIMIT, ask, on_engine, serving, wait_until
from rtclab.engine import get_engine
from rtclab.serve import RoomServer
from rtclab.signaling import websocket
from rtclab.transport.tunnel_format import Ack, Frame, parse
from tunnel_rig import HEAD, MLine, PictureEncoder

T = TypeVar("T")
JOIN = {"type": "join", "id": 1, "version": 1, "name": "alice", "role": "participant"}


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room) as server:
        yield server


def run(work: Coroutine[Any, Any, T]) -> T:
    return get_engine().run(asyncio.wait_for(work, LIMIT))


class Client:
    """Tornado's client, on the engine's loop as well."""

    def __init__(self, server: RoomServer, query: str = "", **headers: str) -> None:
        url = f"ws://127.0.0.1:{server.port}/signaling{query}"

        async def connect() -> WebSocketClientConnection:
            return await websocket_connect(HTTPRequest(url, headers=headers))

        self.socket = run(connect())

    def send(self, message: object) -> None:
        """Send text, bytes, or a message as JSON."""
        data = message if isinstance(message, str | bytes) else json.dumps(message)

        async def send() -> None:
            await self.socket.write_message(data, binary=isinstance(data, bytes))

        run(send())

    def receive(self) -> Any:
        """The next message; None at the end."""

        async def read() -> str | bytes | None:
            return await self.socket.read_message()

        text = run(read())
        return None if text is None else json.loads(text)

    def join(self, **fields: object) -> Any:
        """Join; returns the reply."""
        self.send(JOIN | fields)
        return self.receive()

    def wait_for_end(self) -> int | None:
        """Read to the end; returns the close code."""
        while self.receive() is not None:
            pass
        return self.socket.close_code

    def close(self) -> None:
        """Close it from the client's side."""
        on_engine(lambda: self.socket.close(1001, "the page goes"))


def state(room: rtclab.Room) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in room.participants]


def test_a_client_joins_asks_and_leaves(server: RoomServer, room: rtclab.Room) -> None:
    client = Client(server)
    welcome = client.join()
    assert (welcome["type"], welcome["re"], welcome["participant"]["name"]) == ("welcome", 1, "alice")
    assert room.participants[0].carrier == "websocket"
    client.send({"type": "ping", "id": 2})
    assert client.receive() == {"type": "pong", "re": 2}
    client.send({"type": "leave"})
    assert client.wait_for_end() == 1000
    assert room.participants == []
    assert server.hub.carriers == set()


def test_a_lost_client_resumes_over_its_next_socket(server: RoomServer, room: rtclab.Room) -> None:
    first = Client(server)
    token = first.join()["session"]
    first.close()
    wait_until(lambda: state(room) == [("alice", "lost")])
    second = Client(server)
    second.send({"type": "ping", "id": 7})
    assert second.receive()["code"] == "not_joined"
    welcome = second.join(session=token)
    assert (welcome["resumed"], welcome["participant"]["name"]) == (True, "alice")
    assert state(room) == [("alice", "joined")]
    second.close()


def test_a_client_that_resumes_elsewhere_loses_its_old_socket(server: RoomServer, room: rtclab.Room) -> None:
    first, second = Client(server), Client(server)
    token = first.join()["session"]
    assert second.join(session=token)["resumed"]
    assert first.wait_for_end() == 1000
    assert state(room) == [("alice", "joined")]


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[]", "1", "null", "[" * 100_000, '{"type": 1}'])
def test_what_is_no_message_is_refused_and_the_client_goes_on(server: RoomServer, text: str) -> None:
    client = Client(server)
    client.send(text)
    assert client.receive()["code"] in ("bad_message", "unknown_type")
    assert client.join()["type"] == "welcome"


def test_media_without_a_tunnel_is_ignored(server: RoomServer, room: rtclab.Room) -> None:
    client = Client(server)
    client.send(b"\x00")
    assert client.join()["type"] == "welcome"
    client.send(b"\x00")
    client.send({"type": "ping", "id": 7})
    assert client.receive() == {"type": "pong", "re": 7}


def test_a_message_that_is_too_long_ends_it(server: RoomServer, room: rtclab.Room) -> None:
    client = Client(server)
    client.join()
    client.send(json.dumps({"type": "ping", "id": 1, "x": "y" * websocket.MAX_MESSAGE}))
    assert client.wait_for_end() == 1009
    wait_until(lambda: state(room) == [("alice", "lost")])


def test_clients_are_bounded(server: RoomServer) -> None:
    server.hub.limit = 1
    first, second = Client(server), Client(server)
    assert second.wait_for_end() == 1013
    assert first.join()["type"] == "welcome"
    first.send({"type": "leave"})
    first.wait_for_end()
    assert Client(server).join()["type"] == "welcome"


def unread(
    client: Client, server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[websocket.SocketCarrier, asyncio.Future[None]]:
    """Join with a client that reads nothing until the future is done."""
    client.join()
    (carrier,) = server.hub.carriers
    never: asyncio.Future[None] = on_engine(lambda: asyncio.get_running_loop().create_future())
    monkeypatch.setattr(carrier._socket, "write_message", lambda data, binary: never)
    return carrier, never


def test_a_client_that_does_not_read_is_lost(
    server: RoomServer, room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(server)
    carrier, never = unread(client, server, monkeypatch)
    message = {"type": "tracks", "revision": 1, "tracks": ["x" * 1000]}

    def flood() -> None:
        for _ in range(2 * websocket.MAX_UNSENT // 1000):
            carrier.send(message)

    on_engine(flood)
    assert carrier.unsent <= websocket.MAX_UNSENT
    assert client.wait_for_end() == 1013
    assert state(room) == [("alice", "lost")]
    on_engine(lambda: never.set_result(None))
    wait_until(lambda: carrier.unsent == 0)


def test_media_that_is_not_read_is_left_out(
    server: RoomServer, room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(server)
    carrier, never = unread(client, server, monkeypatch)

    def flood() -> None:
        for _ in range(100):
            carrier.send_media(bytes(100_000))

    on_engine(flood)
    assert 0 < carrier.unsent <= websocket.MAX_MEDIA_UNSENT
    on_engine(lambda: never.set_result(None))
    wait_until(lambda: carrier.unsent == 0)
    assert state(room) == [("alice", "joined")]


def test_a_room_that_closes_says_so_first(server: RoomServer, room: rtclab.Room) -> None:
    client = Client(server)
    client.join()
    room.close()
    assert client.receive()["type"] == "bye"
    assert client.wait_for_end() == 1000
    assert Client(server).join()["code"] == "room_closed"


def test_a_server_that_stops_lets_its_clients_come_back(room: rtclab.Room) -> None:
    with serving(room) as server:
        client = Client(server)
        client.join()
    assert client.wait_for_end() == 1001
    assert state(room) == [("alice", "lost")]


def test_a_dead_client_is_noticed(
    server: RoomServer, room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket.SignalingSocket, "ping_interval", 0.05)
    monkeypatch.setattr(websocket.SignalingSocket, "ping_timeout", 0.05)
    client = Client(server)
    client.join()
    protocol = client.socket.protocol
    assert protocol is not None
    monkeypatch.setattr(protocol, "_handle_message", lambda opcode, data: None)  # answers no ping
    wait_until(lambda: state(room) == [("alice", "lost")])


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://127.0.0.1.example.com"])
def test_a_foreign_page_is_not_let_in(server: RoomServer, origin: str) -> None:
    with pytest.raises(HTTPClientError) as refused:
        Client(server, Origin=origin)
    assert refused.value.code == 403


def test_a_page_of_this_machine_is_let_in(server: RoomServer) -> None:
    assert Client(server, Origin="http://localhost:1234").join()["type"] == "welcome"


def test_with_a_token_only_who_knows_it_is_let_in(room: rtclab.Room) -> None:
    with serving(room, token="s3cret/+=") as server:
        for query in ("", "?token=", "?token=other"):
            with pytest.raises(HTTPClientError) as refused:
                Client(server, query)
            assert refused.value.code == 401
        query = "?token=s3cret%2F%2B%3D"
        assert Client(server, query, Origin="https://example.com").join()["type"] == "welcome"


def test_a_plain_request_is_refused(server: RoomServer) -> None:
    assert ask(server, "GET", "/signaling").status == 400
    assert ask(server, "POST", "/signaling", "x").status == 405


def test_media_goes_both_ways_through_the_socket(server: RoomServer, room: rtclab.Room) -> None:
    client = Client(server)
    assert client.join()["transport"] == "auto"
    line = MLine("0", "video", ("VP8",), True)
    sdp = HEAD.format(mids="0") + line.sdp("B3")
    client.send({"type": "offer", "id": 2, "sdp": sdp, "tracks": [line.entry()]})
    client.send({"type": "tunnel", "id": 3, "open": True, "reason": "no UDP here", "decode": "webcodecs"})
    while (reply := client.receive())["type"] != "tunnel":
        pass
    assert (reply["re"], reply["open"]) == (3, True)
    payload, keyframe = PictureEncoder("VP8").encode(0, True)
    client.send(Frame(1, 1_700_000_000_000_000, "0", "", payload, keyframe, width=160, height=90).encode())

    async def media() -> Ack:
        while True:
            data = await client.socket.read_message()
            if isinstance(data, bytes):
                message = parse(data)
                assert isinstance(message, Ack)
                return message

    assert run(media()) == Ack(1)
    (track,) = room.tracks
    assert (track.layers[0].width, track.layers[0].active) == (160, True)
    (alice,) = room.participants
    assert (alice.transport, alice.transport_reason) == ("websocket", "no UDP here")
