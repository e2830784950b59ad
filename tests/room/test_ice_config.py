"""The ICE servers that a room hands out: lists, functions plain and async, and failures."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import rtclab
from rtclab.engine import get_engine
from rtclab.errors import IceServerError, SignalingError
from rtclab.signaling.ice_config import MAX_HANGING, IceConfig
from waiting import until

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


def test_those_who_join_together_share_one_call() -> None:
    go_on, calls = threading.Event(), 0

    def servers() -> list[Any]:
        nonlocal calls
        calls += 1
        assert go_on.wait(20)
        return [{**TURN, "username": f"lab-{calls}"}]

    async def ask() -> list[Any]:
        config = IceConfig(servers)
        together = [asyncio.ensure_future(config.ask()) for _ in range(20)]
        await asyncio.sleep(0)
        together.pop().cancel()  # one who leaves takes nothing from the others
        go_on.set()
        return [*await asyncio.gather(*together), await config.ask()]

    *together, later = get_engine().run(ask(), 20)
    assert [given[0]["username"] for given in together] == ["lab-1"] * 19
    assert later[0]["username"] == "lab-2"


def test_a_function_that_hangs_leaves_few_threads_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtclab.signaling.ice_config.ASK_S", 0.01)
    go_on, calls = threading.Event(), 0

    def servers() -> list[Any]:
        nonlocal calls
        calls += 1
        assert go_on.wait(20)
        return [STUN]

    config = IceConfig(servers)

    async def refused() -> str:
        with pytest.raises(IceServerError) as error:
            await config.ask()
        return str(error.value)

    async def ask_again() -> list[Any]:
        while True:
            try:
                return await config.ask()
            except IceServerError:
                await asyncio.sleep(0.01)

    engine = get_engine()
    said = [engine.run(refused(), 20) for _ in range(MAX_HANGING + 5)]
    until(lambda: calls == MAX_HANGING, "not every call has begun")
    assert all("gave nothing within" in sentence for sentence in said[:MAX_HANGING])
    assert all(f"{MAX_HANGING} calls of" in sentence for sentence in said[MAX_HANGING:])
    go_on.set()
    assert engine.run(ask_again(), 20) == [STUN]


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
