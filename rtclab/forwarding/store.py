"""The last packets of one incoming stream, kept once for everybody.

Viewers that join late are given what followed the last keyframe, and retransmissions (RFC 4588) are cut
from here: a viewer's own state is only a few integers per packet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..rtp.payload import PayloadInfo
from .columns import wholes

PAYLOAD_LIMIT = 1500


class Packet:
    """One stored packet: its place in the stream, and what its payload says about itself.

    Attributes
    ----------
    sequence : int
        Extended (unwrapped) sequence number of the incoming stream.
    timestamp : int
        RTP timestamp as received, 32 bit.
    marker : bool
        The RTP marker bit.
    length : int
        Payload bytes.
    info : PayloadInfo
        What the codec's payload header says.
    slot : int
        Row of `PacketStore.data` that holds the payload.
    arrival : float
        When it came, in seconds.
    """

    __slots__ = ("arrival", "info", "length", "marker", "sequence", "slot", "timestamp")

    def __init__(
        self,
        sequence: int,
        timestamp: int,
        marker: bool,
        length: int,
        info: PayloadInfo,
        slot: int,
        arrival: float,
    ) -> None:
        self.sequence = sequence
        self.timestamp = timestamp
        self.marker = marker
        self.length = length
        self.info = info
        self.slot = slot
        self.arrival = arrival

    def __repr__(self) -> str:
        return (
            f"<Packet {self.sequence} ts={self.timestamp} {self.length} B{' marker' if self.marker else ''}>"
        )


class PacketStore:
    """A ring of packets indexed by sequence number.

    Parameters
    ----------
    capacity : int
        Packets kept; a power of two, so that the low bits of a sequence number are the slot.
    """

    def __init__(self, capacity: int) -> None:
        if capacity & (capacity - 1):
            raise ValueError(f"the capacity must be a power of two, not {capacity}")
        self.capacity = capacity
        self.data = np.zeros((capacity, PAYLOAD_LIMIT), np.uint8)
        self._memory = self.data.data.cast("B")
        self._payloads: dict[int, npt.NDArray[np.void]] = {}
        self._packets: list[Packet | None] = [None] * capacity
        self.newest = -1

    def put(
        self,
        sequence: int,
        timestamp: int,
        marker: bool,
        payload: bytes | bytearray | memoryview,
        info: PayloadInfo,
        arrival: float,
    ) -> Packet | None:
        """Store a packet; None if it is already here or too old to have a place."""
        slot = sequence & (self.capacity - 1)
        there = self._packets[slot]
        if sequence <= self.newest - self.capacity or (there is not None and there.sequence >= sequence):
            return None
        length = len(payload)
        start = slot * PAYLOAD_LIMIT
        self._memory[start : start + length] = payload
        packet = Packet(sequence, timestamp, marker, length, info, slot, arrival)
        self._packets[slot] = packet
        if sequence > self.newest:
            self.newest = sequence
        return packet

    def payloads(self, packets: list[Packet], size: int) -> npt.NDArray[np.void]:
        """The first `size` bytes of the payload of each of `packets`, which follow one another.

        Behind a shorter payload stands what was there before.
        """
        payloads = self._payloads.get(size)
        if payloads is None:
            payloads = self._payloads[size] = wholes(self.data[:, :size])
        first = packets[0].slot
        if first + len(packets) <= self.capacity:
            return payloads[first : first + len(packets)]
        return payloads[[packet.slot for packet in packets]]

    def get(self, sequence: int) -> Packet | None:
        """The packet of an extended sequence number, or None if it is not (or no longer) here."""
        packet = self._packets[sequence & (self.capacity - 1)]
        return packet if packet is not None and packet.sequence == sequence else None

    def get16(self, sequence: int) -> Packet | None:
        """The packet whose low 16 bits of the sequence number are `sequence`."""
        packet = self._packets[sequence & (self.capacity - 1)]
        return packet if packet is not None and packet.sequence & 0xFFFF == sequence else None

    def since(self, sequence: int) -> list[Packet]:
        """Every stored packet from `sequence` to the newest, in order."""
        oldest = max(sequence, self.newest - self.capacity + 1)
        return [
            packet for number in range(oldest, self.newest + 1) if (packet := self.get(number)) is not None
        ]
