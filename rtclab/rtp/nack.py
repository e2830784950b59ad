"""Which packets to ask for again: the NACK list of one source (RFC 4585 section 6.2.1).

A gap is asked for at once, then again each round trip until it is filled, too old or asked for ten times.
When the list would overflow, what lies before the newest keyframe is given up; if that is not enough,
everything is, and only a keyframe helps.
"""

from __future__ import annotations

MAX_MISSING = 1000
MAX_TRIES = 10
# With 250 numbers the request fits one datagram, whatever lies between them.
MAX_ASKED = 250
# The sender needs time to answer, however short the way.
MIN_INTERVAL_S = 0.02


class NackGenerator:
    """The missing packets of one SSRC.

    Parameters
    ----------
    rtt : float
        Round trip time to the sender in seconds, until `due` is told a better one.

    Attributes
    ----------
    overflow : bool
        Packets were given up: a keyframe is wanted. Cleared by the next keyframe.
    """

    __slots__ = ("_highest", "_keyframe", "_missing", "_rtt", "overflow")

    def __init__(self, rtt: float) -> None:
        self.overflow = False
        self._rtt = rtt
        self._highest: int | None = None
        self._keyframe = -1
        self._missing: dict[int, tuple[float, int]] = {}  # extended number -> when asked last, how often

    def __len__(self) -> int:
        return len(self._missing)

    def receive(self, sequence: int, keyframe: bool, now: float) -> tuple[int, ...]:
        """Take note of a packet, received or recovered.

        Parameters
        ----------
        sequence : int
            Its extended sequence number.
        keyframe : bool
            Whether it begins a keyframe.
        now : float
            Its arrival, in seconds.

        Returns
        -------
        tuple of int
            The 16-bit sequence numbers newly found missing, to be asked for at once.
        """
        if keyframe and sequence > self._keyframe:
            self._keyframe = sequence
            self.overflow = False
        highest = self._highest
        if highest is None:
            self._highest = sequence
            return ()
        if sequence <= highest:
            self._missing.pop(sequence, None)
            return ()
        self._highest = sequence
        if sequence == highest + 1:
            return ()
        return self._add(highest + 1, sequence, now)

    def _add(self, first: int, end: int, now: float) -> tuple[int, ...]:
        """Note that the packets from `first` to before `end` are missing."""
        if len(self._missing) + end - first > MAX_MISSING:
            useful = max(self._keyframe, end - MAX_MISSING)
            self._missing = {number: asked for number, asked in self._missing.items() if number > useful}
            first = max(first, self._keyframe)
            if len(self._missing) + end - first > MAX_MISSING:
                self._missing.clear()
                self.overflow = True
                return ()
        asked = (now, 1)
        for number in range(first, end):
            self._missing[number] = asked
        return tuple([number & 0xFFFF for number in range(first, end)])

    def due(self, now: float, rtt: float | None = None) -> tuple[int, ...]:
        """Give the 16-bit sequence numbers to ask for again, at most 250 (the rest next time).

        Parameters
        ----------
        now : float
            The time in seconds.
        rtt : float, optional
            Round trip time to the sender in seconds, if known better than before.
        """
        if rtt is not None:
            self._rtt = rtt
        if not self._missing or self._highest is None:
            return ()
        asked_before = now - max(self._rtt, MIN_INTERVAL_S)
        oldest = self._highest - MAX_MISSING
        again: list[int] = []
        given_up: list[int] = []
        for number, (asked, tries) in self._missing.items():
            if number < oldest or (tries >= MAX_TRIES and asked <= asked_before):
                given_up.append(number)
            elif asked <= asked_before:
                self._missing[number] = (now, tries + 1)
                again.append(number & 0xFFFF)
                if len(again) == MAX_ASKED:
                    break
        for number in given_up:
            del self._missing[number]
        return tuple(again)
