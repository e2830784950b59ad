"""The carrier of the widgets: pages told apart, silence measured, any thread allowed."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from rtclab.engine import get_engine
from rtclab.signaling import comm
from rtclab.signaling.carrier import Carrier, MediaCarrier
from rtclab.signaling.comm import MAX_CLIENTS, CommHub


class Page:
    """The room's endpoint of one page."""

    def __init__(self, room: Room, carrier: Carrier) -> None:
        self.room = room
        self.carrier = carrier
        self.received: list[object] = []

    def receive(self, message: object) -> None:
        self.received.append(message)
        self.room.events.put(("received", self, message))

    def receive_media(self, data: bytes) -> None:
        self.room.events.put(("media", self, data))

    def lost(self, reason: str) -> None:
        self.room.events.put(("lost", self, reason))


class Room:
    """What is behind the hub, and the envelopes that were sent."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, Page, Any]] = queue.Queue()
        self.sent: queue.Queue[dict[str, Any]] = queue.Queue()
        self.sent_media: queue.Queue[bytes] = queue.Queue()
        self.fail = False
        self.threads: set[str] = set()
        self.hub = CommHub(self.send, self.connect)

    def connect(self, carrier: Carrier) -> Page:
        self.threads.add(threading.current_thread().name)
        return Page(self, carrier)

    def send(self, envelope: dict[str, Any], buffers: Sequence[bytes] | None = None) -> None:
        if self.fail:
            raise RuntimeError("Cannot send")
        for data in buffers or ():
            self.sent_media.put(data)
        self.sent.put(envelope)

    def event(self, kind: str) -> tuple[Page, Any]:
        name, page, value = self.events.get(timeout=5)
        assert name == kind, value
        return page, value

    def say(self, client: object, message: object = None) -> None:
        self.hub.receive({"client": client, "message": message or {"type": "ping", "id": 1}})


def settle() -> None:
    """Wait until everything handed over to the engine so far has run."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    get_engine().run(nothing(), 5)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.hub.close()
    settle()
    assert room.hub.clients == ()


def test_each_page_has_a_carrier_of_its_own(room: Room) -> None:
    room.say("a", {"type": "ping", "id": 1})
    room.say("b", {"type": "ping", "id": 2})
    room.say("a", {"type": "ping", "id": 3})
    first, _ = room.event("received")
    second, _ = room.event("received")
    assert room.event("received")[0] is first
    assert first is not second
    assert [message["id"] for message in first.received] == [1, 3]  # type: ignore[index]
    assert first.carrier.kind == "comm"
    get_engine().call_soon(second.carrier.send, {"type": "pong", "re": 2})
    assert room.sent.get(timeout=5) == {"client": "b", "message": {"type": "pong", "re": 2}}
    assert room.threads == {"rtclab-engine"}


@pytest.mark.parametrize(
    "content",
    [None, 3, [], {}, {"client": "a"}, {"client": 3, "message": {}}, {"client": "x" * 65, "message": {}}],
)
def test_what_is_no_envelope_is_dropped(room: Room, content: object) -> None:
    room.hub.receive(content)
    settle()
    assert room.hub.dropped == 1
    assert room.hub.clients == ()


def test_it_may_be_called_from_any_thread(room: Room) -> None:
    threads = [threading.Thread(target=room.say, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    pages = {room.event("received")[0] for _ in threads}
    for thread in threads:
        thread.join()
    assert len(pages) == 8


def test_the_room_may_close_a_page_which_may_come_back(room: Room) -> None:
    room.say("a")
    first, _ = room.event("received")
    get_engine().call_soon(first.carrier.close)
    settle()
    assert room.hub.clients == ()
    get_engine().call_soon(first.carrier.send, {"type": "late"})
    room.say("a")
    again, _ = room.event("received")
    assert again is not first
    assert room.sent.empty()


def test_too_many_pages_push_out_the_one_silent_longest(room: Room) -> None:
    for number in range(MAX_CLIENTS):
        room.say(str(number))
        room.event("received")
    room.say("0")
    room.event("received")
    room.say("new")
    page, reason = room.event("lost")
    assert page.carrier.client == "1"  # type: ignore[attr-defined]
    assert "16" in reason
    room.event("received")
    assert len(room.hub.clients) == MAX_CLIENTS


def test_a_comm_that_fails_loses_the_page(room: Room) -> None:
    room.say("a")
    page, _ = room.event("received")
    room.fail = True
    get_engine().call_soon(page.carrier.send, {"type": "pong"})
    lost, reason = room.event("lost")
    assert lost is page
    assert "Cannot send" in reason


def test_closing_loses_every_page_once(room: Room) -> None:
    room.say("a")
    page, _ = room.event("received")
    room.hub.close()
    room.hub.close()
    assert room.event("lost") == (page, "the widget was closed")
    room.say("a")
    settle()
    assert room.events.empty()
    assert room.hub.dropped == 1


def test_a_silent_page_is_lost(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    monkeypatch.setattr(comm, "BEAT", 0.001)
    room.say("a")
    page, _ = room.event("received")
    assert room.event("lost") == (page, "the page has not been heard of for a while")
    settle()
    assert room.hub.clients == ()


def test_a_page_that_pings_is_kept(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    monkeypatch.setattr(comm, "BEAT", 3600.0)
    room.say("talks")
    room.say("silent")
    room.event("received")
    room.event("received")
    for _ in range(comm.QUIET_BEATS):
        room.say("talks")
        room.event("received")
        get_engine().call_soon(room.hub._beat)
    page, _ = room.event("lost")
    assert page.carrier.client == "silent"  # type: ignore[attr-defined]
    assert room.hub.clients == ("talks",)


def test_a_busy_kernel_loses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the loop that made the hub is busy, no page can be heard, so none is lost."""
    monkeypatch.setattr(comm, "BEAT", 0.001)
    asked = threading.Event()

    class Loop:
        def call_soon_threadsafe(self, *arguments: object) -> None:
            asked.set()  # a loop that never comes round

    async def make() -> Room:
        return Room()

    room = asyncio.run(make())
    room.hub._comm_loop = Loop()  # type: ignore[assignment]
    room.say("a")
    room.event("received")
    assert asked.wait(5)
    settle()
    assert room.hub.clients == ("a",)
    room.hub.close()
    settle()


def test_the_end_of_the_kernels_loop_loses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "BEAT", 0.001)

    async def make() -> Room:
        return Room()

    room = asyncio.run(make())  # its loop is closed now
    room.say("a")
    page, _ = room.event("received")
    assert room.event("lost") == (page, "the kernel's loop has ended")
    room.hub.close()


def test_media_go_as_buffers_both_ways(room: Room) -> None:
    room.say("a")
    page, _ = room.event("received")
    assert isinstance(page.carrier, MediaCarrier)
    get_engine().call_soon(page.carrier.send_media, b"down")
    assert room.sent.get(timeout=5) == {"client": "a", "media": True}
    assert room.sent_media.get(timeout=5) == b"down"
    room.hub.receive({"client": "a", "media": True}, [memoryview(b"up"), b"again"])
    assert room.event("media") == (page, b"up")
    assert room.event("media") == (page, b"again")

    room.hub.receive({"client": "nobody", "media": True}, [b"x"])
    settle()
    assert (room.hub.dropped, room.hub.clients) == (1, ("a",)), "media alone let nobody in"


@contextlib.contextmanager
def engine_held_up() -> Iterator[None]:
    """Meanwhile the engine takes nothing up."""
    busy, go = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        go.wait(5)

    get_engine().call_soon(block)
    assert busy.wait(5)
    yield
    go.set()


def test_media_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    monkeypatch.setattr(comm, "MAX_MEDIA_WAITING", 250)
    room.say("a")
    room.event("received")
    with engine_held_up():
        for _ in range(5):
            room.hub.receive({"client": "a", "media": True}, [bytes(100)])
    settle()
    assert (room.events.qsize(), room.hub.dropped) == (2, 3)
    room.hub.receive({"client": "a", "media": True}, [bytes(100)])
    settle()
    assert room.events.qsize() == 3, "what was taken in makes room"


def test_a_flood_is_bounded(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    monkeypatch.setattr(comm, "MAX_WAITING", 5)
    with engine_held_up():
        for _ in range(20):
            room.say("a")
    settle()
    assert room.hub.dropped == 15
    assert room.events.qsize() == 5
