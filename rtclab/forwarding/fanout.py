"""One producer to all its viewers, as arithmetic on columns.

A viewer of a producer is a row: what must be added to the incoming sequence number, timestamp and VP8
picture id to continue the numbers it has seen so far, and the header bytes that are its own. A burst
(packets of one picture that arrived together) times all rows is written into the arena at once and
leaves as one batch: what is done for each viewer is one call of libsrtp a packet, and nothing is kept.

* Sequence numbers: ``out = in + offset``. A packet that is dropped on purpose lowers the row's offset
  by one, so the viewer sees no hole; a packet that was lost leaves a hole, and when it comes late it
  lands in it, with the offset that was valid when the hole was passed.
* A switch of layers happens on a keyframe of the new stream (the splice): offsets are set so that
  sequence number, timestamp, picture id and TL0PICIDX go on from the last ones sent.
* Temporal layers: a row climbs on a sync picture only, and falls at the start of a picture. A late
  packet of a picture that a row was not given is not given to it either: its picture id is taken.
* What went out is noted once for all viewers (`rtclab.forwarding.cast`); a retransmission (RFC 4588) is
  cut from the producer's store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..rtp.sequence import newer
from ..transport.batch import SendBatch
from .bursts import burst_end, chunk_end
from .cast import Cast, Sent, Shipment
from .columns import HISTORY, NOWHERE, Continuation, Header, Integers
from .progress import Progress
from .store import Packet
from .stream import Stream
from .writer import Writer

TOP_TEMPORAL = 7
LATE_HOLES = 512  # less than HISTORY, and than the window of 1024 numbers in which SRTP may go back
SKIPPED_PICTURES = 64
REPLAY_S = 2.0
SILENT_S = 0.5  # what came before a silence is no picture of now
REPLAY_PACKETS = 256
FRAME_TICKS = 2970  # 33 ms at 90 kHz


class Fanout(Writer):
    """The viewers of one producer.

    Parameters
    ----------
    batch : SendBatch
        The way out.
    streams : list of Stream
        The producer's streams; the list may grow.
    seed : int, optional
        Seed of the first sequence numbers and timestamps.

    Attributes
    ----------
    version : int
        Another number whenever who gets which stream has changed, or a header.
    """

    def __init__(self, batch: SendBatch, streams: list[Stream], seed: int | None = None) -> None:
        super().__init__(batch, streams)
        self._random = np.random.default_rng(seed)
        self._progress: list[Progress] = []
        self.version = 0

    # -- rows -------------------------------------------------------------------------------------------

    def add(
        self,
        path: int,
        header: Header,
        continuation: Continuation | None = None,
        former: tuple[int, int] = (0, 0),
    ) -> int:
        """Add a viewer and return its row; it gets nothing until `aim` gives it a stream.

        Parameters
        ----------
        path : int
            The client's row in the path table.
        header : Header
            The viewer's own header bytes.
        continuation : Continuation, optional
            Where its numbers go on from.
        former : (int, int)
            Packets and bytes that its SSRC was sent before.
        """
        row = self.take_row()
        self.path[row] = path
        self.former_packets[row], self.former_octets[row] = former
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

    def set_header(self, row: int, header: Header) -> None:
        """Give a row the header bytes of a new negotiation."""
        super().set_header(row, header)
        self.version += 1
        if self.current[row] != NOWHERE:
            self._recast(self._progress[self.current[row]])

    def pause(self, row: int) -> None:
        """Send this row nothing more until `aim`."""
        self._freeze(np.array([row]))
        self.current[row] = self.target[row] = NOWHERE
        self._regroup()

    def aim(self, row: int, stream: int, now: float, replay: bool = True) -> bool:
        """Let a row have stream number `stream` from its next keyframe on.

        A row that gets nothing at the moment is given the packets since the last keyframe if that is
        recent; not so without `replay`, for who has them.

        Returns
        -------
        bool
            Whether a keyframe must be asked for.
        """
        self.target[row] = stream
        self._regroup()
        if self.current[row] == stream:
            return False
        return not (replay and self.current[row] == NOWHERE and self._replay(row, stream, now))

    def limit_temporal(self, row: int, temporal: int | None) -> None:
        """Let a row have temporal layers up to `temporal` only (None: all)."""
        self.temporal_target[row] = TOP_TEMPORAL if temporal is None else temporal
        if self.current[row] != NOWHERE:
            self._progress[self.current[row]].level = None

    def restart(self, stream: int) -> None:
        """Stream number `stream` begins anew (another SSRC, or numbers that jumped): its viewers wait for
        a keyframe."""
        rows = self._progress_of(stream).rows
        self._freeze(rows)
        self.current[rows] = NOWHERE
        self._progress[stream] = Progress()
        self._regroup()

    @property
    def packets(self) -> Integers:
        """How many packets were written for each row; those that the kernel did not take are counted, too."""
        self.count_all()
        return self.counted_packets

    @property
    def octets(self) -> Integers:
        """How many bytes of payload these had."""
        self.count_all()
        return self.counted_octets

    def viewers(self) -> Iterator[tuple[Stream, Integers]]:
        """Each stream that anybody gets, and the rows of these."""
        for stream, progress in zip(self.streams, self._progress, strict=False):
            if len(progress.rows):
                yield stream, progress.rows

    def count_all(self) -> None:
        """Add what casts were sent to the counters of their rows."""
        for progress in self._progress:
            if progress.cast is not None:
                self.count(progress.cast)

    def find(self, row: int, sequences: Sequence[int]) -> dict[int, tuple[Stream, Sent]]:
        """The stored packets that went to `row` as outgoing numbers `sequences`, as far as they are here."""
        current = int(self.current[row])
        highest = self._progress[current].highest if current != NOWHERE else None
        newest = int(self.last_sequence[row])
        if highest is not None:
            newest = highest + int(self.sequence_offset[row])
        backs = {(newest - sequence) & 0xFFFF for sequence in sequences}
        wanted = {newest - back for back in backs if back < HISTORY}
        found: dict[int, tuple[Stream, Sent]] = {}
        for index in sorted(range(len(self._progress)), key=lambda index: index != current):
            if not wanted:
                break
            stream = self.streams[index]
            for number, sent in self._progress[index].shipments.find(row, wanted).items():
                if stream.store.get(sent.packet.sequence) is sent.packet:
                    found[number & 0xFFFF] = stream, sent
        return found

    def _progress_of(self, stream: int) -> Progress:
        while len(self._progress) <= stream:
            self._progress.append(Progress())
        return self._progress[stream]

    def _regroup(self) -> None:
        self.version += 1
        for index in range(len(self.streams)):
            progress = self._progress_of(index)
            self._recast(progress)
            progress.level = None
            progress.rows = np.flatnonzero(self.used & (self.current == index))
            progress.waiting = np.flatnonzero(self.used & (self.target == index) & (self.current != index))

    def _recast(self, progress: Progress) -> None:
        """The rows of a stream, or what is added to its numbers for them, are about to change."""
        if progress.cast is not None:
            self.count(progress.cast)
            progress.cast = None

    def _freeze(self, rows: Integers) -> None:
        """Note the last numbers sent of rows that leave their stream."""
        for index in set(self.current[rows].tolist()) - {NOWHERE}:
            progress = self._progress[index]
            if progress.highest is None:
                continue
            some = rows[self.current[rows] == index]
            self.last_sequence[some] = progress.highest + self.sequence_offset[some]
            self.last_timestamp[some] = (progress.timestamp + self.timestamp_offset[some]) & 0xFFFFFFFF
            if progress.picture != NOWHERE:
                self.last_picture[some] = (progress.picture + self.picture_offset[some]) & 0x7FFF
                self.last_tl0[some] = (progress.tl0 + self.tl0_offset[some]) & 0xFF
            self.last_marker[some] = progress.marker | (progress.skipping & self.skips[some])
            self.last_sent[some] = progress.arrival

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
            elif first.length:
                end = burst_end(packets, start)
                self._burst(stream, progress, packets[start:end], now)
            else:
                self._padding(progress, first)
            start = end

    def _burst(self, stream: Stream, progress: Progress, burst: list[Packet], now: float) -> None:
        first, last = burst[0], burst[-1]
        new_picture = progress.highest is None or first.timestamp != progress.timestamp
        if progress.highest is not None and first.sequence > progress.highest + 1:
            self._open_holes(progress, first.sequence)
        if len(progress.waiting):
            if first.info.keyframe and first.info.start:
                self._splice(stream, progress.waiting, first)
            else:
                idle = progress.waiting[self.current[progress.waiting] == NOWHERE]
                self.dropped_waiting[idle] += len(burst)
        rows = progress.rows
        if stream.highest_temporal:
            if new_picture:
                limited = self._level(progress) < stream.highest_temporal
                progress.skipping = limited and self._choose_temporal(progress, first)
            if progress.skipping:
                rows = self._skip(progress, burst, new_picture)
        progress.highest = last.sequence
        progress.note(last)
        if rows is not progress.rows:
            self._give(stream, progress, Cast(self, rows), burst, now)
            return
        if progress.cast is None:
            progress.cast = Cast(self, rows)
        self._give(stream, progress, progress.cast, burst, now)

    def _give(
        self, stream: Stream, of: Progress, cast: Cast, burst: list[Packet], now: float, late: bool = False
    ) -> None:
        if not len(cast.rows):
            return
        self.emit(stream, cast, burst, now)
        of.shipments.add(Shipment(cast, burst, late), stream.store.newest - stream.store.capacity + 1)
        if cast is not of.cast:
            self.count(cast)

    def _level(self, progress: Progress) -> int:
        """The lowest temporal layer that any row of a stream has, or may have."""
        if progress.level is None:
            rows = progress.rows
            levels = np.minimum(self.temporal[rows], self.temporal_target[rows])
            progress.level = int(levels.min(initial=TOP_TEMPORAL))
        return progress.level

    def _choose_temporal(self, progress: Progress, packet: Packet) -> bool:
        """Decide who skips the picture that `packet` begins; whether anybody does."""
        rows = progress.rows
        progress.level = None
        temporal_id = packet.info.temporal_id
        want = self.temporal_target[rows]
        if packet.info.keyframe:
            level = want  # every picture after a keyframe can be decoded
        else:
            level = np.minimum(self.temporal[rows], want)
            if packet.info.start and packet.info.layer_sync:
                level = np.where((temporal_id > level) & (temporal_id <= want), temporal_id, level)
        self.temporal[rows] = level
        skips = level < temporal_id
        self.skips[rows] = skips
        return bool(skips.any())

    def _skip(self, progress: Progress, burst: list[Packet], new_picture: bool) -> Integers:
        """Close the gap for the rows that skip the picture of `burst`; the others are returned."""
        skips = self.skips[progress.rows]
        skipped = progress.rows[skips]
        self._recast(progress)
        self.sequence_offset[skipped] -= len(burst)
        self.dropped_temporal[skipped] += len(burst)
        if new_picture:
            if burst[0].info.picture_id is not None:
                self.picture_offset[skipped] -= 1
            if len(progress.skipped) >= SKIPPED_PICTURES:
                del progress.skipped[next(iter(progress.skipped))]
            progress.skipped[burst[0].timestamp] = skipped
        return progress.rows[~skips]

    def _padding(self, progress: Progress, packet: Packet) -> None:
        """A packet without payload is for the path to the room only; close the gap."""
        if progress.highest is not None and packet.sequence > progress.highest + 1:
            self._open_holes(progress, packet.sequence)
        progress.highest = packet.sequence
        self._recast(progress)
        self.sequence_offset[progress.rows] -= 1

    def _open_holes(self, progress: Progress, until: int) -> None:
        """Leave room for the packets before number `until` that did not come yet."""
        assert progress.highest is not None
        rows = progress.rows
        first = max(progress.highest + 1, until - LATE_HOLES)
        # what is missing longer will not come; a jump of half the circle would break SRTP's count
        if first > progress.highest + 1:
            self._recast(progress)
            self.sequence_offset[rows] -= first - progress.highest - 1
        offsets = self.sequence_offset.copy(), self.picture_offset.copy()
        for sequence in range(first, until):
            progress.holes[sequence] = offsets
        while len(progress.holes) > LATE_HOLES:
            del progress.holes[next(iter(progress.holes))]

    def _late(self, stream: Stream, progress: Progress, packet: Packet, now: float) -> None:
        """A packet that comes out of order goes into the hole it left."""
        hole = progress.holes.pop(packet.sequence, None)
        if hole is not None and packet.length:
            if newer(packet.timestamp, progress.timestamp, 32):  # only padding has passed it
                progress.skipping = False
                progress.note(packet)
            offsets, pictures = hole
            rows = progress.rows[self.epoch[progress.rows] < packet.sequence]
            skipped = progress.skipped.get(packet.timestamp)
            if skipped is not None:
                without = set(skipped.tolist())
                rows = rows[[row not in without for row in rows.tolist()]]
            self._give(stream, progress, Cast(self, rows, offsets, pictures), [packet], now, True)
        # it may have been the one that a keyframe lacked
        for row in progress.waiting[self.current[progress.waiting] == NOWHERE].tolist():
            self._replay(row, stream.index, now)

    def _splice(self, stream: Stream, rows: Integers, packet: Packet) -> None:
        """Continue the numbers of `rows` with `packet`, the first of a keyframe."""
        self._freeze(rows)
        # a hole tells the decoder that its last picture is incomplete
        gap = np.where(self.last_marker[rows], 1, 2)
        self.sequence_offset[rows] = self.last_sequence[rows] + gap - packet.sequence
        first_time = self.last_sent[rows] < 0
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
            following = self.last_picture[rows] + 1 - packet.info.picture_id
            self.picture_offset[rows] = np.where(fresh, 0, following)
            self.tl0_offset[rows] = np.where(fresh, 0, self.last_tl0[rows] + 1 - (packet.info.tl0 or 0))
        self.temporal[rows] = self.temporal_target[rows]
        self.skips[rows] = False
        self.epoch[rows] = packet.sequence
        self.switches[rows] += ~first_time
        self.current[rows] = stream.index
        self.target[rows] = stream.index
        self._regroup()

    def _reported_timestamps(self, rows: Integers, stream: Stream, packet: Packet) -> Integers:
        """Outgoing timestamps of `packet` by the sender reports of each row's old stream and the new
        one.

        RFC 3550 section 6.4: both map their RTP clock to the publisher's NTP clock. A row for which
        there is no such report gets its last timestamp back.
        """
        timestamps = self.last_timestamp[rows].copy()
        ntp = stream.reception.ntp_at(packet.timestamp)
        for old in set(self.current[rows].tolist()) - {NOWHERE}:
            if ntp is None:
                break
            then = self.streams[old].reception.rtp_at(ntp)
            some = self.current[rows] == old
            if then is not None:
                timestamps[some] = then + self.timestamp_offset[rows[some]]
        return timestamps

    def _replay(self, row: int, stream_index: int, now: float) -> bool:
        """Give a new viewer what followed the last keyframe, if that is recent and complete."""
        stream = self.streams[stream_index]
        progress = self._progress_of(stream_index)
        start = stream.keyframe_sequence
        old = now - stream.keyframe_arrival > REPLAY_S or now - stream.last_arrival > SILENT_S
        if start is None or progress.highest is None or old:
            return False
        count = progress.highest - start + 1
        if not 0 < count <= REPLAY_PACKETS:
            return False
        packets = [packet for packet in stream.store.since(start) if packet.sequence <= progress.highest]
        if len(packets) != count:
            return False
        rows = np.array([row])
        self._splice(stream, rows, packets[0])
        begin = 0
        while begin < count:
            end = chunk_end(packets, begin)
            if packets[begin].length:
                self._give(stream, progress, Cast(self, rows), packets[begin:end], now)
            else:
                self.sequence_offset[row] -= 1
            begin = end
        self.epoch[row] = progress.highest  # nothing before that is missing
        progress.note(next(packet for packet in reversed(packets) if packet.length))
        return True
