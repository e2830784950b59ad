"""``rtclab serve`` as a process: its one line, its ports, its end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tornado.websocket import websocket_connect

import rtclab
from http_tools import RECEIVING, SDP, SENDING, At, ask, on_engine, serving
from rtclab.cli import main
from rtclab.serve import RoomServer
from rtclab.signaling.carrier import Carrier, Endpoint
from rtclab.signaling.messages import VERSION

LIMIT = 20.0  # s; a process starts slowly on a busy machine

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``rtclab serve`` with more arguments; ends what still runs."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rtclab.cli", "serve", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT)


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    described: dict[str, Any] = json.loads(process.stdout.readline())
    return described


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_when_told(start: Start, number: int) -> None:
    process = start("--port", "0")
    described = ready(process)
    assert set(described) == {"url", "whip", "whep", "udp_port", "pid"}
    assert described["pid"] == process.pid
    server = At(described["url"])
    assert ask(server, "GET", "/").status == 200
    assert described["whip"] == f"http://127.0.0.1:{server.port}/whip"
    session = ask(server, "POST", "/whip/alice", SENDING, SDP)
    assert session.status == 201
    assert f" {described['udp_port']} typ host" in session.body
    process.send_signal(number)
    rest, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, rest, errors) == (0, "", "")
    for kind, port in ((socket.SOCK_STREAM, server.port), (socket.SOCK_DGRAM, described["udp_port"])):
        with socket.socket(socket.AF_INET, kind) as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            free.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "99999"), ("--port", "-1"), ("--udp-port", "70000")]
)
def test_a_port_is_a_number_up_to_65535(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["serve", f"{option}={value}"])
    assert refused.value.code == 2
    assert "is no port" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no UDP port 70000"):
        rtclab.Room(udp_port=70000)


def test_beyond_loopback_it_makes_up_a_token(start: Start) -> None:
    described = ready(start("--host", "0.0.0.0", "--port", "0"))
    assert len(described["token"]) >= 20
    assert described["url"].endswith(f"/#token={described['token']}")
    assert "0.0.0.0" not in described["url"]
    server = At(described["url"])
    assert ask(server, "GET", "/").status == 200, "the page itself is no secret"
    assert ask(server, "GET", "/stats").status == 401
    bearer = {"Authorization": f"Bearer {described['token']}", "Host": "anything.example.com"}
    assert ask(server, "GET", "/stats", headers=bearer).json == []


def test_a_busy_port_is_said(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        process = start("--port", port)
        out, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, "")
    assert errors.startswith(f"rtclab: HTTP cannot listen on 127.0.0.1 port {port}")
    assert "--port" in errors
    assert errors.count("\n") == 1


def test_a_busy_udp_port_is_said(start: Start) -> None:
    with rtclab.Room() as room:
        process = start("--port", "0", "--udp-port", str(room.udp_port))
        out, errors = process.communicate(timeout=LIMIT)
        assert (process.returncode, out) == (1, "")
        assert str(room.udp_port) in errors


def test_an_architecture_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--architecture", "x"])
    assert ended.value.code == 2
    assert "invalid choice: 'x' (choose from 'mesh', 'relay', 'sfu', 'mcu')" in capsys.readouterr().err


def test_a_room_is_served_in_the_architecture_asked_for(start: Start) -> None:
    server = At(ready(start("--port", "0", "--architecture", "relay"))["url"])

    async def welcome() -> dict[str, Any]:
        socket = await websocket_connect(f"ws://127.0.0.1:{server.port}/signaling")
        await socket.write_message(json.dumps({"type": "join", "id": 1, "version": VERSION}))
        told: dict[str, Any] = json.loads(await socket.read_message() or "")
        socket.close()
        return told

    assert asyncio.run(asyncio.wait_for(welcome(), LIMIT))["room"]["architecture"] == "relay"


@pytest.mark.parametrize("token", ["", "two words", "geheimnis-ü"])
def test_a_token_that_no_header_can_carry_is_said(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", "--token", token]) == 1
    assert "visible ASCII" in capsys.readouterr().err


def test_a_host_that_is_none_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "no-such-host.invalid", "--port", "0"]) == 1
    assert "no-such-host.invalid" in capsys.readouterr().err


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room) as server:
        yield server


def test_stats_are_the_rows_of_the_room(server: RoomServer, room: rtclab.Room) -> None:
    assert ask(server, "POST", "/whip/alice", SENDING, SDP).status == 201
    assert ask(server, "POST", "/whep", RECEIVING, SDP).status == 201
    reply = ask(server, "GET", "/stats")
    assert reply.headers["Content-Type"] == "application/json"
    assert len(reply.json) == len(room.stats())
    assert {row["direction"] for row in reply.json} >= {"out"}
    assert {row["publisher"] for row in reply.json} == {"alice"}


@pytest.mark.parametrize("path", ["/", "/page.js", "/publisher.js", "/viewer.js", "/page.css"])
def test_the_page_comes_with_a_policy(server: RoomServer, path: str) -> None:
    reply = ask(server, "GET", path)
    assert reply.status == 200
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    assert ask(server, "HEAD", path).status == 200
    assert ask(server, "POST", path, "x").status == 405


def test_requests_are_answered_on_the_engine(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    connect = server.desk.connect

    def noted(carrier: Carrier) -> Endpoint:
        threads.append(threading.current_thread())
        return connect(carrier)

    monkeypatch.setattr(server.desk, "connect", noted)
    ask(server, "POST", "/whip", SENDING, SDP)
    assert threads == [on_engine(threading.current_thread)]


def test_ipv6_and_names_of_this_machine_need_no_token(room: rtclab.Room) -> None:
    with serving(room, "::1") as server:
        assert server.token is None
        assert server.base == f"http://[::1]:{server.port}"
    with serving(room, "localhost") as server:
        assert server.token is None
        assert ask(server, "GET", "/stats").status == 200


def test_the_server_can_stop_and_the_room_go_on(room: rtclab.Room) -> None:
    with serving(room) as server:
        port = server.port
    with serving(room) as again:
        assert again.port != port or ask(again, "GET", "/").status == 200
    assert not room.closed
