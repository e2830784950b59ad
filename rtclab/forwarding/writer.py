"""How a packet is written for its viewers: header, numbers, picture ids.

Every viewer has a copy of the packet in a slot of its own, with its own header bytes and numbers; the
payload is the same but for VP8's picture id and TL0PICIDX. A retransmission (RFC 4588) is cut from the
producer's store.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..rtp.drops import Drop
from ..rtp.extensions import abs_send_time
from ..transport.batch import Clients, Lost, SendBatch
from .cast import Cast, Part, Sent
from .columns import HEADER, Integers, ViewerColumns, wholes
from .store import PAYLOAD_LIMIT, Packet
from .stream import Stream

GRAIN = 64  # bytes: payloads are copied in whole ones, so that there are few sizes to make views for


class Writer(ViewerColumns):
    """Viewers, and the way to send them packets.

    Parameters
    ----------
    batch : SendBatch
        The way out.
    streams : list of Stream
        The producer's streams; the list may grow.
    """

    def __init__(self, batch: SendBatch, streams: list[Stream]) -> None:
        super().__init__()
        self.batch = batch
        self.streams = streams

    def emit(self, stream: Stream, cast: Cast, burst: list[Packet], now: float) -> None:
        """Write, protect and send `burst` for everybody of `cast`.

        The packets follow one another, all have a payload, and all have picture ids or none has.
        """
        count = len(burst)
        first, last = burst[0], burst[-1]
        lengths = [packet.length for packet in burst]
        longest = max(lengths)
        one_picture = first.timestamp == last.timestamp
        padded = self._padded(burst, longest, one_picture) if self.batch.pads else []
        wire = [HEADER + length for length in lengths]
        for index in padded:
            wire[index] += 1
        sequences = np.array([packet.sequence for packet in burst])  # `arange` gives the GIL up
        times = first.timestamp if one_picture else np.array([packet.timestamp for packet in burst])
        size = min(-(-longest // GRAIN) * GRAIN, PAYLOAD_LIMIT)
        payloads = stream.store.payloads(burst, size)
        send_time = np.frombuffer(abs_send_time(now).to_bytes(3, "big"), np.uint8)
        for part in cast.parts(count, self.batch):
            slots = part.slots
            part.send_time[:] = send_time
            part.headers[:] = part.header
            part.payload(size)[:] = payloads
            # numbers may be too large for their fields: what is written is their low bits
            part.sequences[:] = part.sequence + sequences
            part.timestamps[:] = part.timestamp + times
            for index, packet in enumerate(burst):
                if packet.marker:
                    slots[:, index, 1] |= 0x80
            for index in padded:
                slots[:, index, 0] |= 0x20
                slots[:, index, HEADER + lengths[index]] = 1
            if cast.renumbers and first.info.picture_id is not None:
                self._renumber(part, burst, one_picture)
            self.count_lost(part.rows, self.batch.send(part.clients, wire))
        cast.packets += count
        cast.octets += sum(lengths)

    @staticmethod
    def _padded(burst: list[Packet], longest: int, one_picture: bool) -> list[int]:
        """Which packets get one byte of RTP padding: their picture's then leave as one run."""
        if one_picture:
            return [index for index, packet in enumerate(burst) if packet.length == longest - 1]
        longest_of: dict[int, int] = {}
        for packet in burst:
            longest_of[packet.timestamp] = max(packet.length, longest_of.get(packet.timestamp, 0))
        return [
            index for index, packet in enumerate(burst) if packet.length == longest_of[packet.timestamp] - 1
        ]

    @staticmethod
    def _renumber(part: Part, burst: list[Packet], one_picture: bool) -> None:
        """Write the picture ids and TL0PICIDX that each row has to see."""
        same = one_picture and all(_places(packet) == _places(burst[0]) for packet in burst)
        for index, packet in enumerate(burst[:1] if same else burst):
            picture = part.picture + (packet.info.picture_id or 0) & 0x7FFF
            tl0 = part.tl0 + (packet.info.tl0 or 0) & 0xFF
            some = slice(None) if same else slice(index, index + 1)
            _write_vp8(part.slots[:, some, HEADER:], packet, picture << 8 | tl0)

    def count_lost(self, rows: Integers, lost: Lost) -> None:
        """Count what a batch did not send to `rows`."""
        for reason, clients in lost.items():
            column = self.dropped_socket_full if reason is Drop.SOCKET_FULL else self.dropped_send_error
            np.add.at(column, rows[clients], 1)

    def count(self, cast: Cast) -> None:
        """Add what a cast was sent to the counters of its rows."""
        if cast.packets:
            self.counted_packets[cast.rows] += cast.packets
            self.counted_octets[cast.rows] += cast.octets
            cast.packets = cast.octets = 0

    def retransmit(self, row: int, sequence: int, found: tuple[Stream, Sent], now: float) -> None:
        """Send a packet again, on the row's retransmission SSRC (RFC 4588 section 4)."""
        stream, (packet, timestamp, numbers) = found
        slot = self.batch.arena[0]
        slot[:HEADER] = self.rtx_header[row]
        self.batch.arena16[0, 1] = int(self.rtx_sequence[row]) & 0xFFFF
        self.batch.arena32[0, 1] = timestamp
        slot[HEADER - 3 : HEADER] = np.frombuffer(abs_send_time(now).to_bytes(3, "big"), np.uint8)
        self.batch.arena16[0, HEADER // 2] = sequence  # OSN: the number it had the first time
        payload = slot[HEADER + 2 :]
        stored = stream.store.data[packet.slot, : packet.length]
        wholes(payload[: packet.length])[...] = wholes(stored)
        if packet.info.picture_id is not None:
            _write_vp8(payload[None, None], packet, np.array([[numbers]]))
        if packet.marker:
            slot[1] |= 0x80
        self.rtx_sequence[row] += 1
        self.rtx_packets[row] += 1
        rows = np.array([row])
        lost = self.batch.send(Clients(self.path[rows]), [HEADER + 2 + packet.length])
        self.count_lost(rows, lost)


def _places(packet: Packet) -> tuple[int, int]:
    """Where the numbers stand that viewers see changed."""
    return packet.info.picture_id_at, packet.info.tl0_at


def _write_vp8(payloads: npt.NDArray[np.uint8], packet: Packet, numbers: npt.NDArray[np.int64]) -> None:
    """Set the 15-bit picture id and TL0PICIDX (RFC 7741 section 4.2), for each row in each of its payloads.

    Parameters
    ----------
    payloads : numpy.ndarray
        ``(rows, packets, bytes)`` uint8.
    packet : Packet
        Where they stand.
    numbers : numpy.ndarray
        ``(rows, 1)`` both numbers, TL0PICIDX in the low byte.
    """
    picture_at, tl0_at = _places(packet)
    written = (numbers | 0x800000).astype(">u4").view(np.uint8).reshape(*numbers.shape, 4)[:, :, 1:]
    if picture_at >= 0 and tl0_at == picture_at + 2:
        wholes(payloads[:, :, picture_at : picture_at + 3])[:] = wholes(written)
        return
    if picture_at >= 0:
        wholes(payloads[:, :, picture_at : picture_at + 2])[:] = wholes(written[:, :, :2])
    if tl0_at >= 0:
        payloads[:, :, tl0_at] = written[:, :, 2]
