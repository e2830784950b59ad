"""What is asked of rooms by HTTP through the Jupyter server: the list, WHIP and WHEP."""

from __future__ import annotations

import asyncio

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import rtclab
from http_tools import FRAGMENT, LIMIT, RECEIVING, SDP, SENDING, At, ask, on_engine, wait_until
from jupyter_tools import AUTHORIZED, BASE, JupyterServer
from rtclab.engine import get_engine
from rtclab.jupyter import uplink
from rtclab.jupyter.rooms import MAX_BODY


def test_rooms_are_listed_for_as_long_as_they_are_open(jupyter: JupyterServer, as_kernel: None) -> None:
    with rtclab.Room("first") as first, rtclab.Room("second") as second:
        wait_until(lambda: first.server_path and second.server_path)
        paths = {"first": first.server_path, "second": second.server_path}
        wait_until(lambda: {room["name"]: room["path"] for room in jupyter.rooms()} == paths)
        assert second.server_path == f"rtclab/rooms/{second.id}"
        first.close()
        assert first.server_path is None
        wait_until(lambda: [room["name"] for room in jupyter.rooms()] == ["second"])
    wait_until(lambda: not jupyter.rooms())


def test_without_a_jupyter_server_a_room_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    with rtclab.Room() as room:
        assert room.server_path is None
        assert room.publisher().server == ""


def test_widgets_know_where_their_room_is(jupyter: JupyterServer, as_kernel: None) -> None:
    with rtclab.Room() as room:
        widgets = [room.publisher(), room.viewer()]
        wait_until(lambda: {widget.server for widget in widgets} == {f"rtclab/rooms/{room.id}"})


def test_widgets_follow_their_room(jupyter: JupyterServer, room: rtclab.Room) -> None:
    widget, line = room.viewer(), uplink.get_uplink()
    seen: list[str] = []
    widget.observe(lambda change: seen.append(change["new"]), "server")
    assert line is not None
    assert line._socket is not None
    on_engine(line._socket.close)
    wait_until(lambda: seen == ["", f"rtclab/rooms/{room.id}"])


def test_a_whip_session_from_begin_to_end(jupyter: JupyterServer, room: rtclab.Room) -> None:
    begun = jupyter.ask("POST", f"{room.server_path}/whip/ada", SENDING, {**AUTHORIZED, **SDP})
    assert begun.status == 201
    assert begun.headers["Content-Type"] == "application/sdp"
    assert begun.body.startswith("v=0")
    session = begun.headers["Location"]
    assert session.startswith(f"{BASE}rtclab/rooms/{room.id}/sessions/")
    assert [(member.name, member.carrier) for member in room.participants] == [("ada", "http")]

    ufrag = next(line for line in SENDING.splitlines() if line.startswith("a=ice-ufrag"))
    pwd = next(line for line in SENDING.splitlines() if line.startswith("a=ice-pwd"))
    fragment = f"{ufrag}\r\n{pwd}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n"
    headers = {**AUTHORIZED, **FRAGMENT, "If-Match": begun.headers["ETag"]}
    assert jupyter.ask("PATCH", session, fragment, headers).status == 204
    assert jupyter.ask("PATCH", session, fragment, {**headers, "If-Match": '"other"'}).status == 412

    assert jupyter.ask("DELETE", session).status == 200
    assert not room.participants
    assert jupyter.ask("DELETE", session).status == 404


def test_who_publishes_by_whip_keeps_the_server_from_being_culled(
    jupyter: JupyterServer, as_kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "ACTIVE_S", 0.02)
    with rtclab.Room() as room:
        wait_until(lambda: room.server_path)
        begun = jupyter.ask("POST", f"{room.server_path}/whip/ada", SENDING, {**AUTHORIZED, **SDP})
        before = jupyter.last_activity
        wait_until(lambda: jupyter.last_activity > before)  # being asked for it is no activity

        jupyter.ask("DELETE", begun.headers["Location"])
        before = jupyter.last_activity
        get_engine().run(asyncio.sleep(0.2), LIMIT)
        assert jupyter.last_activity == before


@pytest.mark.parametrize("way", ["websocket", "whip"])
def test_who_comes_by_a_port_of_the_kernels_own_keeps_the_server_from_being_culled(
    jupyter: JupyterServer, as_kernel: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(uplink, "ACTIVE_S", 0.02)
    with rtclab.Room() as room:
        wait_until(lambda: room.server_path)
        share = room.share("participant", listen="127.0.0.1:0")
        door, token = At(share.url), share.url.partition("#token=")[2]
        bearer = {"Authorization": f"Bearer {token}"}

        async def open_socket() -> WebSocketClientConnection:
            return await websocket_connect(f"ws://127.0.0.1:{door.port}/signaling?token={token}")

        if way == "websocket":
            socket = get_engine().run(open_socket(), LIMIT)
        else:
            begun = ask(door, "POST", "/whip/ada", SENDING, {**bearer, **SDP})
        before = jupyter.last_activity
        wait_until(lambda: jupyter.last_activity > before)

        if way == "websocket":
            on_engine(socket.close)
        else:
            assert ask(door, "DELETE", begun.headers["Location"], headers=bearer).status == 200
        wait_until(lambda: not room._listing.busy)
        jupyter.ask("GET", f"{room.server_path}/whip")  # after all that the kernel has told
        before = jupyter.last_activity
        get_engine().run(asyncio.sleep(0.2), LIMIT)
        assert jupyter.last_activity == before


def test_whep_says_what_the_room_says(jupyter: JupyterServer, room: rtclab.Room) -> None:
    refused = jupyter.ask("POST", f"{room.server_path}/whep", RECEIVING, {**AUTHORIZED, **SDP})
    assert (refused.status, refused.json["code"]) == (409, "nothing_live")
    assert refused.headers["Retry-After"] == "2"
    jupyter.ask("POST", f"{room.server_path}/whip/ada", SENDING, {**AUTHORIZED, **SDP})
    begun = jupyter.ask("POST", f"{room.server_path}/whep/ada", RECEIVING, {**AUTHORIZED, **SDP})
    assert begun.status == 201
    room.close()
    wait_until(lambda: not jupyter.rooms())
    assert jupyter.ask("GET", begun.headers["Location"]).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "whip", "v=0", {}, 415),
        ("POST", "whip", "v=0", SDP, 400),
        ("POST", "whip", "x" * 200_000, SDP, 413),
        ("POST", "whip", "x" * 300_000, SDP, 413),
        ("PUT", "whip", None, {}, 405),
        ("GET", "whip", None, {}, 204),
        ("HEAD", "whep", None, {}, 200),
        ("GET", "sessions/none", None, {}, 404),
        ("GET", "elsewhere", None, {}, 404),
        ("GET", "signaling", None, {}, 426),
    ],
)
def test_what_is_wrong_is_said(
    jupyter: JupyterServer,
    room: rtclab.Room,
    method: str,
    path: str,
    body: str | None,
    headers: dict[str, str],
    status: int,
) -> None:
    reply = jupyter.ask(method, f"{room.server_path}/{path}", body, {**AUTHORIZED, **headers})
    assert reply.status == status


@pytest.mark.parametrize("letter", ["\0", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{GRINNING FACE}"])
def test_what_grows_on_its_way_to_the_kernel_costs_nobody_the_room(
    jupyter: JupyterServer, room: rtclab.Room, letter: str
) -> None:
    """The control connection takes 1 MiB of JSON, where a letter may become six or twelve."""
    engine = room._listing._uplink
    assert engine is not None
    before = engine._socket
    headers = {**AUTHORIZED, **SDP}
    for size in (MAX_BODY, MAX_BODY + 4, 250_000):
        body = letter * (size // len(letter.encode()))
        status = jupyter.ask("POST", f"{room.server_path}/whip", body, headers).status
        assert status == (413 if size > MAX_BODY else 400)
    more = {**headers, "User-Agent": "\xff" * 50_000}
    assert jupyter.ask("POST", f"{room.server_path}/whip", "\0" * MAX_BODY, more).status == 413
    assert engine._socket is before
    assert [one["id"] for one in jupyter.rooms()] == [room.id]
