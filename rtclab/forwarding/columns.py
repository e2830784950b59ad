"""The viewers of a producer as columns: one row each, one NumPy array for each of their numbers."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

HEADER = 24  # 12 RTP + 4 extension header + mid (4) + abs-send-time (4)
HISTORY = 1024  # packets that a viewer can ask for again
NOWHERE = -1
UNUSED_EXTENSIONS = (14, 13)  # an id that is not negotiated: receivers skip it (RFC 8285 section 4.2)

Integers = npt.NDArray[np.int64]


def wholes(parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """The bytes along the last axis, which lie side by side, as one element each."""
    return parts.view(_element(parts.shape[-1]))[..., 0]


@functools.lru_cache(2048)
def _element(size: int) -> np.dtype[np.void]:
    return np.dtype(f"V{size}")


@dataclass(frozen=True)
class Header:
    """What a viewer's packets carry besides numbers.

    Attributes
    ----------
    payload_type, rtx_payload_type : int or None
        As negotiated with this viewer.
    ssrc, rtx_ssrc : int
        Chosen by the room.
    mid : bytes
        Its BUNDLE media id; one longer than 3 bytes is left out (the SSRC is in the answer too).
    mid_id, abs_send_time_id : int or None
        Header extension ids (RFC 8285), None if not negotiated.
    """

    payload_type: int
    ssrc: int
    rtx_payload_type: int | None = None
    rtx_ssrc: int = 0
    mid: bytes = b""
    mid_id: int | None = None
    abs_send_time_id: int | None = None

    def encode(self, retransmission: bool = False) -> bytes:
        """The header bytes with sequence number, timestamp, marker and send time left zero."""
        payload_type = (self.rtx_payload_type or 0) if retransmission else self.payload_type
        ssrc = self.rtx_ssrc if retransmission else self.ssrc
        mid = self.mid if 0 < len(self.mid) <= 3 else b""
        mid_id = self.mid_id if mid and self.mid_id and self.mid_id < 15 else None
        time_id = self.abs_send_time_id
        if not time_id or time_id >= 15:
            time_id = next(number for number in UNUSED_EXTENSIONS if number != mid_id)
        element = bytes([mid_id << 4 | len(mid) - 1]) + mid if mid_id else b""
        head = struct.pack("!BBHIIHH", 0x90, payload_type, 0, 0, ssrc, 0xBEDE, 2)
        return head + element.ljust(4, b"\0") + bytes([time_id << 4 | 2, 0, 0, 0])


class Continuation(NamedTuple):
    """Where a viewer's outgoing numbers stand, to go on from later or from another producer."""

    sequence: int
    timestamp: int
    picture_id: int
    tl0: int
    marker: bool
    sent_at: float
    rtx_sequence: int


class ViewerColumns:
    """Arrays indexed by viewer row, replaced when they grow.

    Attributes
    ----------
    used : numpy.ndarray
        Whether the row is taken.
    path : numpy.ndarray
        The client's row in the path table.
    current, target : numpy.ndarray
        Index of the stream it gets and of the one it shall get; -1 for none.
    sequence_offset, timestamp_offset, picture_offset, tl0_offset : numpy.ndarray
        What is added to the incoming numbers.
    epoch : numpy.ndarray
        First incoming sequence number since the splice.
    temporal, temporal_target : numpy.ndarray
        Highest temporal layer it gets, and may get.
    skips : numpy.ndarray
        Whether it does not get the picture under way.
    rtx_sequence : numpy.ndarray
        Next sequence number of its retransmission stream.
    last_sequence, last_timestamp, last_picture, last_tl0, last_marker, last_sent : numpy.ndarray
        What was sent last, noted when it leaves a stream; the sequence number does not wrap.
    rtx_packets, switches : numpy.ndarray
        Counters of what was sent.
    counted_packets, counted_octets : numpy.ndarray
        More of them, without what casts have not counted yet.
    former_packets, former_octets : numpy.ndarray
        What its SSRC was sent of other producers before.
    reported : numpy.ndarray
        Whether it has had a sender report.
    dropped_temporal, dropped_waiting, dropped_socket_full, dropped_send_error : numpy.ndarray
        Counters of what was not, by reason.
    header, rtx_header : numpy.ndarray
        ``(rows, HEADER)`` uint8, its header bytes.
    """

    used: npt.NDArray[np.bool_]
    path: Integers
    current: Integers
    target: Integers
    sequence_offset: Integers
    timestamp_offset: Integers
    picture_offset: Integers
    tl0_offset: Integers
    epoch: Integers
    temporal: Integers
    temporal_target: Integers
    skips: npt.NDArray[np.bool_]
    rtx_sequence: Integers
    last_sequence: Integers
    last_timestamp: Integers
    last_picture: Integers
    last_tl0: Integers
    last_marker: npt.NDArray[np.bool_]
    last_sent: npt.NDArray[np.float64]
    counted_packets: Integers
    counted_octets: Integers
    former_packets: Integers
    former_octets: Integers
    reported: npt.NDArray[np.bool_]
    rtx_packets: Integers
    switches: Integers
    dropped_temporal: Integers
    dropped_waiting: Integers
    dropped_socket_full: Integers
    dropped_send_error: Integers
    header: npt.NDArray[np.uint8]
    rtx_header: npt.NDArray[np.uint8]

    _KINDS = {  # noqa: RUF012
        "used": np.bool_,
        "reported": np.bool_,
        "skips": np.bool_,
        "last_marker": np.bool_,
        "last_sent": np.float64,
    }
    _BLOCKS = {  # noqa: RUF012
        "header": (HEADER, np.uint8),
        "rtx_header": (HEADER, np.uint8),
    }

    def __init__(self, capacity: int = 8) -> None:
        self._names = [name for name in ViewerColumns.__annotations__ if not name.startswith("_")]
        for name in self._names:
            setattr(self, name, self._empty(name, capacity))

    def _empty(self, name: str, rows: int) -> npt.NDArray[np.generic]:
        if name in self._BLOCKS:
            width, kind = self._BLOCKS[name]
            return np.zeros((rows, width), kind)
        return np.zeros(rows, self._KINDS.get(name, np.int64))

    def __len__(self) -> int:
        """How many rows are taken."""
        return int(self.used.sum())

    def take_row(self) -> int:
        """Take a row with every number zero; the arrays double when none is left."""
        free = np.flatnonzero(~self.used)
        row = int(free[0]) if len(free) else len(self.used)
        if not len(free):
            for name in self._names:
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, self._empty(name, row)]))
        for name in self._names:
            getattr(self, name)[row] = 0
        self.used[row] = True
        self.current[row] = self.target[row] = NOWHERE
        return row

    def set_header(self, row: int, header: Header) -> None:
        """Give a row the header bytes of a new negotiation."""
        self.header[row] = np.frombuffer(header.encode(), np.uint8)
        self.rtx_header[row] = np.frombuffer(header.encode(retransmission=True), np.uint8)
