"""The way in: many datagrams in one system call.

`recvmmsg` fills up to 64 slots of 2048 bytes at a cost of about half a microsecond each. It is called
through `ctypes.PyDLL`, which keeps the GIL; the sockets never block. Platforms without it read one datagram
a call.

On Linux the kernel notes when each datagram came in (``SO_TIMESTAMPNS``). Bandwidth estimation at the sender
needs that: what waits while the process is busy would otherwise seem to have come all at once.
"""

from __future__ import annotations

import ctypes
import socket
import sys
import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .addresses import NAME_SIZE, pack_name

SLOTS = 64
SLOT_SIZE = 2048  # bytes; a datagram that fills its slot may have been cut off


class Receiver(Protocol):
    """A set of slots and a way to fill them; what the last `read` gave is overwritten by the next.

    Attributes
    ----------
    arena : numpy.ndarray
        ``(SLOTS, SLOT_SIZE)`` uint8, the slots.
    views : list of memoryview
        One for each slot.
    pointers : list of int
        The addresses of the slots.
    lengths : list of int
        Length of each datagram read; one that was cut off has `SLOT_SIZE` or more.
    names : list of bytes
        Source of each, as `pack_name` gives it.
    ages : list of float
        How long each has waited, in seconds; 0 where the kernel does not say.
    """

    arena: npt.NDArray[np.uint8]
    views: list[memoryview]
    pointers: list[int]
    lengths: list[int]
    names: list[bytes]
    ages: list[float]

    def read(self, receiver: socket.socket) -> int:
        """Fill slots with what waits at a socket, without waiting, and return how many."""
        ...


def has_recvmmsg() -> bool:
    """Whether this platform has `recvmmsg`, with the structures that rtclab knows."""
    return sys.platform == "linux" and hasattr(ctypes.PyDLL(None), "recvmmsg")


def new_receiver(batched: bool | None = None) -> Receiver:
    """The fastest receiver of this platform, or the one asked for."""
    return BatchReceiver() if (has_recvmmsg() if batched is None else batched) else PlainReceiver()


class _Slots:
    def __init__(self) -> None:
        self.arena: npt.NDArray[np.uint8] = np.zeros((SLOTS, SLOT_SIZE), np.uint8)
        memory = self.arena.reshape(-1).data
        first = _address(self.arena)
        self.views = [memory[slot * SLOT_SIZE : (slot + 1) * SLOT_SIZE] for slot in range(SLOTS)]
        self.pointers = [first + slot * SLOT_SIZE for slot in range(SLOTS)]
        self.lengths: list[int] = []
        self.names: list[bytes] = []
        self.ages: list[float] = []


# struct iovec, msghdr and mmsghdr of Linux, laid out as its C compiler does
_IOVEC = np.dtype([("base", np.uintp), ("size", np.uintp)], align=True)
_MSGHDR = np.dtype(
    [
        ("name", np.uintp),
        ("name_length", np.uint32),
        ("iov", np.uintp),
        ("iov_count", np.uintp),
        ("control", np.uintp),
        ("control_length", np.uintp),
        ("flags", np.int32),
    ],
    align=True,
)
_MMSGHDR = np.dtype([("header", _MSGHDR), ("length", np.uint32)], align=True)


def _field_offset(layout: np.dtype[np.void], name: str) -> int:
    assert layout.fields is not None
    return int(layout.fields[name][1])


SO_TIMESTAMPNS = 35
_LONGEST_WAIT = 1.0  # seconds; more means that the clock was set
# struct cmsghdr and the timespec in it
_STAMP = np.dtype(
    [
        ("size", np.uintp),
        ("level", np.int32),
        ("type", np.int32),
        ("seconds", np.int64),
        ("nanoseconds", np.int64),
    ]
)


def stamp_arrivals(sock: socket.socket) -> None:
    """Let the kernel note when datagrams come in, where `BatchReceiver` can read that."""
    if has_recvmmsg() and sys.maxsize > 2**32:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


_MESSAGE_WORDS = _MMSGHDR.itemsize // 4
_LENGTH_WORD = _field_offset(_MMSGHDR, "length") // 4
_CONTROL_WORD = _field_offset(_MSGHDR, "control_length") // 4  # its low half, on little-endian machines
_STAMP_WORDS = _STAMP.itemsize // 8


class BatchReceiver(_Slots):
    """Reads up to `SLOTS` datagrams with one `recvmmsg`; for sockets of one address family."""

    def __init__(self) -> None:
        super().__init__()
        self._names: npt.NDArray[np.void] = np.zeros(SLOTS, f"V{NAME_SIZE}")
        self._iov = np.zeros(SLOTS, _IOVEC)
        self._iov["base"] = self.pointers
        self._iov["size"] = SLOT_SIZE
        self._messages = np.zeros(SLOTS, _MMSGHDR)
        headers, slots = self._messages["header"], np.arange(SLOTS, dtype=np.uintp)
        headers["name"] = _address(self._names) + NAME_SIZE * slots
        headers["iov"] = _address(self._iov) + _IOVEC.itemsize * slots
        headers["iov_count"] = 1
        self._stamps = np.zeros(SLOTS, _STAMP)
        headers["control"] = _address(self._stamps) + _STAMP.itemsize * slots
        headers["name_length"] = NAME_SIZE
        headers["control_length"] = _STAMP.itemsize
        # A read of a few datagrams after a long sleep touches little memory and code this way: numpy's
        # operations, each called once, would cost more than the rest of it.
        self._fresh = self._messages.tobytes()
        self._bytes = self._messages.view(np.uint8).data
        self._words = self._bytes.cast("I")
        self._name_bytes = self._names.view(np.uint8).data
        self._times = self._stamps.view(np.int64).data
        self._pointer = _address(self._messages)
        self._recvmmsg = ctypes.PyDLL(None).recvmmsg
        self._recvmmsg.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        )
        self._flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # MSG_TRUNC: lengths are the true ones

    def read(self, receiver: socket.socket) -> int:
        """Fill slots with what waits at a socket, without waiting, and return how many."""
        count: int = self._recvmmsg(receiver.fileno(), self._pointer, SLOTS, self._flags, None)
        if count <= 0:
            return 0
        words, names, times = self._words, self._name_bytes, self._times
        self.lengths = words[_LENGTH_WORD : _MESSAGE_WORDS * count : _MESSAGE_WORDS].tolist()
        self.names = [bytes(names[at : at + NAME_SIZE]) for at in range(0, NAME_SIZE * count, NAME_SIZE)]
        stamped = words[_CONTROL_WORD : _MESSAGE_WORDS * count : _MESSAGE_WORDS].tolist()
        now = time.time()
        ages = []
        for slot, size in enumerate(stamped):
            age = 0.0
            if size == _STAMP.itemsize:
                age = now - times[_STAMP_WORDS * slot + 2] - times[_STAMP_WORDS * slot + 3] * 1e-9
            ages.append(age if 0 < age < _LONGEST_WAIT else 0.0)
        self.ages = ages
        end = _MMSGHDR.itemsize * count
        self._bytes[:end] = self._fresh[:end]  # the kernel has written into the lengths
        return count


class PlainReceiver(_Slots):
    """Reads one datagram a call, on any platform."""

    def read(self, receiver: socket.socket) -> int:
        """Fill slots with what waits at a socket, without waiting, and return how many."""
        self.lengths, self.names = [], []
        for view in self.views:
            try:
                length, address = receiver.recvfrom_into(view)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # Windows: the datagram was longer than the slot, or an earlier send met a closed port
                continue
            self.lengths.append(length)
            self.names.append(pack_name(address[0], address[1]))
        self.ages = [0.0] * len(self.lengths)
        return len(self.lengths)


def _address(array: npt.NDArray[np.generic]) -> int:
    return int(array.__array_interface__["data"][0])
