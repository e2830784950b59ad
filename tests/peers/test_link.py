"""Two headless clients of a mesh connect, whoever offers first, and again when something went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtclab.measure import read_frame_code
from rtclab.peers import TestPattern, link, rtc
from rtclab.peers.link import Link
from rtclab.peers.mesh import Mesh
from rtclab.peers.outlets import Spread
from rtclab.peers.sources import as_source


class Side:
    """One client: its link, what it publishes, what it has said."""

    def __init__(self, name: str, polite: bool, wire: Wire) -> None:
        self.name, self.polite = name, polite
        self.said: list[dict[str, Any]] = []
        self.wire = wire
        self.pattern = TestPattern(160, 90, 20, sound=False, stream=1 if polite else 2)
        self.spreads: dict[str, Spread] = {}
        self.link = Link(name, polite, self.say, lambda: wire.changed.set())

    def say(self, description: Any, candidate: Any, tracks: Any) -> None:
        message = {"description": description, "candidate": candidate, "tracks": tracks}
        self.said.append(message)
        self.wire.carry(self, message)

    def publish(self, track: str, pattern: TestPattern | None = None) -> None:
        (feed,) = as_source(pattern or self.pattern).open()
        self.spreads[track] = Spread(feed, 0.0, lambda spread: None)
        self.link.carry(self.spreads)

    async def unpublish(self, track: str) -> None:
        spread = self.spreads.pop(track)
        spread.stop()
        self.link.carry(self.spreads)
        await spread.finished(2)

    def descriptions(self) -> list[str]:
        return [message["description"]["type"] for message in self.said]

    async def receives(self, track: str, frames: int = 3) -> list[int]:
        """The stream numbers in the next pictures of a track of the other."""
        streams: list[int] = []

        class Listener:
            def _push(self, frame: Any, now: float, inlet: Any) -> None:
                code = read_frame_code(frame.to_ndarray(format="rgb24"))
                if code is not None:
                    streams.append(code.stream)

            def _unbind(self, inlet: Any) -> None:
                inlet.listeners.discard(self)

        listener: Any = Listener()
        while len(streams) < frames:
            inlet = self.link.inlet(track)
            if inlet is not None:
                inlet.listeners.add(listener)
            await asyncio.sleep(0.01)
        inlet = self.link.inlet(track)
        assert inlet is not None
        inlet.listeners.discard(listener)
        return streams

    async def close(self) -> None:
        await self.link.close()
        for track in list(self.spreads):
            await self.unpublish(track)


class Wire:
    """What the room does: messages in order, later than the sender's call."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.sides: list[Side] = []
        self.lose: Callable[[Side, dict[str, Any]], bool] = lambda side, message: False

    def carry(self, sender: Side, message: dict[str, Any]) -> None:
        if self.lose(sender, message):
            return
        other = next((side for side in self.sides if side is not sender), None)
        if other is not None:
            asyncio.get_running_loop().call_later(0.005, lambda: other.link.receive(message))


def run(test: Callable[[Side, Side, Wire], Awaitable[None]]) -> None:
    async def main() -> None:
        wire = Wire()
        wire.sides = [Side("impolite", False, wire), Side("polite", True, wire)]
        try:
            async with asyncio.timeout(40):
                await test(wire.sides[0], wire.sides[1], wire)
        finally:
            for side in wire.sides:
                await side.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(rest, timeout=5) if rest else None
        assert not [task for task in rest if not task.done()]

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 10 s")


def test_both_offer_at_once() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        impolite.publish("i")
        polite.publish("p")
        assert await polite.receives("i") == [2, 2, 2]
        assert await impolite.receives("p") == [1, 1, 1]
        # the polite one took its first offer back, answered, and offered again
        assert impolite.descriptions() == ["offer", "answer"]
        assert polite.descriptions() == ["offer", "answer", "offer"]

    run(test)


def test_only_one_has_something_to_send() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        polite.publish("p")
        await impolite.receives("p")
        assert impolite.said[0]["tracks"] == []
        assert impolite.link.inlet("nothing") is None

    run(test)


@pytest.mark.parametrize("glare", [False, True])
def test_tracks_come_and_go_without_a_new_connection(glare: bool) -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        impolite.publish("i1")
        polite.publish("p1")
        await polite.receives("i1")
        await impolite.receives("p1")
        connections = [impolite.link._connection, polite.link._connection]
        for number in range(2, 5):
            await impolite.unpublish(f"i{number - 1}")
            impolite.publish(f"i{number}", TestPattern(160, 90, 20, sound=False, stream=10 + number))
            if glare:
                polite.publish(f"p{number}", TestPattern(160, 90, 20, sound=False, stream=20 + number))
                assert (await impolite.receives(f"p{number}"))[-1] == 20 + number
            assert (await polite.receives(f"i{number}", 4))[-1] == 10 + number
            assert polite.link.inlet(f"i{number - 1}") is None
        await impolite.receives("p1")
        assert [impolite.link._connection, polite.link._connection] == connections
        sending = [line for line in impolite.link._lines.sending if line.transceiver.kind == "video"]
        assert len(sending) == 1  # the m-line is used again

    run(test)


def test_the_other_begins_anew() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        for side in (impolite, polite):
            side.publish(side.name)
        await polite.receives("impolite")
        await impolite.receives("polite")
        for side in (polite, impolite):
            await side.link.close()
            side.link = Link(side.name, side.polite, side.say, lambda: None)
            side.link.carry(side.spreads)
            await polite.receives("impolite")
            await impolite.receives("polite")

    run(test)


def test_a_connection_that_fails_is_replaced() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        for side in (impolite, polite):
            side.publish(side.name)
        await polite.receives("impolite")
        before = impolite.link._connection
        await before.close()
        await until(lambda: impolite.link._connection is not before)
        await polite.receives("impolite")
        await impolite.receives("polite")

    run(test)


@pytest.mark.parametrize("kind", ["offer", "answer"])
def test_a_lost_message_costs_time_only(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CONNECT_WITHIN_S", {False: 1.0, True: 1.5})

    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        lost: list[str] = []

        def lose(side: Side, message: dict[str, Any]) -> bool:
            if message["description"]["type"] == kind and side.name not in lost:
                lost.append(side.name)
                return True
            return False

        wire.lose = lose
        for side in (impolite, polite):
            side.publish(side.name)
        await polite.receives("impolite")
        await impolite.receives("polite")
        assert lost

    run(test)


def test_answers_of_an_earlier_connection_do_no_harm() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        for side in (impolite, polite):
            side.publish(side.name)
        await polite.receives("impolite")
        await impolite.receives("polite")
        stale = next(message for message in polite.said if message["description"]["type"] == "answer")
        for side in (impolite, polite):
            await side.link.close()
        for side in (impolite, polite):
            side.link = Link(side.name, side.polite, side.say, lambda: None)
        impolite.link.carry(impolite.spreads)
        impolite.link.receive(stale)
        await asyncio.sleep(0.05)
        polite.link.carry(polite.spreads)
        await polite.receives("impolite")
        await impolite.receives("polite")

    run(test)


def test_rubbish_from_the_other_side() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        for side in (impolite, polite):
            side.publish(side.name)
        await polite.receives("impolite")
        rubbish: list[dict[str, Any]] = [
            {"description": None, "candidate": None, "tracks": []},
            {"description": None, "candidate": {"candidate": "candidate:x", "sdpMid": "0"}, "tracks": []},
            {"description": None, "candidate": {"candidate": "", "sdpMid": None}, "tracks": []},
            {"description": {"type": "answer", "sdp": ""}, "candidate": None, "tracks": []},
            {"description": {"type": "offer", "sdp": "v=0"}, "candidate": None, "tracks": []},
            {
                "description": {"type": "offer", "sdp": "v=0\r\nm=video 9 X 1\r\na=mid:7"},
                "candidate": None,
                "tracks": [{"mid": "7", "track": "t"}],
            },
        ]
        for message in rubbish:
            polite.link.receive(message)
        await asyncio.sleep(0.1)
        await polite.receives("impolite")
        await impolite.receives("polite")

    run(test)


def test_what_is_counted_is_what_arrives() -> None:
    async def test(impolite: Side, polite: Side, wire: Wire) -> None:
        impolite.publish("i")
        await polite.receives("i", 20)
        await impolite.unpublish("i")  # nothing is on its way any more
        await asyncio.sleep(0.1)
        (sent,) = (line for line in impolite.link._lines.sending if line.outlet.frames)
        (received,) = (line for line in polite.link._lines.receiving if line.inlet.frames)
        one, other = impolite.link._lines._meter, polite.link._lines._meter
        assert one is not None
        assert other is not None
        up = one.sent(sent.transceiver.sender)
        down = other.received(received.transceiver.receiver)
        assert up.packets == down.packets >= 20
        assert up.payload == down.payload
        assert up.plain == down.plain
        assert 0 <= sent.outlet.frames - received.inlet.frames <= 2  # the last one waits for its successor

    run(test)


def test_eight_in_a_mesh_know_whom_to_close() -> None:
    async def main() -> None:
        said: list[dict[str, Any]] = []
        mesh = Mesh(said.append, lambda: None)
        peers = [{"id": f"p{number}", "name": f"n{number}", "polite": False} for number in range(7)]
        mesh.connect(peers)
        links = dict(mesh._links)
        await until(lambda: len({message["to"] for message in said}) == 7)
        mesh.receive({"from": "stranger", "description": None, "candidate": None, "tracks": []})
        mesh.connect(peers[1:])
        assert set(mesh._links) == {peer["id"] for peer in peers[1:]}
        assert all(mesh._links[id] is links[id] for id in mesh._links)
        await until(lambda: links["p0"]._connection.connectionState == "closed")
        await mesh.close()
        assert all(link._connection.connectionState == "closed" for link in links.values())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_taken_back_offer_can_be_made_again() -> None:
    async def main() -> None:
        one, other = rtc.new_connection(), rtc.new_connection()
        one.addTransceiver("video", "sendonly")
        other.addTransceiver("video", "sendonly")
        await rtc.make_offer(one)
        theirs = await rtc.make_offer(other)
        rtc.roll_back(one)
        assert one.signalingState == "stable"
        assert one.getTransceivers()[0].mid is None
        answer = await rtc.take_offer(one, theirs)
        await rtc.take_answer(other, answer)
        assert [t.currentDirection for t in one.getTransceivers()] == ["inactive", "recvonly"]
        again = await rtc.make_offer(one)
        assert again.count("m=video") == 2
        await rtc.take_answer(one, await rtc.take_offer(other, again))
        assert [t.currentDirection for t in one.getTransceivers()] == ["sendonly", "recvonly"]
        assert [t.currentDirection for t in other.getTransceivers()] == ["sendonly", "recvonly"]
        await asyncio.gather(one.close(), other.close())

    asyncio.run(main())
