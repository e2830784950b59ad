"""Packets of one stream become frames, in order and without waiting for the next frame.

A frame is complete when all its packets up to the marker bit are there, or the next one has another
timestamp. A hole is waited for, since a retransmission may fill it; after `PATIENCE_S`, or as soon as a
later keyframe is complete, what lies before is given up. Without its predecessors a frame cannot be
decoded, so then only a keyframe goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_S = 0.3
MOST_PACKETS = 1024


@dataclass(slots=True)
class Fragment:
    """One packet's part of a frame.

    Attributes
    ----------
    sequence : int
        Extended sequence number: it never wraps.
    timestamp : int
        RTP time.
    marker : bool
        Last packet of its frame.
    opens : bool
        First packet of a keyframe, or one of those that could be.
    payload : bytes
        As in the packet; empty for padding.
    """

    sequence: int
    timestamp: int
    marker: bool
    opens: bool
    payload: bytes


class Assembler:
    """Frames of one stream.

    Attributes
    ----------
    waiting : bool
        Whether only a keyframe can be used next: ask for one.
    lost : int
        How often something was given up.
    """

    def __init__(self) -> None:
        self.waiting = True
        self.lost = 0
        self._next = -1  # sequence number that the next frame begins with, unless waiting
        self._kept: dict[int, Fragment] = {}
        self._opens: dict[int, int] = {}  # where keyframes begin, by their timestamp
        self._hole_since: float | None = None

    def restart(self) -> None:
        """What was given out cannot be decoded: go on with a keyframe."""
        self.waiting = True
        self.lost += 1
        self._hole_since = None

    def add(self, fragment: Fragment) -> None:
        """Take in one packet; one that is too late is ignored."""
        if not self.waiting and fragment.sequence < self._next:
            return
        self._kept[fragment.sequence] = fragment
        if fragment.opens:
            # parameter sets and the first slice of H.264 both say so: the first of them counts
            known = self._opens.get(fragment.timestamp, fragment.sequence)
            self._opens[fragment.timestamp] = min(known, fragment.sequence)
        if len(self._kept) > MOST_PACKETS:
            self._kept.clear()
            self._opens.clear()
            self.restart()

    def take(self, now: float) -> list[Fragment] | None:
        """The packets of the next frame, padding left out; None if it is not complete at `now` (seconds)."""
        if not self.waiting:
            frame = self._frame(self._next)
            if frame is not None:
                return self._give(frame)
        if self._kept:
            for start in sorted(self._opens.values(), reverse=True):
                frame = self._frame(start)
                if frame is not None:
                    self.lost += not self.waiting
                    self.waiting = False
                    return self._give(frame)
        self._look_for_hole(now)
        return None

    def _look_for_hole(self, now: float) -> None:
        if self.waiting:
            return
        sequence = self._next
        while sequence in self._kept:
            sequence += 1
        if sequence - self._next == len(self._kept):  # what is there follows one another: it is only early
            self._hole_since = None
        elif self._hole_since is None:
            self._hole_since = now
        elif now - self._hole_since > PATIENCE_S:
            self.restart()

    def _frame(self, start: int) -> list[Fragment] | None:
        """The complete frame from number `start` on, padding before it included."""
        frame: list[Fragment] = []
        timestamp: int | None = None
        sequence = start
        while (fragment := self._kept.get(sequence)) is not None:
            if fragment.payload:
                if timestamp is None:
                    timestamp = fragment.timestamp
                elif fragment.timestamp != timestamp:
                    return frame
            frame.append(fragment)
            if fragment.marker and fragment.payload:
                return frame
            sequence += 1
        return None

    def _give(self, frame: list[Fragment]) -> list[Fragment]:
        self._next = frame[-1].sequence + 1
        self._hole_since = None
        self._kept = {number: kept for number, kept in self._kept.items() if number >= self._next}
        self._opens = {time: number for time, number in self._opens.items() if number >= self._next}
        return [fragment for fragment in frame if fragment.payload]
