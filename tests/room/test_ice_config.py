"""The ICE servers that a room hands out: lists, functions plain and async, and failures."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import rtclab
from rtclab.errors import IceServerError, SignalingError

STUN = {"urls": ["stun:127.0.0.1:9"]}
TURN = {"urls": ["turn:127.0.0.1:9"], "username": "lab", "credential": "learn"}


def welcome(room: rtclab.Room) -> dict[str, Any]:
    return next(entry.message for entry in room.signaling if entry.message["type"] == "welcome")


def test_nobody_is_told_of_servers_unless_asked() -> None:
    with rtclab.Room() as room:
        room.join("alice")
        assert (welcome(room)["ice_servers"], welcome(room)["ice_transport_policy"]) == ([], "all")


def test_clients_are_told_of_servers_and_policy() -> None:
    with rtclab.Room(ice_servers=["stun:127.0.0.1:9", TURN], ice_transport_policy="relay") as room:
        room.join("alice")
        assert welcome(room)["ice_servers"] == [STUN, TURN]
        assert welcome(room)["ice_transport_policy"] == "relay"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ice_servers": [{"urls": "turn:a"}]}, "needs a username and a credential"),
        ({"ice_servers": "stun:a"}, "is a list"),
        ({"ice_transport_policy": "relay"}, "needs a TURN server"),
        ({"ice_transport_policy": "none"}, 'must be "all" or "relay"'),
    ],
)
def test_mistakes_are_told_before_the_room_opens(options: dict[str, Any], says: str) -> None:
    with pytest.raises(IceServerError, match=says):
        rtclab.Room(**options)


def test_a_function_is_asked_for_each_client_and_off_the_engine() -> None:
    threads: list[str] = []

    def servers() -> list[dict[str, Any]]:
        threads.append(threading.current_thread().name)
        return [{**TURN, "username": f"lab-{len(threads)}"}]

    with rtclab.Room(ice_servers=servers) as room:
        for name in ("alice", "bob"):
            room.join(name)
        told = [entry.message for entry in room.signaling if entry.message["type"] == "welcome"]
        assert [message["ice_servers"][0]["username"] for message in told] == ["lab-1", "lab-2"]
    assert "rtclab-engine" not in threads


def test_a_coroutine_function_is_awaited() -> None:
    async def servers() -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return [STUN]

    with rtclab.Room(ice_servers=servers) as room:
        room.join("alice")
        assert welcome(room)["ice_servers"] == [STUN]


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (ZeroDivisionError("oh"), "function failed: ZeroDivisionError: oh"),
        (IceServerError("Twilio: api.twilio.com answered 401"), "^Twilio: api.twilio.com answered 401$"),
        (None, "is a list"),
        ([{"urls": "turn:a"}], "needs a username"),
    ],
)
def test_a_function_that_fails_refuses_the_client_with_a_sentence(gives: Any, says: str) -> None:
    broken = True

    def servers() -> Any:
        if not broken:
            return []
        if isinstance(gives, Exception):
            raise gives
        return gives

    with rtclab.Room(ice_servers=servers) as room:
        with pytest.raises(SignalingError, match=says) as refused:
            room.join("alice")
        assert refused.value.code == "ice_servers"
        assert room.participants == []
        broken = False
        assert room.join("alice").name == "alice"


def test_a_room_can_be_closed_while_a_function_hangs() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def servers() -> list[Any]:
        asked.set()
        go_on.wait(20)
        return []

    room = rtclab.Room(ice_servers=servers)
    failed: list[BaseException] = []

    def join() -> None:
        try:
            room.join("alice")
        except rtclab.errors.RtclabError as error:
            failed.append(error)

    thread = threading.Thread(target=join)
    thread.start()
    assert asked.wait(10)
    room.close()
    thread.join(10)
    go_on.set()
    assert not thread.is_alive()
    assert len(failed) == 1
