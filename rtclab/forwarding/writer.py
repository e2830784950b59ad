"""How a packet is written for its viewers: header, numbers, picture ids, history.

Every viewer has a copy of the packet in a slot of its own, with its own header bytes and numbers; the
payload is the same but for VP8's picture id and TL0PICIDX. What went out under which number is noted in
the viewer's history, so that a retransmission (RFC 4588) can be cut from the producer's store.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..rtp.drops import Drop
from ..rtp.extensions import abs_send_time
from ..transport.batch import SLOTS, SendBatch
from .columns import HEADER, HISTORY, ViewerColumns
from .store import Packet
from .stream import Stream

KEEPS_GIL = 500  # elements: NumPy gives the GIL up around an operation on more of them

Rows = npt.NDArray[np.int64]


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

    def emit(
        self,
        stream: Stream,
        rows: Rows,
        burst: list[Packet],
        offsets: npt.NDArray[np.int64],
        pictures: npt.NDArray[np.int64],
        now: float,
    ) -> None:
        """Write, protect and send `burst` for `rows`.

        The packets follow one another, all have a payload, and all have picture ids or none has.
        """
        count = len(burst)
        first = burst[0]
        lengths = [packet.length for packet in burst]
        # one byte of RTP padding makes a picture's packets equally long, so that they leave as one run
        longest_of: dict[int, int] = {}
        for packet in burst:
            longest_of[packet.timestamp] = max(packet.length, longest_of.get(packet.timestamp, 0))
        longest = max(longest_of.values())
        padded = [self.batch.pads and packet.length == longest_of[packet.timestamp] - 1 for packet in burst]
        wire = np.array(
            [HEADER + length + pad for length, pad in zip(lengths, padded, strict=True)], np.int32
        )
        sequences = np.array([packet.sequence for packet in burst])
        times = np.array([packet.timestamp for packet in burst])
        references = stream.index << 16 | sequences & 0xFFFF
        payloads = _wholes(stream.store.payloads(burst, longest))
        alike = all(_places(packet) == _places(first) for packet in burst)
        picture_ids = np.array([packet.info.picture_id or 0 for packet in burst])
        tl0s = np.array([packet.info.tl0 or 0 for packet in burst])
        send_time = np.frombuffer(abs_send_time(now).to_bytes(3, "big"), np.uint8)
        step = min(SLOTS, KEEPS_GIL) // count
        for begin in range(0, len(rows), step):
            some = rows[begin : begin + step]
            used = len(some) * count
            # numbers may be too large for their fields: what is written is their low bits
            outgoing = sequences + offsets[begin : begin + step, None]
            timestamps = times + self.timestamp_offset[some][:, None]
            slots = self.batch.arena[:used].reshape(len(some), count, -1)
            headers = _wholes(self.header)[some]
            _wholes(headers.view(np.uint8).reshape(-1, HEADER)[:, HEADER - 3 :])[:] = _wholes(send_time)
            _wholes(slots[:, :, :HEADER])[:] = headers[:, None]
            _wholes(slots[:, :, HEADER : HEADER + longest])[:] = payloads
            self.batch.arena16[:used, 1].reshape(len(some), count)[:] = outgoing
            self.batch.arena32[:used, 1].reshape(len(some), count)[:] = timestamps
            for index, packet in enumerate(burst):
                if packet.marker:
                    slots[:, index, 1] |= 0x80
                if padded[index]:
                    slots[:, index, 0] |= 0x20
                    slots[:, index, HEADER + packet.length] = 1
            ring = (outgoing & (HISTORY - 1)) + (some * HISTORY)[:, None]
            noted = np.empty(ring.shape, np.uint32)
            noted[:] = references
            self.history.reshape(-1)[ring] = noted
            self.sent_timestamp.reshape(-1)[ring] = timestamps.astype(np.uint32)
            if first.info.picture_id is not None:
                picture = picture_ids + pictures[begin : begin + step, None] & 0x7FFF
                tl0 = tl0s + self.tl0_offset[some][:, None] & 0xFF
                numbers = picture << 8 | tl0
                self.sent_picture.reshape(-1)[ring] = numbers.astype(np.uint32)
                if alike:
                    _write_vp8(slots[:, :, HEADER:], first, numbers)
                else:
                    for index, packet in enumerate(burst):
                        part = slice(index, index + 1)
                        _write_vp8(slots[:, part, HEADER:], packet, numbers[:, part])
            self._send(some, wire)
        self.packets[rows] += count
        self.octets[rows] += sum(lengths)

    def _send(self, rows: Rows, wire: npt.NDArray[np.int32]) -> None:
        for reason, clients in self.batch.send(self.path[rows], wire).items():
            column = self.dropped_socket_full if reason is Drop.SOCKET_FULL else self.dropped_send_error
            np.add.at(column, rows[clients], 1)

    def retransmit(self, row: int, sequence: int, found: tuple[Stream, Packet], now: float) -> None:
        """Send a packet again, on the row's retransmission SSRC (RFC 4588 section 4)."""
        stream, packet = found
        position = sequence & (HISTORY - 1)
        slot = self.batch.arena[0]
        slot[:HEADER] = self.rtx_header[row]
        self.batch.arena16[0, 1] = int(self.rtx_sequence[row]) & 0xFFFF
        self.batch.arena32[0, 1] = self.sent_timestamp[row, position]
        slot[HEADER - 3 : HEADER] = np.frombuffer(abs_send_time(now).to_bytes(3, "big"), np.uint8)
        self.batch.arena16[0, HEADER // 2] = sequence  # OSN: the number it had the first time
        payload = slot[HEADER + 2 :]
        stored = stream.store.data[packet.slot, : packet.length]
        _wholes(payload[: packet.length])[...] = _wholes(stored)
        if packet.info.picture_id is not None:
            numbers = self.sent_picture[row : row + 1, position : position + 1].astype(np.int64)
            _write_vp8(payload[None, None], packet, numbers)
        if packet.marker:
            slot[1] |= 0x80
        self.rtx_sequence[row] += 1
        self.rtx_packets[row] += 1
        self._send(np.array([row]), np.array([HEADER + 2 + packet.length], np.int32))


def _wholes(parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """The bytes along the last axis, which lie side by side, as one element each."""
    return parts.view(f"V{parts.shape[-1]}")[..., 0]


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
        ``(rows, packets)`` both numbers, TL0PICIDX in the low byte.
    """
    picture_at, tl0_at = _places(packet)
    written = (numbers | 0x800000).astype(">u4").view(np.uint8).reshape(*numbers.shape, 4)[:, :, 1:]
    if picture_at >= 0 and tl0_at == picture_at + 2:
        _wholes(payloads[:, :, picture_at : picture_at + 3])[:] = _wholes(written)
        return
    if picture_at >= 0:
        _wholes(payloads[:, :, picture_at : picture_at + 2])[:] = _wholes(written[:, :, :2])
    if tl0_at >= 0:
        payloads[:, :, tl0_at] = written[:, :, 2]
