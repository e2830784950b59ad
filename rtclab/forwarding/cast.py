"""Who gets a packet, and what is added to its numbers for each of them.

From picture to picture that rarely changes, so it is gathered from the columns once and kept until it
does: to write a picture for everybody then takes a handful of NumPy operations, whatever the number of
viewers. What went out is noted as which packets for which cast, once for all viewers; the number that a
packet had for one of them follows from its cast, so nobody needs a history of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..transport.batch import SLOTS, Clients, SendBatch
from .columns import HEADER, Integers, ViewerColumns, wholes
from .store import Packet

MAX_SHIPMENTS = 4096
KEEPS_GIL = 500  # elements: NumPy gives the GIL up around an operation on more of them


class Part(NamedTuple):
    """Some rows of a cast, as many as the arena holds at once, and the places of their packets in it."""

    rows: Integers
    clients: Clients
    header: npt.NDArray[np.void]
    send_time: npt.NDArray[np.uint8]
    sequence: Integers
    timestamp: Integers
    picture: Integers
    tl0: Integers
    slots: npt.NDArray[np.uint8]
    payloads: dict[int, npt.NDArray[np.void]]  # by how many bytes of them
    headers: npt.NDArray[np.void]
    sequences: npt.NDArray[np.uint16]
    timestamps: npt.NDArray[np.uint32]

    def payload(self, size: int) -> npt.NDArray[np.void]:
        """Where the first `size` bytes of the payload of each packet go, ``(rows, packets)``."""
        payloads = self.payloads.get(size)
        if payloads is None:
            payloads = self.payloads[size] = wholes(self.slots[:, :, HEADER : HEADER + size])
        return payloads


class Cast:
    """Rows that get the same packets.

    Parameters
    ----------
    columns : ViewerColumns
        Where everything about the rows is copied from.
    rows : numpy.ndarray
        Which, ascending.
    sequence, picture : numpy.ndarray, optional
        What is added for each row of the columns, where that is not what would be added now.

    Attributes
    ----------
    timestamp, tl0 : numpy.ndarray
        ``(rows, 1)``, like `sequence` and `picture`.
    renumbers : bool
        Whether any picture id or TL0PICIDX changes.
    packets, octets : int
        What each row has been sent and is not counted yet.
    """

    def __init__(
        self,
        columns: ViewerColumns,
        rows: Integers,
        sequence: Integers | None = None,
        picture: Integers | None = None,
    ) -> None:
        self.rows = rows
        self.path = columns.path[rows]
        self.header = wholes(columns.header)[rows]
        self.sequence = (columns.sequence_offset if sequence is None else sequence)[rows][:, None]
        self.timestamp = columns.timestamp_offset[rows][:, None]
        self.picture = (columns.picture_offset if picture is None else picture)[rows][:, None]
        self.tl0 = columns.tl0_offset[rows][:, None]
        self.renumbers = bool((self.picture & 0x7FFF).any() or (self.tl0 & 0xFF).any())
        self.packets = 0
        self.octets = 0
        self._parts: dict[int, list[Part]] = {}

    def place(self, row: int) -> int | None:
        """Where a row stands among those of the cast."""
        place = bisect_left(self.rows, row)  # `searchsorted` gives the GIL up
        return place if place < len(self.rows) and self.rows[place] == row else None

    def as_sent(self, place: int, packet: Packet) -> Sent:
        """What `packet` was like for the row at `place`."""
        picture = int(self.picture[place, 0]) + (packet.info.picture_id or 0) & 0x7FFF
        tl0 = int(self.tl0[place, 0]) + (packet.info.tl0 or 0) & 0xFF
        timestamp = packet.timestamp + int(self.timestamp[place, 0]) & 0xFFFFFFFF
        return Sent(packet, timestamp, picture << 8 | tl0)

    def parts(self, count: int, batch: SendBatch) -> list[Part]:
        """How bursts of `count` packets lie in the arena."""
        parts = self._parts.get(count)
        if parts is None:
            step = min(SLOTS, KEEPS_GIL) // count
            parts = self._parts[count] = [
                self._part(slice(begin, begin + step), count, batch)
                for begin in range(0, len(self.rows), step)
            ]
        return parts

    def _part(self, some: slice, count: int, batch: SendBatch) -> Part:
        rows = self.rows[some]
        used = len(rows) * count
        slots = batch.arena[:used].reshape(len(rows), count, -1)
        return Part(
            rows,
            Clients(self.path[some]),
            self.header[some][:, None],
            self.header[some].view(np.uint8).reshape(-1, HEADER)[:, HEADER - 3 :],
            self.sequence[some],
            self.timestamp[some],
            self.picture[some],
            self.tl0[some],
            slots,
            {},
            wholes(slots[:, :, :HEADER]),
            batch.arena16[:used, 1].reshape(len(rows), count),
            batch.arena32[:used, 1].reshape(len(rows), count),
        )


class Sent(NamedTuple):
    """A packet that went to a row, the timestamp it had for that row, and its picture numbers."""

    packet: Packet
    timestamp: int
    numbers: int


class Shipment(NamedTuple):
    """Packets that went to a cast; they follow one another. One that is `late` filled a hole."""

    cast: Cast
    packets: list[Packet]
    late: bool


class Shipments:
    """What of one stream went to whom, for as long as its packets are stored."""

    def __init__(self) -> None:
        self._all: deque[Shipment] = deque(maxlen=MAX_SHIPMENTS)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, shipment: Shipment, oldest: int) -> None:
        """Note what was sent, and forget what is older than the incoming number `oldest`."""
        shipments = self._all
        while shipments and shipments[0].packets[-1].sequence < oldest:
            shipments.popleft()
        shipments.append(shipment)

    def find(self, row: int, wanted: set[int]) -> dict[int, Sent]:
        """The packets that had certain numbers for `row`; what is found is taken out of `wanted`.

        Sequence numbers are not wrapped here. The numbers of a row ascend but for holes that are filled late,
        so the search goes back no further than to the lowest.
        """
        found: dict[int, Sent] = {}
        lowest = min(wanted)
        known: Cast | None = None
        for cast, packets, late in reversed(self._all):
            if cast is not known:
                known, place = cast, cast.place(row)
            if place is None:
                continue
            first = packets[0].sequence + int(cast.sequence[place, 0])
            if first + len(packets) <= lowest:
                if late:
                    continue
                break
            for number, packet in enumerate(packets, first):
                if number in wanted:
                    wanted.remove(number)
                    found[number] = cast.as_sent(place, packet)
            if not wanted:
                break
        return found
