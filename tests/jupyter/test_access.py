"""Who reaches a room through the Jupyter server: whoever Jupyter lets in, and a kernel with its key."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest
from tornado.httpclient import HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import websocket_connect

import rtclab
from http_tools import SDP, SENDING
from jupyter_tools import AUTHORIZED, BASE, TOKEN, JupyterServer, Socket, refusal
from rtclab.jupyter.record import find_server, record_path
from rtclab.jupyter.registry import Registry
from rtclab.jupyter.rooms import RoomRequestHandler, RoomsHandler, SignalingSocket
from rtclab.jupyter.share import ShareDesk, ShareSocket
from rtclab.signaling.web import SecretQuery

NOBODY: dict[str, str] = {}
STRANGERS = [NOBODY, {"Authorization": "token guess"}, {"Cookie": "_xsrf=guess"}]
ENGINE = "rtclab/engine"


def path_of(room: rtclab.Room) -> str:
    assert room.server_path is not None
    return room.server_path


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
def test_without_a_login_nothing_answers(
    jupyter: JupyterServer, room: rtclab.Room, headers: dict[str, str]
) -> None:
    path = path_of(room)
    for place in (f"{path}/signaling", "rtclab/rooms/nowhere/signaling"):
        assert refusal(jupyter, place, headers) == 403
    for method, place in (
        ("GET", "rtclab/rooms"),
        ("GET", f"{path}/signaling"),
        ("POST", f"{path}/whip"),
        ("GET", f"{path}/whep"),
        ("DELETE", f"{path}/sessions/x"),
    ):
        assert jupyter.ask(method, place, headers=headers).status == 403
    assert not room.participants


def test_a_browser_that_has_logged_in_takes_part_from_its_own_origin(
    jupyter: JupyterServer, room: rtclab.Room
) -> None:
    own = {**jupyter.log_in(), "Origin": f"http://127.0.0.1:{jupyter.port}"}
    assert Socket(jupyter, f"{path_of(room)}/signaling", own).join()["type"] == "welcome"
    [participant] = room.participants
    assert participant.carrier == "server"


def test_another_origin_is_refused(jupyter: JupyterServer, room: rtclab.Room) -> None:
    foreign = {**jupyter.log_in(), "Origin": "https://elsewhere.example"}
    assert refusal(jupyter, f"{path_of(room)}/signaling", foreign) == 403
    assert jupyter.ask("GET", "rtclab/rooms", headers=foreign).status == 404  # as all of Jupyter's interfaces
    assert jupyter.ask("POST", f"{path_of(room)}/whip", SENDING, {**foreign, **SDP}).status in (403, 404)
    assert not room.participants


def test_a_page_needs_its_xsrf_token_to_change_anything(jupyter: JupyterServer, room: rtclab.Room) -> None:
    cookies = jupyter.log_in()
    address = f"{path_of(room)}/whip/ada"
    assert jupyter.ask("POST", address, SENDING, {**cookies, **SDP}).status == 403
    [xsrf] = [part[6:] for part in cookies["Cookie"].split("; ") if part.startswith("_xsrf=")]
    begun = jupyter.ask("POST", address, SENDING, {**cookies, **SDP, "X-XSRFToken": xsrf})
    assert begun.status == 201
    assert jupyter.ask("DELETE", begun.headers["Location"], headers=cookies).status == 403
    assert [participant.name for participant in room.participants] == ["ada"]


def test_only_a_kernel_registers_rooms(jupyter: JupyterServer) -> None:
    server = find_server(jupyter.runtime, jupyter.pid)
    assert server is not None
    key = {"Authorization": f"Bearer {server.key}"}
    cookies = jupyter.log_in()
    for headers in (*STRANGERS, AUTHORIZED, cookies, {**key, "Origin": f"http://127.0.0.1:{jupyter.port}"}):
        assert refusal(jupyter, ENGINE, headers) == 403
        assert refusal(jupyter, f"{ENGINE}/stream", headers) == 403
    Socket(jupyter, ENGINE, key).close()


def test_the_key_opens_nothing_else_and_is_its_users_own(jupyter: JupyterServer) -> None:
    path = record_path(jupyter.runtime, jupyter.pid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = json.loads(path.read_text())["key"]
    assert jupyter.ask("GET", "rtclab/rooms", headers={"Authorization": f"token {key}"}).status == 403
    assert jupyter.ask("GET", "api/kernels", headers={"Authorization": f"Bearer {key}"}).status == 403


def test_no_handler_forgets_to_ask(jupyter: JupyterServer) -> None:
    assert "extension was successfully loaded" in jupyter.log
    assert "JupyterServerAuthWarning" not in jupyter.log


def test_no_secret_is_shown(jupyter: JupyterServer, room: rtclab.Room) -> None:
    server = find_server(jupyter.runtime, jupyter.pid)
    assert server is not None
    Socket(jupyter, f"{path_of(room)}/signaling").join()
    shown = [
        jupyter.ask("GET", "rtclab/rooms").body,
        jupyter.ask("GET", "rtclab/rooms/nowhere/whip").body,
        jupyter.ask("POST", f"{path_of(room)}/whip", "no offer", {**AUTHORIZED, **SDP}).body,
        repr(server),
        repr(room),
        repr(list(room.signaling)),
        jupyter.log,
    ]
    assert BASE in jupyter.log
    for text in shown:
        assert TOKEN not in text
        assert server.key not in text


class Broken(ShareSocket):
    """A handler with a fault."""

    async def prepare(self) -> None:  # type: ignore[override]
        raise RuntimeError("a fault of ours")


def test_a_fault_of_ours_puts_no_token_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        listening, port = bind_unused_port()
        application = Application(
            [("/(room)", Broken, {"desk": ShareDesk(Registry(""))})], log_function=lambda handler: None
        )
        server = HTTPServer(application)
        server.add_socket(listening)
        try:
            with pytest.raises(HTTPClientError) as refused:
                await websocket_connect(f"ws://127.0.0.1:{port}/room?token={TOKEN}")
            assert refused.value.code == 500
        finally:
            server.stop()
            await server.close_all_connections()

    asyncio.run(scene())
    assert "Uncaught exception GET /room (127.0.0.1)" in caplog.text
    assert "RuntimeError: a fault of ours" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("handler", [RoomsHandler, RoomRequestHandler, SignalingSocket, ShareSocket])
def test_whoever_takes_a_token_keeps_it_out_of_the_log(handler: type[RequestHandler]) -> None:
    assert handler.log_exception is SecretQuery.log_exception
    assert handler._request_summary is SecretQuery._request_summary
