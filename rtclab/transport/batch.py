"""The way out: many packets to many clients in few system calls.

Packets are written into one arena of fixed slots, protected in place (SRTP, RFC 3711/7714) and handed
to the kernel by ``sendmmsg``. Slots that go to one client back to back and have the same length (the
last may be shorter) leave as one UDP GSO run (``UDP_SEGMENT``): the kernel walks its stack once for the
run. libsrtp and ``sendmmsg`` are called through `ctypes.PyDLL`, which keeps the GIL: none of these
calls blocks, and giving the GIL up in the middle of a batch would cost a switch interval each time
beside a busy cell. Where the platform has no ``sendmmsg`` the same slots leave by plain ``sendto``.

What the socket buffer cannot take is dropped and counted, never queued.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..rtp.drops import Drop
from . import srtp
from .paths import PathTable

Mode = Literal["gso", "mmsg", "plain"]

SLOTS = 256
STRIDE = 1600
HEADROOM = 64  # bytes of a slot kept for the SRTP tag and RTP padding
MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of older Linux kernels
MAX_RUN_BYTES = 65000

UDP_SEGMENT = 103
SOL_UDP = 17

_MSGHDR = np.dtype(
    {
        "names": ["name", "name_length", "iov", "iov_length", "control", "control_length", "flags",
        "sent"], "formats": ["<u8", "<u4", "<u8", "<u8", "<u8", "<u8", "<i4", "<u4"], "offsets": [0, 8,
        16, 24, 32, 40, 48, 56], "itemsize": 64,
    }
)
_CMSG_SIZE = 24  # CMSG_SPACE(sizeof(uint16_t)) on 64-bit Linux


def best_mode() -> Mode:
    """The fastest way out that this platform has."""
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        return "plain"
    if not hasattr(ctypes.PyDLL(None), "sendmmsg"):
        return "plain"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
        except OSError:
            return "mmsg"
    return "gso"


def _address(array: npt.NDArray[np.generic]) -> int:
    return int(array.__array_interface__["data"][0])


class SendBatch:
    """An arena of packet slots and the calls that protect and send them.

    Parameters
    ----------
    paths : PathTable
        Socket, address and SRTP context of each client, by row.
    mode : {"gso", "mmsg", "plain"}, optional
        How packets leave; by default the fastest the platform has.

    Attributes
    ----------
    arena : numpy.ndarray
        ``(SLOTS, STRIDE)`` uint8; ``arena16`` and ``arena32`` are big-endian views of it for header
        fields.
    sent, system_calls : int
        Packets handed to the kernel, and the calls that took.
    """

    def __init__(self, paths: PathTable, mode: Mode | None = None) -> None:
        self.paths = paths
        self.mode: Mode = best_mode() if mode is None else mode
        self.arena = np.zeros((SLOTS, STRIDE), np.uint8)
        self.arena16 = self.arena.view(">u2")
        self.arena32 = self.arena.view(">u4")
        self.sent = 0
        self.system_calls = 0
        base = _address(self.arena)
        self._lengths = np.zeros(SLOTS, np.int32)
        self._slot_pointers = [base + STRIDE * i for i in range(SLOTS)]
        self._length_pointers = [_address(self._lengths) + 4 * i for i in range(SLOTS)]
        self._iov = np.zeros((SLOTS, 2), np.uint64)
        self._iov[:, 0] = self._slot_pointers
        self._iov_pointers = _address(self._iov) + 16 * np.arange(SLOTS, dtype=np.uint64)
        self._headers = np.zeros(SLOTS, _MSGHDR)
        self._control = np.zeros((MAX_SEGMENTS, _CMSG_SIZE), np.uint8)
        for row in self._control:
            row[:16] = np.frombuffer(
                np.array([18], np.uint64).tobytes() + np.array([SOL_UDP, UDP_SEGMENT], np.int32).tobytes(),
                np.uint8,
            )
        self._control_segment = self._control[:, 16:18].view("<u2")[:, 0]
        self._control_pointer = _address(self._control)
        self._protect = srtp.load().protect
        if self.mode != "plain":
            self._libc = ctypes.PyDLL(None, use_errno=True)
            self._sendmmsg = self._libc.sendmmsg
            self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    @property
    def pads(self) -> bool:
        """Whether a packet one byte short gets a padding byte, so that it fits its picture's GSO run."""
        return self.mode == "gso"

    def send(
        self, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int32]
    ) -> tuple[Drop, npt.NDArray[np.int64]] | None:
        """Protect and send the packets in the first ``len(rows) * len(lengths)`` slots.

        Slot ``i * len(lengths) + j`` holds packet ``j`` for the client at path row ``rows[i]``.

        Parameters
        ----------
        rows : numpy.ndarray
            ``(clients,)`` path rows.
        lengths : numpy.ndarray
            ``(packets,)`` int32 length of each packet in bytes, the same for every client.

        Returns
        -------
        tuple of Drop and numpy.ndarray, or None
            The reason and the indices into `rows`, one for each packet lost; None when all went out.
        """
        clients, packets = len(rows), len(lengths)
        count = clients * packets
        contexts = self.paths.srtp[rows]
        if packets > 1:
            contexts = np.repeat(contexts, packets)
        self._lengths[:count].reshape(clients, packets)[:] = lengths
        status = list(
            map(self._protect, contexts.tolist(), self._slot_pointers[:count], self._length_pointers[:count])
        )
        chosen = np.arange(clients)
        if any(status):  # a context that protects no more: that client gets nothing of this batch
            chosen = np.flatnonzero(~np.array(status, bool).reshape(clients, packets).any(axis=1))
        lost = self._send_plain if self.mode == "plain" else self._send_mmsg
        failed = lost(rows, packets, chosen) if len(chosen) else None
        if failed is None and len(chosen) < clients:
            return Drop.SEND_ERROR, np.repeat(np.setdiff1d(np.arange(clients), chosen), packets)
        return failed

    def _send_mmsg(
        self, rows: npt.NDArray[np.int64], packets: int, chosen: npt.NDArray[np.int64]
    ) -> tuple[Drop, npt.NDArray[np.int64]] | None:
        clients = len(rows)
        count = clients * packets
        self._iov[:count, 1] = self._lengths[:count]
        starts, sizes = self._runs(packets)
        runs = len(starts)
        messages = clients * runs
        paths = self.paths
        header = self._headers[:messages].reshape(clients, runs)
        first = (np.arange(clients) * packets)[:, None] + starts
        header["name"] = (paths.name_pointer + paths.name.shape[1] * rows.astype(np.uint64))[:, None]
        header["name_length"] = paths.name_length[rows][:, None]
        header["iov"] = self._iov_pointers[first]
        header["iov_length"] = sizes
        header["control_length"] = np.where(sizes > 1, _CMSG_SIZE, 0)
        header["control"] = self._control_pointer + _CMSG_SIZE * np.arange(runs, dtype=np.uint64)
        self._control_segment[:runs] = self._lengths[starts]
        fds = paths.fd[rows]
        if len(chosen) == clients and (clients == 1 or (fds == fds[0]).all()):
            return self._transmit(int(fds[0]), messages, sizes, packets)
        lost: tuple[Drop, npt.NDArray[np.int64]] | None = None
        whole = header.copy()
        for fd in np.unique(fds[chosen]):
            some = chosen[fds[chosen] == fd]
            self._headers[: len(some) * runs] = whole[some].ravel()
            failed = self._transmit(int(fd), len(some) * runs, sizes, packets)
            if failed:
                lost = failed[0], some[failed[1]]
        return lost

    def _runs(self, packets: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Start and size of each run of equally long packets; every client has the same lengths."""
        if packets == 1 or self.mode != "gso":
            return np.arange(packets), np.ones(packets, np.int64)
        lengths = self._lengths[:packets].tolist()
        starts, sizes = [0], [1]
        for index in range(1, packets):
            size = lengths[starts[-1]]
            fits = sizes[-1] < MAX_SEGMENTS and (sizes[-1] + 1) * size <= MAX_RUN_BYTES
            if fits and lengths[index - 1] == size and 0 < lengths[index] <= size:
                sizes[-1] += 1
            else:
                starts.append(index)
                sizes.append(1)
        return np.array(starts), np.array(sizes)

    def _transmit(
        self, fd: int, messages: int, sizes: npt.NDArray[np.int64], packets: int
    ) -> tuple[Drop, npt.NDArray[np.int64]] | None:
        done = 0
        reason = Drop.SEND_ERROR
        lost: list[int] = []
        pointer = _address(self._headers)
        runs = len(sizes)
        while done < messages:
            self.system_calls += 1
            sent = self._sendmmsg(fd, pointer + 64 * done, messages - done, socket.MSG_DONTWAIT)
            if sent > 0:
                done += sent
                continue
            error = ctypes.get_errno()
            if error == errno.EINTR:
                continue
            if error in (errno.EAGAIN, errno.ENOBUFS):
                reason = Drop.SOCKET_FULL
                lost.extend(range(done, messages))
                break
            if error == errno.EIO and self._headers[done]["control_length"]:
                self.mode = "mmsg"  # the route has no segmentation offload: never ask again
            lost.append(done)
            done += 1
        self.sent += messages // runs * packets
        if not lost:
            return None
        clients = np.repeat(np.array(lost) // runs, sizes[np.array(lost) % runs])
        self.sent -= len(clients)
        return reason, clients

    def _send_plain(
        self, rows: npt.NDArray[np.int64], packets: int, chosen: npt.NDArray[np.int64]
    ) -> tuple[Drop, npt.NDArray[np.int64]] | None:
        reason = Drop.SEND_ERROR
        lost = []
        for index in chosen.tolist():
            row = int(rows[index])
            sender, address = self.paths.sockets[int(self.paths.fd[row])], self.paths.address(row)
            for slot in range(index * packets, (index + 1) * packets):
                self.system_calls += 1
                try:
                    sender.sendto(self.arena[slot, : int(self._lengths[slot])].tobytes(), address)
                    self.sent += 1
                except OSError as error:
                    if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                        reason = Drop.SOCKET_FULL
                    lost.append(index)
        return (reason, np.array(lost, np.int64)) if lost else None
