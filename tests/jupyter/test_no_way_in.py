"""The doors of the extension, one by one: whoever has no login and no valid link of a room stays outside."""

from __future__ import annotations

import json
import re
from typing import Any

import rtclab
from http_tools import SDP, SENDING, wait_until
from jupyter_tools import AUTHORIZED, BASE, TOKEN, JupyterServer, Socket, refusal
from rtclab.jupyter.extension import routes
from rtclab.jupyter.record import find_server
from rtclab.jupyter.registry import Registry

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def doors(room: rtclab.Room) -> list[str]:
    """A path for each route that needs a login or a kernel's key."""
    own = ["signaling", "whip", "whip/ada", "whep", "whep/ada", "sessions/x"]
    return [
        "rtclab/rooms",
        "rtclab/engine",
        "rtclab/engine/x",
        *(f"{room.server_path}/{path}" for path in own),
    ]


def token_of(room: rtclab.Room, role: str = "viewer", expires: float = 60) -> str:
    return room.share(role, expires).url.partition("#token=")[2]


def visit(room: rtclab.Room, token: str) -> str:
    return f"rtclab/share/{room.id}/signaling?token={token}"


def test_no_door_is_forgotten(room: rtclab.Room) -> None:
    shared = [f"rtclab/share/{room.id}/signaling", f"rtclab/share/{room.id}/"]
    for rule in routes(BASE, Registry("")):
        assert any(re.fullmatch(rule[0], BASE + path) for path in [*doors(room), *shared]), rule[0]


def test_no_door_opens_without_a_login(jupyter: JupyterServer, room: rtclab.Room) -> None:
    link = token_of(room, "participant")
    strangers: list[tuple[dict[str, str], str]] = [
        ({}, ""),
        ({"Authorization": "token guess", "Cookie": "_xsrf=guess"}, "?token=guess"),
        ({"Authorization": f"Bearer {link}", "Origin": "https://elsewhere.example"}, f"?token={link}"),
    ]
    for path in doors(room):
        for headers, query in strangers:
            for method in METHODS:
                body = SENDING if method in ("POST", "PUT", "PATCH") else None
                reply = jupyter.ask(method, path + query, body, {**SDP, **headers})
                hidden = [404] if "Origin" in headers else []  # so Jupyter answers pages of another origin
                assert reply.status in (403, 405, *hidden), (method, path, headers)
                assert "detail" not in reply.body, "the room itself was not asked"
                assert TOKEN not in reply.body
    assert room.participants == []


def test_a_viewers_link_lets_nobody_publish(jupyter: JupyterServer, room: rtclab.Room) -> None:
    socket = Socket(jupyter, visit(room, token_of(room)), {})
    assert socket.join()["code"] == "not_allowed"
    assert socket.join(role="viewer", name="eve")["type"] == "welcome"
    sends = [{"mid": "0", "direction": "send", "source": "camera"}]
    socket.send({"type": "offer", "id": 2, "sdp": SENDING, "tracks": sends})
    reply = replied(socket, 2)
    refused = [reply] if reply["type"] == "error" else reply["rejected"]
    assert {one["code"] for one in refused} == {"not_allowed"}
    assert room.tracks == []


def test_a_participants_link_lets_one_publish(jupyter: JupyterServer, room: rtclab.Room) -> None:
    socket = Socket(jupyter, visit(room, token_of(room, "participant")), {})
    assert socket.join(name="mallory")["type"] == "welcome"
    sends = [{"mid": "0", "direction": "send", "source": "camera"}]
    socket.send({"type": "offer", "id": 2, "sdp": SENDING, "tracks": sends})
    assert replied(socket, 2)["type"] == "answer"
    assert {track.participant for track in room.tracks} == {"mallory"}


def replied(socket: Socket, number: int) -> Any:
    while (message := socket.receive()).get("re") != number:
        pass
    return message


def test_what_was_good_once_is_of_no_use_later(jupyter: JupyterServer, room: rtclab.Room) -> None:
    """An expired link, the link of a closed room, and the session of somebody else."""
    with rtclab.Room() as former:
        wait_until(lambda: former.server_path)
        old = token_of(former)
    wait_until(lambda: [one["id"] for one in jupyter.rooms()] == [room.id])
    assert refusal(jupyter, visit(former, old), {}) == 404
    assert refusal(jupyter, visit(room, old), {}) == 401

    short = room.share(expires=0.01)
    token = short.url.partition("#token=")[2]
    wait_until(lambda: not short.live)
    reply = jupyter.ask("GET", visit(room, token), headers={})
    assert (reply.status, reply.json["code"]) == (401, "share_expired")
    assert refusal(jupyter, visit(room, token), {}) == 401

    session = Socket(jupyter, f"{room.server_path}/signaling").join(name="ada")["session"]
    for role in ("viewer", "participant"):
        visitor = Socket(jupyter, visit(room, token_of(room, role)), {})
        assert visitor.join(role=role, session=session)["code"] == "unknown_session"
    assert [one.name for one in room.participants] == ["ada"]


def test_what_a_notebook_keeps_holds_no_secret(jupyter: JupyterServer, room: rtclab.Room) -> None:
    """Widgets, links, tables and errors may be saved with it, and shown to anybody."""
    server = find_server(jupyter.runtime, jupyter.pid)
    assert server is not None
    Socket(
        jupyter, f"{room.server_path}/signaling", {**AUTHORIZED, "Origin": f"http://127.0.0.1:{jupyter.port}"}
    )
    share = room.share()
    kept = [json.dumps(widget.get_state(), default=repr) for widget in (room.publisher(), room.viewer())]
    kept += [
        str(share._repr_mimebundle_()),
        share.url,
        repr(room.shares),
        room.signaling.to_frame().to_string(),
    ]
    kept += [room.stats().to_string(), repr(room.participants)]
    for text in kept:
        assert TOKEN not in text
        assert server.key not in text
