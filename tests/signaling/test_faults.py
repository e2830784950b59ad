"""A bad line before a room: what is late, lost or overtaken, and that the rest stays as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rtclab.signaling.faults import Faults


class Ends:
    """A room's endpoint and a client's carrier in one, which note what reaches them."""

    kind = "in-process"

    def __init__(self) -> None:
        self.carrier: Any = None
        self.to_room: list[object] = []
        self.to_client: list[object] = []
        self.media: list[bytes] = []
        self.gone: list[str] = []
        self.all_four = asyncio.Event()
        self.closed = asyncio.Event()

    def connect(self, carrier: object) -> Ends:
        self.carrier = carrier
        return self

    def receive(self, message: object) -> None:
        self.to_room.append(message)
        if len(self.to_room) == 4:
            self.all_four.set()

    def receive_media(self, data: bytes) -> None:
        self.media.append(data)

    def lost(self, reason: str) -> None:
        self.gone.append(reason)

    def send(self, message: dict[str, Any]) -> None:
        self.to_client.append(message["type"])

    def close(self) -> None:
        self.closed.set()


def message(kind: str) -> dict[str, Any]:
    return {"type": kind}


def arrivals(faults: Faults, count: int) -> list[float | None]:
    last, times = 0.0, []
    for number in range(count):
        arrives, last = faults.arrival("in", message("ping"), number / 100, last)
        times.append(arrives)
    return times


def plan(**faults: Any) -> Faults:
    return Faults(lambda carrier: carrier, **faults)


def test_delay_is_the_same_for_all() -> None:
    assert arrivals(plan(delay_s=0.5), 3) == [0.5, 0.51, 0.52]


def test_jitter_keeps_the_order_unless_it_may_not() -> None:
    kept = [time for time in arrivals(plan(jitter_s=1.0), 100) if time is not None]
    mixed = [time for time in arrivals(plan(jitter_s=1.0, reorder=True), 100) if time is not None]
    assert kept == sorted(kept)
    assert mixed != sorted(mixed)
    assert len(kept) == len(mixed) == 100


def test_a_seed_makes_it_repeatable() -> None:
    assert arrivals(plan(jitter_s=1.0, loss=0.3, seed=7), 50) == arrivals(
        plan(jitter_s=1.0, loss=0.3, seed=7), 50
    )
    assert arrivals(plan(loss=0.3, seed=7), 50) != arrivals(plan(loss=0.3, seed=8), 50)


@pytest.mark.parametrize("loss", [0.0, 0.2, 1.0])
def test_the_share_of_the_lost(loss: float) -> None:
    lost = arrivals(plan(loss=loss), 1000).count(None)
    assert abs(lost - 1000 * loss) <= (60 if 0 < loss < 1 else 0)


def test_messages_are_lost_and_held_up_by_name() -> None:
    faults = plan(delay_s=0.1)
    faults.lose("answer")
    faults.hold_up("tracks", 2.0)
    assert faults.arrival("out", message("answer"), 0, 0)[0] is None
    assert faults.arrival("out", message("answer"), 0, 0) == (0.1, 0.1)
    assert faults.arrival("out", message("tracks"), 0, 0.1) == (2.1, 0.1)
    assert faults.arrival("out", message("tracks"), 1, 0.1) == (1.1, 1.1), "it overtakes"
    assert [passage.arrives_s for passage in faults.passages] == [None, 0.1, 2.1, 1.1]


@pytest.mark.parametrize("wrong", [{"delay_s": -1}, {"jitter_s": -1}, {"loss": 1.5}, {"loss": -0.1}])
def test_impossible_lines_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="share from 0 to 1"):
        plan(**wrong)


def test_both_directions_and_the_end() -> None:
    async def run() -> Ends:
        ends = Ends()
        faults = Faults(ends.connect, delay_s=0.02)
        faults.hold_up("second", 0.05)
        line = faults(ends)
        assert ends.carrier.kind == "in-process"
        for kind in ("first", "second", "third"):
            line.receive(message(kind))
            ends.carrier.send(message(kind))
        line.receive_media(b"frame")
        line.receive("no message at all")
        await asyncio.sleep(0)
        assert not ends.to_room
        await asyncio.wait_for(ends.all_four.wait(), 5)
        ends.carrier.send(message("last"))
        ends.carrier.close()
        line.receive(message("too late"))
        await asyncio.wait_for(ends.closed.wait(), 5)
        return ends

    ends = asyncio.run(run())
    assert ends.to_room == [message("first"), message("third"), "no message at all", message("second")]
    assert sorted(ends.to_client) == sorted(["first", "second", "third", "last"])  # type: ignore[type-var]
    assert ends.media == [b"frame"]
    assert not ends.gone


def test_what_was_on_its_way_is_gone_with_the_carrier() -> None:
    async def run() -> Ends:
        ends = Ends()
        line = Faults(ends.connect, delay_s=0.01)(ends)
        line.receive(message("ping"))
        ends.carrier.send(message("pong"))
        line.lost("cut")
        line.lost("cut")
        await asyncio.sleep(0.03)
        return ends

    ends = asyncio.run(run())
    assert (ends.to_room, ends.to_client, ends.gone) == ([], [], ["cut"])


def test_messages_of_one_type_wait_for_each_other() -> None:
    async def run() -> Ends:
        ends = Ends()
        faults = Faults(ends.connect)
        faults.gather("offer", 2)
        one, other = faults(ends), faults(ends)
        one.receive(message("offer"))
        one.receive(message("ping"))
        while not ends.to_room:  # noqa: ASYNC110 - turns of the loop are what is waited for
            await asyncio.sleep(0)
        assert ends.to_room == [message("ping")], "only the offer is kept"
        for kind in ("offer", "offer"):  # the third one is kept no more
            other.receive(message(kind))
        await asyncio.wait_for(ends.all_four.wait(), 5)
        return ends

    ends = asyncio.run(run())
    assert ends.to_room[1:] == [message("offer")] * 3
