"""What clients are told when the room's architecture is switched while they are in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rtclab
from rtclab.engine import get_engine
from rtclab.errors import Closed, RtclabError
from rtclab.forwarding.architecture import Architecture, Stage, architectures
from rtclab.signaling import inprocess
from rtclab.signaling.messages import VERSION
from waiting import until


class Bare:
    """A client that only talks."""

    def __init__(self, room: rtclab.Room, name: str) -> None:
        self.got: list[dict[str, Any]] = []
        self.name = name
        get_engine().run(self._open(room))
        self.say({"type": "join", "id": 1, "version": VERSION, "name": name})
        self.id = self.hear(lambda one: one["type"] == "welcome")["participant"]["id"]

    async def _open(self, room: rtclab.Room) -> None:
        self.carrier = inprocess.open(room._server.connect)

    def say(self, message: dict[str, Any]) -> None:
        async def send() -> None:
            self.carrier.send_to_room(message)

        get_engine().run(send())

    def hear(self, which: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message that `which` is true of."""
        while True:
            message: dict[str, Any] = get_engine().run(self.carrier.receive(), 10, "a message")
            if which(message):
                return message


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room(host_candidates=["127.0.0.1"]) as room:
        yield room


def test_everybody_is_told_and_newcomers_too(room: rtclab.Room) -> None:
    early = Bare(room, "early")
    for name in ("relay", "mesh"):
        room.architecture = name
        told = early.hear(lambda one: one["type"] == "architecture")
        assert (told["name"], told["direct"], told["peers"]) == (name, name == "mesh", [])
    assert room.architecture == "mesh"
    late = Bare(room, "late")
    assert late.hear(lambda one: one["type"] == "architecture")["direct"]
    with pytest.raises(rtclab.errors.RtclabError, match="no architecture 'stars'"):
        room.architecture = "stars"
    assert room.architecture == "mesh"


def test_in_a_mesh_clients_learn_of_each_other_and_talk(room: rtclab.Room) -> None:
    room.architecture = "mesh"
    watcher, other = Bare(room, "watcher"), Bare(room, "other")
    alice = room.join("alice")
    alice.publish(rtclab.TestPattern(160, 90, fps=5, sound=False))
    told = watcher.hear(lambda one: one["type"] == "architecture" and bool(one["peers"]))
    # who only watches has nothing to do with another who only watches
    assert [peer["name"] for peer in told["peers"]] == ["alice"]
    content: dict[str, Any] = {
        "description": {"type": "offer", "sdp": "v=0"},
        "candidate": None,
        "tracks": [],
    }
    watcher.say({"type": "peer", "to": other.id, **content})
    heard = other.hear(lambda one: one["type"] == "peer" and one["from"] == watcher.id)
    assert heard == {"type": "peer", "from": watcher.id, **content}
    watcher.say({"type": "peer", "to": "p99", **content})
    assert watcher.hear(lambda one: one["type"] == "error")["code"] == "unknown_peer"
    alice.leave()
    assert watcher.hear(lambda one: one["type"] == "architecture")["peers"] == []
    room.architecture = "sfu"
    watcher.say({"type": "peer", "to": other.id, **content})
    assert watcher.hear(lambda one: one["type"] == "error")["code"] == "not_allowed"


def test_of_each_pair_one_is_polite(room: rtclab.Room) -> None:
    room.architecture = "mesh"
    names = ["one", "two", "three"]
    peers = [room.join(name) for name in names]
    for peer in peers:
        peer.publish(rtclab.TestPattern(160, 90, fps=1, sound=False))

    def roles() -> set[tuple[str, str, bool]]:
        newest: dict[str, list[dict[str, Any]]] = {}
        for entry in room.signaling:
            if entry.message.get("type") == "architecture" and entry.participant is not None:
                newest[entry.participant] = entry.message["peers"]
        return {(name, peer["name"], peer["polite"]) for name, told in newest.items() for peer in told}

    seen = roles()
    pairs = [(one, other) for one in names for other in names if one < other]
    assert len(seen) == 2 * len(pairs)
    for one, other in pairs:
        assert ((one, other, True) in seen) != ((other, one, True) in seen)


def test_who_publishes_into_a_mesh_is_told_at_once_to_send_the_room_nothing(room: rtclab.Room) -> None:
    room.architecture = "mesh"
    alice = room.join("alice")
    alice.publish(rtclab.TestPattern(160, 90, fps=5, sound=False))
    told = [entry.message for entry in room.signaling if entry.direction == "out"]
    kinds = [message["type"] for message in told]
    assert kinds[kinds.index("answer") :][:2] == ["answer", "encodings"]
    assert not told[kinds.index("encodings")]["active"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Architecture]], type[Architecture]]:
    """Registers an architecture as ``"own"`` for one test."""
    monkeypatch.setitem(architectures, "own", Architecture)
    return rtclab.architecture("own")


def test_a_method_without_a_return_does_not_stop_the_room(
    room: rtclab.Room, own: Callable[[type[Architecture]], type[Architecture]]
) -> None:
    methods = dict.fromkeys(("choose", "upstream", "lists"), lambda *arguments: None)
    own(type("Silent", (Architecture,), methods))
    alice, bob = room.join("alice"), room.join("bob")
    alice.publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
    video = bob.watch("alice")
    room.architecture = "own"
    before, rounds = video.received, room._ticked
    until(lambda: video.received > before + 10, "the picture stands still")
    until(lambda: room._ticked > rounds + 1, "the room's time has ended")
    carol = room.join("carol")
    assert carol.watch("alice").next_frame(20).shape == (90, 160, 3)


@pytest.mark.parametrize("begun", [False, True])
def test_an_architecture_that_cannot_begin_is_not_taken_up(
    room: rtclab.Room, own: Callable[[type[Architecture]], type[Architecture]], begun: bool
) -> None:
    @own
    class Broken(Architecture):
        def __init__(self, stage: Stage) -> None:
            if begun:
                super().__init__(stage)
            raise ZeroDivisionError("a mistake")

    room.architecture = "mcu"
    former = room._router.architecture
    alice, bob = room.join("alice"), room.join("bob")
    alice.publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
    video = bob.watch("alice")
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        room.architecture = "own"
    assert room.architecture == "mcu"
    assert room._router.architecture is former
    before = video.received
    until(lambda: video.received > before + 3, "the picture stands still")
    assert video.via == "mix"
    room.architecture = "sfu"
    until(lambda: video.via == "room", "it cannot be switched any more")


def test_a_room_that_cannot_begin_gives_its_port_back(
    room: rtclab.Room, own: Callable[[type[Architecture]], type[Architecture]]
) -> None:
    own(type("Broken", (Architecture,), {"__init__": lambda self, stage: None}))
    port = room.udp_port
    room.close()
    for _ in range(2):
        with pytest.raises(RtclabError, match="must call"):
            rtclab.Room(udp_port=port, host_candidates=["127.0.0.1"], architecture="own")


def test_a_mistake_in_a_tick_does_not_end_the_rooms_time(
    room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = room._router.tick
    failed: list[float] = []

    def fail_once(now: float) -> None:
        if not failed:
            failed.append(now)
            raise ZeroDivisionError
        tick(now)

    monkeypatch.setattr(room._router, "tick", fail_once)
    until(lambda: failed and room._ticked > failed[0] + 1, "the room's time has ended")


def test_a_closed_room_is_not_switched() -> None:
    room = rtclab.Room(host_candidates=["127.0.0.1"], architecture="relay")
    assert room.architecture == "relay"
    room.close()
    with pytest.raises(Closed):
        room.architecture = "sfu"
