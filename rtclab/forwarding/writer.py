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
        """Write, protect and send `burst`, packets of one picture, for `rows`."""
        count = len(burst)
        sequences = np.array([packet.sequence for packet in burst])
        lengths = [packet.length for packet in burst]
        references = (stream.index << 16 | sequences & 0xFFFF).astype(np.uint32)
        longest = max(lengths)
        # one byte of RTP padding makes a picture's packets equally long, so that they leave as one run
        padded = [self.batch.pads and length == longest - 1 for length in lengths]
        wire = np.array(
            [HEADER + length + pad for length, pad in zip(lengths, padded, strict=True)], np.int32
        )
        info = burst[0].info
        send_time = abs_send_time(now)
        step = SLOTS // count
        for begin in range(0, len(rows), step):
            some = rows[begin : begin + step]
            outgoing = (sequences + offsets[begin : begin + step, None]) & 0xFFFF
            timestamps = (burst[0].timestamp + self.timestamp_offset[some]) & 0xFFFFFFFF
            used = len(some) * count
            slots = self.batch.arena[:used].reshape(len(some), count, -1)
            slots[:, :, :HEADER] = self.header[some][:, None]
            self.batch.arena16[:used, 1] = outgoing.ravel()
            self.batch.arena32[:used, 1] = np.repeat(timestamps, count)
            self.batch.arena32[:used, 5] = np.repeat(self.time_prefix[some] | send_time, count)
            for index, packet in enumerate(burst):
                slot = slots[:, index]
                length = packet.length
                slot[:, HEADER : HEADER + length] = stream.store.data[packet.slot, :length]
                if packet.marker:
                    slot[:, 1] |= 0x80
                if padded[index]:
                    slot[:, 0] |= 0x20
                    slot[:, HEADER + length] = 1
            ring = some[:, None], outgoing & (HISTORY - 1)
            self.history[ring] = references
            self.sent_timestamp[ring] = timestamps[:, None]
            if info.picture_id is not None:
                picture = (info.picture_id + pictures[begin : begin + step]) & 0x7FFF
                tl0 = ((info.tl0 or 0) + self.tl0_offset[some]) & 0xFF
                for index, packet in enumerate(burst):
                    _write_vp8(slots[:, index, HEADER:], packet, picture, tl0)
                self.sent_picture[ring] = (picture << 8 | tl0)[:, None]
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
        self.batch.arena32[0, 5] = int(self.time_prefix[row]) | abs_send_time(now)
        self.batch.arena16[0, HEADER // 2] = sequence  # OSN: the number it had the first time
        payload = slot[HEADER + 2 :]
        payload[: packet.length] = stream.store.data[packet.slot, : packet.length]
        if packet.info.picture_id is not None:
            written = int(self.sent_picture[row, position])
            _write_vp8(payload[None], packet, np.array([written >> 8]), np.array([written & 0xFF]))
        if packet.marker:
            slot[1] |= 0x80
        self.rtx_sequence[row] += 1
        self.rtx_packets[row] += 1
        self._send(np.array([row]), np.array([HEADER + 2 + packet.length], np.int32))


def _write_vp8(
    payloads: npt.NDArray[np.uint8],
    packet: Packet,
    picture: npt.NDArray[np.int64],
    tl0: npt.NDArray[np.int64],
) -> None:
    """Set the 15-bit picture id and TL0PICIDX (RFC 7741 section 4.2) in the payload of each row."""
    info = packet.info
    if info.picture_id_at >= 0:
        payloads[:, info.picture_id_at] = 0x80 | picture >> 8
        payloads[:, info.picture_id_at + 1] = picture & 0xFF
    if info.tl0_at >= 0:
        payloads[:, info.tl0_at] = tl0
