"""A page's frames in the order in which it numbered them.

A comm may hand over two of them the wrong way round, because its handlers run on any thread, and lose some
when too many wait. What comes too early waits a moment for what is missing; then that counts as lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from .tunnel_format import Frame

WAIT_S = 0.1
MAX_HELD = 8  # frames that wait, each of up to a megabyte


class Order:
    """Frames of one direction.

    Attributes
    ----------
    taken : int
        Number of the newest frame that was given out.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._held: dict[int, tuple[float, Frame]] = {}  # in the order in which they came

    def add(self, frame: Frame, now: float) -> bool:
        """Take a frame; False if its turn is over or it was there before."""
        if frame.number <= self.taken or frame.number in self._held:
            return False
        self._held[frame.number] = now, frame
        return True

    def take(self, now: float) -> Iterator[tuple[int, Frame]]:
        """The frames whose turn it is, each with how many before it are lost."""
        while self._held:
            number = min(self._held)
            missing = number - self.taken - 1
            oldest, _ = next(iter(self._held.values()))
            if missing and len(self._held) <= MAX_HELD and now - oldest < WAIT_S:
                return
            self.taken = number
            yield missing, self._held.pop(number)[1]
