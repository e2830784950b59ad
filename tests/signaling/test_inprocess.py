"""The carrier of headless peers: JSON both ways, bounded, never inside the sender's call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtclab.engine import Engine
from rtclab.errors import Closed, SignalingError
from rtclab.signaling import inprocess
from rtclab.signaling.carrier import Carrier, MediaCarrier
from rtclab.signaling.inprocess import MAX_WAITING, InProcessCarrier


class Room:
    """An endpoint that notes what it gets."""

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self.received: list[object] = []
        self.media: list[bytes] = []
        self.reasons: list[str] = []
        self.heard = asyncio.Event()

    def connect(self, carrier: Carrier) -> Room:
        self.carrier = carrier
        return self

    def receive(self, message: object) -> None:
        self.received.append(message)
        self.heard.set()

    def receive_media(self, data: bytes) -> None:
        self.media.append(data)
        self.heard.set()

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)
        self.heard.set()


def run(test: Callable[[Room, InProcessCarrier], Awaitable[None]]) -> None:
    async def main() -> None:
        room = Room()
        client = inprocess.open(room.connect)
        assert room.carrier is client
        assert client.kind == "in-process"
        await asyncio.wait_for(test(room, client), 5)

    asyncio.run(main())


def test_messages_arrive_in_order_and_later() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        for number in range(3):
            client.send_to_room({"type": "ping", "id": number})
            client.send({"type": "pong", "re": number})
        assert room.received == []
        assert [(await client.receive())["re"] for _ in range(3)] == [0, 1, 2]
        await room.heard.wait()
        assert room.received == [{"type": "ping", "id": number} for number in range(3)]

    run(test)


def test_room_and_client_on_different_threads() -> None:
    there = Engine()
    threads: list[threading.Thread] = []

    class Echo(Room):
        def receive(self, message: object) -> None:
            threads.append(threading.current_thread())
            assert isinstance(message, dict)
            assert self.carrier is not None
            self.carrier.send({"type": "pong", "re": message["id"]})
            if message["id"] == 299:
                self.carrier.close()

        def connect(self, carrier: Carrier) -> Echo:
            threads.append(threading.current_thread())
            self.carrier = carrier
            return self

    async def make() -> Echo:
        return Echo()

    async def main() -> list[int]:
        client = inprocess.open(there.run(make()).connect, there.loop)
        for number in range(300):
            client.send_to_room({"type": "ping", "id": number})
        numbers = []
        with contextlib.suppress(Closed):
            while True:
                numbers.append((await asyncio.wait_for(client.receive(), 5))["re"])
        return numbers

    assert asyncio.run(main()) == list(range(300))
    assert {thread.name for thread in threads} == {"rtclab-engine"}
    there.stop()


def test_a_client_on_another_thread_vanishes() -> None:
    there = Engine()
    told = threading.Event()

    class Watching(Room):
        def lost(self, reason: str) -> None:
            super().lost(reason)
            told.set()

    async def make() -> Watching:
        return Watching()

    async def main() -> None:
        client = inprocess.open(room.connect, there.loop)
        client.lose("unplugged")
        client.lose("again")

    room = there.run(make())
    asyncio.run(main())
    assert told.wait(5)
    there.stop()
    assert room.reasons == ["unplugged"]


def test_messages_are_copies() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        message: dict[str, Any] = {"type": "tracks", "tracks": []}
        client.send(message)
        message["tracks"].append("later")
        assert (await client.receive())["tracks"] == []

    run(test)


@pytest.mark.parametrize("value", [b"bytes", float("nan"), {1, 2}])
def test_what_is_not_json_is_refused(value: object) -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        with pytest.raises(SignalingError):
            client.send_to_room({"type": "ping", "id": value})

    run(test)


def test_the_room_closes_after_its_last_message() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        client.send_to_room({"type": "leave"})
        client.send({"type": "bye"})
        client.close()
        client.close()
        client.send({"type": "too late"})
        assert (await client.receive())["type"] == "bye"
        with pytest.raises(Closed):
            await client.receive()
        with pytest.raises(Closed):
            client.send_to_room({"type": "ping", "id": 1})
        client.lose()
        await asyncio.sleep(0)
        assert room.received == []
        assert room.reasons == []

    run(test)


def test_closing_wakes_who_waits() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        waiting = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0)
        client.close()
        with pytest.raises(Closed):
            await waiting

    run(test)


def test_a_client_that_vanishes_is_reported_once_after_what_it_said() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        client.send_to_room({"type": "ping", "id": 1})
        client.lose("unplugged")
        client.lose("again")
        while not room.reasons:
            room.heard.clear()
            await room.heard.wait()
        assert room.received == [{"type": "ping", "id": 1}]
        assert room.reasons == ["unplugged"]
        assert client.closed

    run(test)


def test_a_client_that_does_not_read_is_lost() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        for number in range(MAX_WAITING + 1):
            client.send({"type": "pong", "re": number})
        await room.heard.wait()
        assert room.reasons == ["the client does not read its messages"]
        with pytest.raises(Closed):
            await client.receive()

    run(test)


def test_a_client_cannot_flood_the_room() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        for number in range(MAX_WAITING):
            client.send_to_room({"type": "ping", "id": number})
        with pytest.raises(SignalingError):
            client.send_to_room({"type": "ping", "id": 0})

    run(test)


def test_media_goes_both_ways_and_is_bounded() -> None:
    async def test(room: Room, client: InProcessCarrier) -> None:
        assert isinstance(client, MediaCarrier)
        for number in range(MAX_WAITING + 5):
            client.send_media_to_room(b"up")
            client.send_media(number.to_bytes(2, "big"))
        assert client.unsent == 2 * MAX_WAITING
        assert await client.receive_media() == b"\0\0"
        assert client.unsent == 2 * MAX_WAITING - 2
        while len(room.media) < MAX_WAITING:
            room.heard.clear()
            await room.heard.wait()
        assert set(room.media) == {b"up"}
        client.close()
        for _ in range(MAX_WAITING - 1):
            await client.receive_media()
        with pytest.raises(Closed):
            await client.receive_media()

    run(test)
