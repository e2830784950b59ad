"""A steady beat: when is the next tick due, and which number has it?

Tick `n` is due at ``start + n * interval``, so nothing adds up. Ticks that were missed are skipped, apart
from the last few of a clock that is told to make up for them (sound, where a receiver's buffer bridges a
delay but nothing bridges a hole).
"""

from __future__ import annotations

import math


class Beat:
    """The ticks of one clock.

    Parameters
    ----------
    interval : float
        Seconds between two ticks.
    start : float
        When tick 0 is due, in seconds.
    catch_up : int
        How many missed ticks are made up for.

    Attributes
    ----------
    interval, start : float
        As given.
    skipped : int
        Ticks that were left out.
    """

    def __init__(self, interval: float, start: float, catch_up: int = 0) -> None:
        self.interval = interval
        self.skipped = 0
        self.start = start
        self._catch_up = catch_up
        self._next = 0

    @property
    def due(self) -> float:
        """When the next tick is due, in seconds."""
        return self.start + self._next * self.interval

    def take(self, now: float) -> int | None:
        """The number of the tick to do at `now`; None if it is too early for the next one."""
        if now < self.due:
            return None
        newest = max(math.floor((now - self.start) / self.interval), self._next)
        newest += self.start + (newest + 1) * self.interval <= now  # where the division was rounded down
        missed = newest - self._next - self._catch_up
        if missed > 0:
            self.skipped += missed
            self._next += missed
        self._next += 1
        return self._next - 1
