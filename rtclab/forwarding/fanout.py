"""One producer to all its viewers, as arithmetic on columns.

A viewer of a producer is a row: what must be added to the incoming sequence number, timestamp and VP8
picture id to continue the numbers it has seen so far, and the header bytes that are its own. A burst
(packets of one picture that arrived together) times all rows is written into the arena at once and
leaves as one batch; nothing is allocated and no Python code runs per viewer.

* Sequence numbers: ``out = in + offset``. A packet that is dropped on purpose lowers the row's offset
  by one, so the viewer sees no hole; a packet that was lost leaves a hole, and when it comes late it
  lands in it, with the offset that was valid when the hole was passed.
* A switch of layers happens on a keyframe of the new stream (the splice): offsets are set so that
  sequence number, timestamp, picture id and TL0PICIDX go on from the last ones sent.
* Temporal layers: a row climbs on a sync picture only, and falls at the start of a picture.
* A viewer's history is a ring of references to stored packets by outgoing sequence number; a
  retransmission (RFC 4588) is cut from the producer's store.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..rtp.drops import Drop
from ..rtp.extensions import abs_send_time
from ..transport.batch import SLOTS, SendBatch
from .columns import HEADER, HISTORY, NO_REFERENCE, NOWHERE, Continuation, Header, ViewerColumns
from .store import Packet
from .stream import Stream

TOP_TEMPORAL = 7
LATE_HOLES = 128
REPLAY_S = 2.0
REPLAY_PACKETS = 256
FRAME_TICKS = 2970  # 33 ms at 90 kHz

Rows = npt.NDArray[np.int64]


class _Progress:
    """How far one stream has been forwarded."""

    __slots__ = ("allowed", "highest", "holes", "marker", "picture", "rows", "timestamp", "tl0", "waiting")

    def __init__(self) -> None:
        self.highest: int | None = None
        self.timestamp = 0
        self.picture = 0
        self.tl0 = 0
        self.marker = True
        self.rows: Rows = np.zeros(0, np.int64)
        self.waiting: Rows = np.zeros(0, np.int64)
        self.allowed: Rows | None = None  # rows that get the picture under way; None: all
        self.holes: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}


class Fanout(ViewerColumns):
    """The viewers of one producer.

    Parameters
    ----------
    batch : SendBatch
        The way out.
    streams : list of Stream
        The producer's streams; the list may grow.
    seed : int, optional
        Seed of the first sequence numbers and timestamps.
    """

    def __init__(self, batch: SendBatch, streams: list[Stream], seed: int | None = None) -> None:
        super().__init__()
        self.batch = batch
        self.streams = streams
        self._random = np.random.default_rng(seed)
        self._progress: list[_Progress] = []

    # -- rows -------------------------------------------------------------------------------------------

    def add(self, path: int, header: Header, continuation: Continuation | None = None) -> int:
        """Add a viewer and return its row; it gets nothing until `aim` gives it a stream."""
        row = self.take_row()
        self.path[row] = path
        self.temporal[row] = self.temporal_target[row] = TOP_TEMPORAL
        if continuation is None:
            # a low first number keeps libsrtp's rollover guess right when the first packets are lost
            self.last_sequence[row] = self._random.integers(1000, 32768)
            self.last_timestamp[row] = self._random.integers(2**32)
            self.last_picture[row] = NOWHERE
            self.last_marker[row] = True
            self.last_sent[row] = -1.0
            self.rtx_sequence[row] = self._random.integers(1000, 32768)
        else:
            self.last_sequence[row] = continuation.sequence
            self.last_timestamp[row] = continuation.timestamp
            self.last_picture[row] = continuation.picture_id
            self.last_tl0[row] = continuation.tl0
            self.last_marker[row] = continuation.marker
            self.last_sent[row] = continuation.sent_at
            self.rtx_sequence[row] = continuation.rtx_sequence
        self.set_header(row, header)
        return row

    def remove(self, row: int) -> Continuation:
        """Take a viewer out; what is returned lets it go on elsewhere without a jump."""
        self.pause(row)
        self.used[row] = False
        return Continuation(
            int(self.last_sequence[row]),
            int(self.last_timestamp[row]),
            int(self.last_picture[row]),
            int(self.last_tl0[row]),
            bool(self.last_marker[row]),
            float(self.last_sent[row]),
            int(self.rtx_sequence[row]),
        )

    def pause(self, row: int) -> None:
        """Send this row nothing more until `aim`."""
        self._freeze(np.array([row]))
        self.current[row] = self.target[row] = NOWHERE
        self._regroup()

    def aim(self, row: int, stream: int, now: float) -> bool:
        """Let a row have stream number `stream` from its next keyframe on.

        A row that gets nothing at the moment is given the packets since the last keyframe if that is
        recent.

        Returns
        -------
        bool
            Whether a keyframe must be asked for.
        """
        self.target[row] = stream
        if self.current[row] == stream:
            self._regroup()
            return False
        self._regroup()
        return not (self.current[row] == NOWHERE and self._replay(row, stream, now))

    def limit_temporal(self, row: int, temporal: int | None) -> None:
        """Let a row have temporal layers up to `temporal` only (None: all)."""
        self.temporal_target[row] = TOP_TEMPORAL if temporal is None else temporal

    def restart(self, stream: int) -> None:
        """Stream number `stream` begins anew (another SSRC): its viewers wait for a keyframe."""
        self._progress_of(stream)
        rows = self._progress[stream].rows
        self._freeze(rows)
        self.current[rows] = NOWHERE
        self.target[rows] = stream
        self._progress[stream] = _Progress()
        self._regroup()

    def _progress_of(self, stream: int) -> _Progress:
        while len(self._progress) <= stream:
            self._progress.append(_Progress())
        return self._progress[stream]

    def _regroup(self) -> None:
        for index in range(len(self.streams)):
            progress = self._progress_of(index)
            progress.rows = np.flatnonzero(self.used & (self.current == index))
            progress.waiting = np.flatnonzero(self.used & (self.target == index) & (self.current != index))
            progress.allowed = (
                None if progress.allowed is None else np.intersect1d(progress.allowed, progress.rows)
            )

    def _freeze(self, rows: Rows) -> None:
        """Note the last numbers sent of rows that leave their stream."""
        for index in np.unique(self.current[rows]):
            if index == NOWHERE:
                continue
            progress = self._progress[index]
            some = rows[self.current[rows] == index]
            if progress.highest is None:
                continue
            self.last_sequence[some] = (progress.highest + self.sequence_offset[some]) & 0xFFFF
            self.last_timestamp[some] = (progress.timestamp + self.timestamp_offset[some]) & 0xFFFFFFFF
            self.last_picture[some] = (progress.picture + self.picture_offset[some]) & 0x7FFF
            self.last_tl0[some] = (progress.tl0 + self.tl0_offset[some]) & 0xFF
            self.last_marker[some] = progress.marker
            self.last_sent[some] = self.streams[index].last_arrival

    # -- packets ----------------------------------------------------------------------------------------

    def forward(self, stream: Stream, packets: list[Packet], now: float) -> None:
        """Send newly stored packets of one stream to everybody who gets it.

        Parameters
        ----------
        stream : Stream
            Where they came from.
        packets : list of Packet
            In order of arrival.
        now : float
            Seconds.
        """
        progress = self._progress_of(stream.index)
        start = 0
        while start < len(packets):
            first = packets[start]
            end = start + 1
            if progress.highest is not None and first.sequence <= progress.highest:
                self._late(stream, progress, first, now)
            elif not first.length:
                self._padding(progress, first)
            else:
                while (
                    end < len(packets)
                    and packets[end].sequence == packets[end - 1].sequence + 1
                    and packets[end].timestamp == first.timestamp
                    and packets[end].length
                    and end - start < SLOTS // 4
                ):
                    end += 1
                self._burst(stream, progress, packets[start:end], now)
            start = end

    def _burst(self, stream: Stream, progress: _Progress, burst: list[Packet], now: float) -> None:
        first, last = burst[0], burst[-1]
        new_picture = progress.highest is None or first.timestamp != progress.timestamp
        if progress.highest is not None and first.sequence > progress.highest + 1:
            self._open_holes(progress, first.sequence)
        if len(progress.waiting):
            if first.info.keyframe and first.info.start:
                self._splice(stream, progress.waiting, first)
            else:
                self.dropped_waiting[progress.waiting] += len(burst)
        rows = progress.rows
        if stream.highest_temporal:
            if new_picture:
                progress.allowed = self._temporal(rows, first)
            if progress.allowed is not None:
                skipped = np.setdiff1d(rows, progress.allowed)
                rows = progress.allowed
                self.sequence_offset[skipped] -= len(burst)
                self.dropped_temporal[skipped] += len(burst)
                if new_picture and first.info.picture_id is not None:
                    self.picture_offset[skipped] -= 1
        progress.highest = last.sequence
        progress.timestamp = last.timestamp
        progress.marker = last.marker
        if last.info.picture_id is not None:
            progress.picture = last.info.picture_id
        if last.info.tl0 is not None:
            progress.tl0 = last.info.tl0
        if len(rows):
            self._emit(stream, rows, burst, self.sequence_offset[rows], self.picture_offset[rows], now)

    def _temporal(self, rows: Rows, packet: Packet) -> Rows | None:
        """Rows that get the picture that `packet` begins; None: all."""
        want = self.temporal_target[rows]
        level = np.minimum(self.temporal[rows], want)
        if packet.info.keyframe:
            level = want.copy()  # every picture after a keyframe can be decoded
        temporal_id = packet.info.temporal_id
        climbs = (temporal_id > level) & (temporal_id <= want)
        if packet.info.start and packet.info.layer_sync:
            level[climbs] = temporal_id
        self.temporal[rows] = level
        allowed = level >= temporal_id
        return None if allowed.all() else rows[allowed]

    def _padding(self, progress: _Progress, packet: Packet) -> None:
        """A packet without payload is for the path to the room only; close the gap."""
        if progress.highest is not None and packet.sequence > progress.highest + 1:
            self._open_holes(progress, packet.sequence)
        progress.highest = packet.sequence
        self.sequence_offset[progress.rows] -= 1

    def _open_holes(self, progress: _Progress, until: int) -> None:
        assert progress.highest is not None
        missing = range(max(progress.highest + 1, until - LATE_HOLES), until)
        offsets, pictures = self.sequence_offset.copy(), self.picture_offset.copy()
        rows = progress.rows
        for sequence in missing:
            progress.holes[sequence] = offsets, pictures
            self.history[rows, (sequence + offsets[rows]) & (HISTORY - 1)] = NO_REFERENCE
        while len(progress.holes) > LATE_HOLES:
            del progress.holes[next(iter(progress.holes))]

    def _late(self, stream: Stream, progress: _Progress, packet: Packet, now: float) -> None:
        """A packet that comes out of order goes into the hole it left."""
        offsets, pictures = progress.holes.pop(packet.sequence, (None, None))
        if offsets is None or pictures is None or not packet.length:
            return
        rows = progress.rows
        rows = rows[(rows < len(offsets)) & (self.epoch[rows] < packet.sequence)]
        if len(rows):
            self._emit(stream, rows, [packet], offsets[rows], pictures[rows], now)

    def _splice(self, stream: Stream, rows: Rows, packet: Packet) -> None:
        """Continue the numbers of `rows` with `packet`, the first of a keyframe."""
        self._freeze(rows)
        first_time = self.last_sent[rows] < 0
        gap = np.where(
            self.last_marker[rows], 1, 2
        )  # a hole tells the decoder that its last picture is incomplete
        self.sequence_offset[rows] = self.last_sequence[rows] + gap - packet.sequence
        elapsed = np.where(first_time, 0.0, np.maximum(packet.arrival - self.last_sent[rows], 0.0))
        by_clock = (elapsed * stream.clock_rate).astype(np.int64)
        reported = self._reported_timestamps(rows, stream, packet) - self.last_timestamp[rows]
        ahead = np.where(reported == 0, by_clock, (reported + 2**31) % 2**32 - 2**31)
        limit = ((elapsed + 2.0) * stream.clock_rate).astype(np.int64)
        ahead = np.where(ahead > limit, by_clock, ahead)
        ahead = np.where(ahead <= 0, FRAME_TICKS * stream.clock_rate // 90000, ahead)
        timestamps = self.last_timestamp[rows] + np.where(first_time, 0, ahead)
        self.timestamp_offset[rows] = timestamps - packet.timestamp
        if packet.info.picture_id is not None:
            fresh = self.last_picture[rows] == NOWHERE
            self.picture_offset[rows] = np.where(
                fresh, 0, self.last_picture[rows] + 1 - packet.info.picture_id
            )
            tl0 = packet.info.tl0 or 0
            self.tl0_offset[rows] = np.where(fresh, 0, self.last_tl0[rows] + 1 - tl0)
        self.temporal[rows] = self.temporal_target[rows]
        self.epoch[rows] = packet.sequence
        self.switches[rows] += ~first_time
        self.current[rows] = stream.index
        self.target[rows] = stream.index
        self._regroup()

    def _reported_timestamps(self, rows: Rows, stream: Stream, packet: Packet) -> npt.NDArray[np.int64]:
        """Outgoing timestamps of `packet` by the sender reports of each row's old stream and the new
        one.

        RFC 3550 section 6.4: both map their RTP clock to the publisher's NTP clock. A row for which
        there is no such report gets its last timestamp back.
        """
        timestamps = self.last_timestamp[rows].copy()
        ntp = stream.reception.ntp_at(packet.timestamp)
        for old in np.unique(self.current[rows]):
            if old == NOWHERE or ntp is None:
                continue
            then = self.streams[int(old)].reception.rtp_at(ntp)
            some = self.current[rows] == old
            if then is not None:
                timestamps[some] = then + self.timestamp_offset[rows[some]]
        return timestamps

    def _replay(self, row: int, stream_index: int, now: float) -> bool:
        """Give a new viewer what followed the last keyframe, if that is recent and complete."""
        stream = self.streams[stream_index]
        progress = self._progress_of(stream_index)
        start = stream.keyframe_sequence
        if start is None or progress.highest is None or now - stream.keyframe_arrival > REPLAY_S:
            return False
        count = progress.highest - start + 1
        packets = [packet for packet in stream.store.since(start) if packet.sequence <= progress.highest]
        if not 0 < count <= REPLAY_PACKETS or len(packets) != count or not packets[0].info.start:
            return False
        rows = np.array([row])
        self._splice(stream, rows, packets[0])
        if progress.allowed is not None:
            progress.allowed = np.union1d(progress.allowed, rows)
        for packet in packets:
            if packet.length:
                self._emit(stream, rows, [packet], self.sequence_offset[rows], self.picture_offset[rows], now)
            else:
                self.sequence_offset[rows] -= 1
        return True

    def _emit(
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

    # -- retransmission ---------------------------------------------------------------------------------

    def newest_sequence(self, row: int) -> int:
        """The highest sequence number sent to `row` so far."""
        self._freeze(np.array([row]))
        return int(self.last_sequence[row])

    def find(self, row: int, sequence: int) -> tuple[Stream, Packet] | None:
        """The stored packet that went to `row` as outgoing number `sequence`, if it is still here."""
        reference = int(self.history[row, sequence & (HISTORY - 1)])
        if (self.newest_sequence(row) - sequence) & 0xFFFF >= HISTORY or reference == NO_REFERENCE:
            return None
        stream = self.streams[reference >> 16]
        packet = stream.store.get16(reference & 0xFFFF)
        return None if packet is None else (stream, packet)

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
