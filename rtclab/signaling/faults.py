"""Signaling on demand late, out of order or lost: to be put between a carrier and a room.

    faults = Faults(room.connect, delay_s=0.1, loss=0.05)     # is a `Connect`, as `room.connect` is
    faults.lose("answer")                                     # the next answer does not arrive
    faults.hold_up("tracks", 0.5)                             # the next list is overtaken by what follows
    faults.gather("offer", 2)                                 # the next two set out at the same moment

A carrier such as a WebSocket keeps the order and loses nothing while it lives; a datagram does neither. So
messages overtake each other only with `reorder`, or when they are held up by name.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from .carrier import Carrier, Endpoint

MAX_PASSAGES: Final = 1000

Direction = Literal["in", "out"]


class Passage(NamedTuple):
    """What became of one message.

    Attributes
    ----------
    direction : str
        ``"in"``, to the room, or ``"out"``, to a client.
    type : str
        The message's type; ``"?"`` if it has none.
    sent_s : float
        When it came, in seconds of the engine's clock.
    arrives_s : float or None
        When it is handed on; None if it is lost.
    """

    direction: Direction
    type: str
    sent_s: float
    arrives_s: float | None


class Faults:
    """A room's `Connect` with a bad line before it.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    delay_s : float
        What each message takes, in each direction, in seconds.
    jitter_s : float
        Up to this much more, drawn for each message.
    loss : float
        Share of the messages that are lost, 0 to 1.
    reorder : bool
        Whether messages may overtake each other.
    seed : int
        Of the generator, so that a run can be repeated.

    Attributes
    ----------
    passages : collections.deque of Passage
        The last thousand messages.
    """

    def __init__(
        self,
        connect: Callable[..., Endpoint],
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        reorder: bool = False,
        seed: int = 1,
    ) -> None:
        if delay_s < 0 or jitter_s < 0 or not 0 <= loss <= 1:
            raise ValueError("delay_s and jitter_s must not be negative, and loss is a share from 0 to 1")
        self.delay_s, self.jitter_s, self.loss, self.reorder = delay_s, jitter_s, loss, reorder
        self.passages: deque[Passage] = deque(maxlen=MAX_PASSAGES)
        self._connect = connect
        self._random = random.Random(seed)
        self._to_lose: Counter[str] = Counter()
        self._to_hold_up: dict[str, float] = {}
        self._to_gather: dict[str, tuple[int, list[Callable[[], None]]]] = {}

    def __call__(self, carrier: Carrier, *rest: Any) -> Endpoint:
        """Take in a client, as the room's own `Connect` does; on the engine's thread."""
        line = _Line(self, carrier)
        line.endpoint = self._connect(line, *rest)
        return line

    def lose(self, kind: str, count: int = 1) -> None:
        """Lose the next `count` messages of this type, whichever way they go."""
        self._to_lose[kind] += count

    def hold_up(self, kind: str, seconds: float) -> None:
        """Let the next message of this type take so much longer, and what follows it overtake it."""
        self._to_hold_up[kind] = seconds

    def gather(self, kind: str, count: int) -> None:
        """Keep the next `count` messages of this type, whoever sends them, until the last of them has come.

        What follows one of them overtakes it.
        """
        self._to_gather[kind] = count, []

    def keeps(self, message: object, set_out: Callable[[], None]) -> bool:
        """Whether a message is kept; `set_out` is called once those that it waits for have come."""
        kind = _kind(message)
        if kind not in self._to_gather:
            return False
        count, kept = self._to_gather[kind]
        kept.append(set_out)
        if len(kept) == count:
            del self._to_gather[kind]
            for each in kept:
                each()
        return True

    def arrival(
        self, direction: Direction, message: object, now: float, last: float
    ) -> tuple[float | None, float]:
        """When a message arrives that is sent `now`, None if it is lost; and the next `last`.

        Parameters
        ----------
        last : float
            When the latest of those before it arrives that must not be overtaken, in the same direction.
        """
        kind = _kind(message)
        arrives: float | None = now + self.delay_s + self.jitter_s * self._random.random()
        lost = self._random.random() < self.loss
        if self._to_lose[kind] > 0:
            self._to_lose[kind] -= 1
            lost = True
        if lost:
            arrives = None
        elif (longer := self._to_hold_up.pop(kind, None)) is not None:
            arrives = now + self.delay_s + longer
        elif not self.reorder and arrives is not None:
            arrives = last = max(arrives, last)
        self.passages.append(Passage(direction, kind, now, arrives))
        return arrives, last


def _kind(message: object) -> str:
    return str(message.get("type", "?")) if isinstance(message, dict) else "?"


class _Line:
    """One client's line: the carrier of the room, and the endpoint of the carrier."""

    def __init__(self, faults: Faults, carrier: Carrier) -> None:
        self.endpoint: Endpoint | None = None
        self._carrier = carrier
        self._to_client = _Queue(faults, "out", carrier.send)
        self._to_room = _Queue(faults, "in", self._hand_over)

    @property
    def kind(self) -> str:
        """That of the carrier."""
        return self._carrier.kind

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the client."""
        self._to_client.put(message)

    def close(self) -> None:
        """End it from the room's side, once everything sent before has arrived."""
        self.endpoint = None
        self._to_room.clear()
        self._to_client.end(self._carrier.close)

    def receive(self, message: object) -> None:
        """Take what the client sent."""
        self._to_room.put(message)

    def receive_media(self, data: bytes) -> None:
        """Take one binary message of the client; this line is bad for messages only."""
        if self.endpoint is not None:
            self.endpoint.receive_media(data)

    def lost(self, reason: str) -> None:
        """Learn that the carrier is gone, and with it all that was on its way."""
        self._to_room.clear()
        self._to_client.clear()
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            endpoint.lost(reason)

    def _hand_over(self, message: Any) -> None:
        if self.endpoint is not None:
            self.endpoint.receive(message)


class _Queue:
    """What is on its way in one direction."""

    def __init__(self, faults: Faults, direction: Direction, deliver: Callable[[Any], object]) -> None:
        self._faults = faults
        self._direction: Direction = direction
        self._deliver = deliver
        self._waiting: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ending: Callable[[], object] | None = None

    def put(self, message: Any) -> None:
        """Let a message set out."""
        if self._faults.keeps(message, lambda: self.put(message)):
            return
        now = asyncio.get_running_loop().time()
        arrives, self._last = self._faults.arrival(self._direction, message, now, self._last)
        if arrives is not None and self._ending is None:
            heapq.heappush(self._waiting, (arrives, next(self._numbers), message))
            self._wait()

    def end(self, ending: Callable[[], object]) -> None:
        """Call `ending` after the last message."""
        self._ending = ending
        self._wait()

    def clear(self) -> None:
        """Forget what is on its way."""
        self._waiting.clear()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._waiting[0][0] if self._waiting else 0.0
        self._timer = asyncio.get_running_loop().call_at(due, self._arrived)

    def _arrived(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] <= now:
            self._deliver(heapq.heappop(self._waiting)[2])
        if self._waiting:
            self._wait()
        elif self._ending is not None:
            ending, self._ending = self._ending, None
            ending()
