"""Transport-wide congestion control, the receiver's half.

draft-holmer-rmcat-transport-wide-cc-extensions-01. Each packet of a transport carries a 16-bit number in a
header extension. The receiver reports when each one arrived::

    base number(16)  count(16)  reference time(24, 64 ms)  feedback count(8)
    status chunks: 0 SS run(13) | 1 0 one bit x 14 | 1 1 two bits x 7; 0 missing, 1 small, 2 large delta
    deltas in 250 us since the packet received before: one byte if small, two signed ones if large

A packet that arrives after it was reported missing is reported again, with all that followed it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .rtcp import RTPFB
from .sequence import Unwrapper

_WINDOW = 4096  # packets remembered, and reported at most
_TICKS_PER_S = 4000
_MAX_RUN = 0x1FFF
_MAX_SIZE = 1000
_MAX_GAP_SIZE = 6  # a run chunk and two vectors that are cut short by it


class FeedbackRecorder:
    """Arrival times of the packets of one transport, reported in RTCP feedback packets."""

    __slots__ = ("_arrivals", "_fresh", "_highest", "_sent", "_start", "_unwrapper")

    def __init__(self) -> None:
        self._unwrapper = Unwrapper(16)
        self._arrivals: dict[int, float] = {}
        self._highest = 0
        self._start = 0  # first number of the next feedback
        self._fresh = False
        self._sent = 0

    def receive(self, sequence: int, now: float) -> None:
        """Note that packet `sequence` (16 bits) arrived at `now` seconds; only its first arrival counts."""
        extended = self._unwrapper.unwrap(sequence)
        arrivals = self._arrivals
        if not arrivals or extended <= self._highest - _WINDOW:
            # The first packet; or one so late that the sender must have begun anew.
            arrivals.clear()
            self._start = self._highest = extended
        elif extended > self._highest:
            self._highest = extended
        elif extended in arrivals:
            return
        elif extended < self._start:
            self._start = extended
        arrivals[extended] = now
        self._fresh = True
        if len(arrivals) >= 2 * _WINDOW:
            oldest = self._highest - _WINDOW
            self._arrivals = {number: at for number, at in arrivals.items() if number > oldest}

    def build(self, sender_ssrc: int, media_ssrc: int) -> list[bytes]:
        """Report what arrived since the last call.

        Parameters
        ----------
        sender_ssrc, media_ssrc : int
            Who reports, and any source of the transport.

        Returns
        -------
        list of bytes
            RTCP packets of at most about 1000 bytes; more than one after long gaps or many arrivals, none if
            nothing arrived.
        """
        if not self._fresh:
            return []
        packets: list[bytes] = []
        base = max(self._start, self._highest - _WINDOW + 1)
        symbols: list[int] = []
        deltas = bytearray()
        reference = last = missing = size = 0
        for number in range(base, self._highest + 1):
            arrival = self._arrivals.get(number)
            if arrival is None:
                missing += 1
                continue
            tick = round(arrival * _TICKS_PER_S)
            if symbols and (not -0x8000 <= tick - last <= 0x7FFF or size > _MAX_SIZE):
                packets.append(self._pack(sender_ssrc, media_ssrc, base, reference, symbols, deltas))
                base = number - missing
                symbols.clear()
                deltas.clear()
                size = 0
            if not symbols:
                reference = tick >> 8
                last = reference << 8
            symbols += [0] * missing
            delta = tick - last
            if 0 <= delta <= 0xFF:
                symbols.append(1)
                deltas.append(delta)
            else:
                symbols.append(2)
                deltas += delta.to_bytes(2, "big", signed=True)
            size += symbols[-1] + 1 + min(missing, _MAX_GAP_SIZE)  # the delta, its share of a chunk, the gap
            last = tick
            missing = 0
        packets.append(self._pack(sender_ssrc, media_ssrc, base, reference, symbols, deltas))
        self._start = self._highest + 1
        self._fresh = False
        return packets

    def _pack(
        self,
        sender_ssrc: int,
        media_ssrc: int,
        base: int,
        reference: int,
        symbols: Sequence[int],
        deltas: bytearray,
    ) -> bytes:
        body = struct.pack(
            ">IIHHI",
            sender_ssrc,
            media_ssrc,
            base & 0xFFFF,
            len(symbols),
            (reference & 0xFFFFFF) << 8 | self._sent,
        )
        self._sent = (self._sent + 1) & 0xFF
        body += _chunks(symbols) + deltas
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes((padding,))
        return struct.pack(">BBH", 0xAF if padding else 0x8F, RTPFB, len(body) // 4) + body


def _chunks(symbols: Sequence[int]) -> bytes:
    """Encode status symbols: a run where it is at least as short as a vector, else one or two bits each."""
    packed = bytearray()
    position, end = 0, len(symbols)
    while position < end:
        symbol = symbols[position]
        run = position + 1
        while run < end and symbols[run] == symbol and run - position < _MAX_RUN:
            run += 1
        vector = symbols[position : position + 14]
        one_bit = 2 not in vector
        if run == end or run - position >= (14 if one_bit else 7):
            chunk = symbol << 13 | run - position
            position = run
        elif one_bit:
            chunk = 0x8000
            for shift, bit in zip(range(13, -1, -1), vector, strict=False):
                chunk |= bit << shift
            position += 14
        else:
            chunk = 0xC000
            for shift, pair in zip(range(12, -1, -2), vector, strict=False):
                chunk |= pair << shift
            position += 7
        packed += chunk.to_bytes(2, "big")
    return bytes(packed)
