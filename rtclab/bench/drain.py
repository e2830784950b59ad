"""Many viewers' sockets emptied at little cost.

The sockets are swept every few milliseconds with ``recvmmsg``. Of most packets only the first bytes are
copied (``MSG_TRUNC`` tells their length): the RTP headers of a sweep are read at once as columns. One slot of
each socket is full size; the packet that lands there can be decrypted. Which slot that is changes from sweep
to sweep, so that every packet of a picture is looked at as often as the others. The kernel notes when a
packet arrives, so a sweep that comes late changes no latency.
"""

from __future__ import annotations

import ctypes
import socket
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CHUNK = 64  # sockets a sweep step
SLOTS = 32  # packets of one socket a sweep step
SHORT = 256  # bytes copied of most packets: enough for STUN and RTCP
FULL = 2048
SAMPLED = 8  # slots that take turns at being full

_HEADER = np.dtype(  # struct mmsghdr of 64-bit Linux
    {
        "names": ["name", "iov", "iov_length", "control", "control_length", "length"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u8", "<u4"],
        "offsets": [0, 16, 24, 32, 40, 56],
        "itemsize": 64,
    }
)
_STAMP = np.dtype(  # struct cmsghdr and the timespec in it
    [("size", "<u8"), ("level", "<i4"), ("type", "<i4"), ("seconds", "<i8"), ("nanoseconds", "<i8")]
)


class Swept(NamedTuple):
    """What one step has read: arrays of ``(sockets, SLOTS)``, overwritten by the next step.

    Attributes
    ----------
    counts : numpy.ndarray
        ``(sockets,)`` packets read.
    there : numpy.ndarray
        Which slots hold a packet.
    lengths : numpy.ndarray
        Bytes on the wire.
    first, second : numpy.ndarray
        The first two bytes of each packet.
    sequence : numpy.ndarray
        uint16, the RTP sequence number.
    full_slot : int
        The slot whose packets are whole, in `Drain.full`; for one that fills it `arrival_ns` is known.
    """

    counts: npt.NDArray[np.int64]
    there: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.uint32]
    first: npt.NDArray[np.uint8]
    second: npt.NDArray[np.uint8]
    sequence: npt.NDArray[np.uint16]
    full_slot: int


class Drain:
    """The arena that sweeps share.

    Attributes
    ----------
    short : numpy.ndarray
        ``(CHUNK, SLOTS, SHORT)`` uint8, the beginning of each packet.
    full : numpy.ndarray
        ``(CHUNK, FULL)`` uint8, the packet in the full slot.
    """

    def __init__(self) -> None:
        self.short = np.zeros((CHUNK, SLOTS, SHORT), np.uint8)
        self.full = np.zeros((CHUNK, FULL), np.uint8)
        self._stamps = np.zeros(CHUNK, _STAMP)
        self._iov = np.zeros((CHUNK, SLOTS, 2), np.uint64)
        slots = np.arange(CHUNK * SLOTS, dtype=np.uint64).reshape(CHUNK, SLOTS)
        sockets = np.arange(CHUNK, dtype=np.uint64)
        self._short_pointers = _address(self.short) + np.uint64(SHORT) * slots
        self._full_pointers = _address(self.full) + np.uint64(FULL) * sockets
        self._stamp_pointers = _address(self._stamps) + np.uint64(_STAMP.itemsize) * sockets
        self._iov[:, :, 0] = self._short_pointers
        self._iov[:, :, 1] = SHORT
        self._headers = np.zeros((CHUNK, SLOTS), _HEADER)
        self._headers["iov"] = _address(self._iov) + np.uint64(16) * slots
        self._headers["iov_length"] = 1
        self._message_pointers = (
            _address(self._headers) + np.uint64(_HEADER.itemsize * SLOTS) * sockets
        ).tolist()
        self._headers_short = self.short[:, :, :4]
        self._position = 0
        self._recvmmsg = ctypes.PyDLL(None).recvmmsg
        self._recvmmsg.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        )
        self._flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC

    def turn(self) -> None:
        """Let the next slot be the full one."""
        self._iov[:, self._position, 0] = self._short_pointers[:, self._position]
        self._iov[:, self._position, 1] = SHORT
        self._headers["control"][:, self._position] = 0
        self._headers["control_length"][:, self._position] = 0
        self._position = (self._position + 1) % SAMPLED
        self._iov[:, self._position, 0] = self._full_pointers
        self._iov[:, self._position, 1] = FULL
        self._headers["control"][:, self._position] = self._stamp_pointers

    def sweep(self, fds: list[int]) -> Swept | None:
        """Read what waits at up to `CHUNK` sockets; None when nothing did."""
        size = len(fds)
        position = self._position
        self._headers["control_length"][:size, position] = _STAMP.itemsize
        read = list(
            map(
                self._recvmmsg,
                fds,
                self._message_pointers,
                repeat(SLOTS, size),
                repeat(self._flags),
                repeat(None),
            )
        )
        counts = np.maximum(np.array(read), 0)
        if not counts.any():
            return None
        self.short[:size, position, :4] = self.full[:size, :4]
        there = np.arange(SLOTS) < counts[:, None]
        heads = self._headers_short[:size]
        sequence = np.ascontiguousarray(heads[:, :, 2:4]).view(">u2")[:, :, 0].astype(np.uint16)
        return Swept(
            counts,
            there,
            self._headers["length"][:size],
            heads[:, :, 0],
            heads[:, :, 1],
            sequence,
            position,
        )

    def arrival_ns(self, index: int) -> int:
        """When the packet in the full slot of socket `index` came in, in nanoseconds of Unix time."""
        stamp = self._stamps[index]
        return int(stamp["seconds"]) * 1_000_000_000 + int(stamp["nanoseconds"])

    def full_pointer(self, index: int) -> int:
        """Address of the packet in the full slot."""
        return int(self._full_pointers[index])

    def packet(self, index: int, slot: int, length: int) -> bytes:
        """A packet, cut to `SHORT` bytes unless it is in the full slot."""
        if slot == self._position:
            return self.full[index, : min(length, FULL)].tobytes()
        return self.short[index, slot, : min(length, SHORT)].tobytes()


def _address(array: npt.NDArray[np.generic]) -> np.uint64:
    return np.uint64(array.__array_interface__["data"][0])
