"""The way out: many packets to many clients in few system calls.

Packets are written into one arena of fixed slots, protected in place (SRTP, RFC 3711/7714) and handed
to the kernel by ``sendmmsg``. Slots that go to one client back to back and have the same length (the
last may be shorter) leave as one UDP GSO run (``UDP_SEGMENT``): the kernel walks its stack once for the
run. libsrtp and ``sendmmsg`` are called through `ctypes.PyDLL`, which keeps the GIL: none of these
calls blocks, and giving the GIL up in the middle of a batch would cost a switch interval each time
beside a busy cell. Where the platform has no ``sendmmsg`` the same slots leave by plain ``sendto``.

What the socket buffer cannot take is dropped and counted, never queued. Packets for a row that is a tunnel
(`PathTable.tunnels`) are handed over as they are, after the others have left.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..rtp.drops import Drop
from . import srtp
from .addresses import NAME_SIZE
from .paths import Deliver, PathTable

Mode = Literal["gso", "mmsg", "plain"]

SLOTS = 512
STRIDE = 1600
HEADROOM = 64  # bytes of a slot kept for the SRTP tag and RTP padding
MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of older Linux kernels
MAX_RUN_BYTES = 65000
MAX_PLANS = 256

UDP_SEGMENT = 103
SOL_UDP = 17
FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)

_MSGHDR = np.dtype(  # struct mmsghdr on 64-bit Linux
    {
        "names": ["name", "name_length", "iov", "iov_length", "control", "control_length", "flags", "sent"],
        "formats": ["<u8", "<u4", "<u8", "<u8", "<u8", "<u8", "<i4", "<u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_CMSG_SIZE = 24  # CMSG_SPACE(sizeof(uint16_t)) on 64-bit Linux
_CMSG_LENGTH = 18

# for each reason the client of every packet lost, by its place among those of the batch
Lost = dict[Drop, list[int]]


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


class _Plan:
    """What stays the same when the same clients get packets that fall into the same runs.

    `slots` and `sizes` are pointers to the packets and to their lengths, `every` the SRTP context of each (as
    of the time when the contexts were `contexts`), all as ctypes wants them; `segments` is where the segment
    size of each message is written and `firsts` where it comes from, the length of its first packet; `fd` is
    the one socket that all go through, None if there are several. `clients` are the places of those who are
    reached by UDP, `rows` their rows, and `tunnels` the places of the others and what takes their packets.
    """

    __slots__ = (
        "clients",
        "connected",
        "contexts",
        "every",
        "fd",
        "fds",
        "firsts",
        "headers",
        "lengths",
        "one_run",
        "pointer",
        "rows",
        "runs",
        "segments",
        "sizes",
        "slots",
        "tunnels",
    )

    rows: npt.NDArray[np.int64]
    clients: Sequence[int]
    tunnels: list[tuple[int, Deliver]]
    one_run: bool
    slots: list[Any]
    sizes: list[Any]
    lengths: npt.NDArray[np.uint64]
    runs: tuple[int, ...]
    segments: npt.NDArray[np.uint16]
    firsts: npt.NDArray[np.uint64] | npt.NDArray[np.int64]
    headers: npt.NDArray[np.void]
    pointer: int
    fds: npt.NDArray[np.int32]
    fd: int | None
    contexts: bytes
    connected: bool
    every: list[Any]


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
        self._iov = np.zeros((SLOTS, 2), np.uint64)
        self._iov[:, 0] = base + STRIDE * np.arange(SLOTS, dtype=np.uint64)
        self._iov_pointers = _address(self._iov) + 16 * np.arange(SLOTS, dtype=np.uint64)
        self._lengths = self._iov[:, 1]
        self._slot_pointers = [srtp.prepare(base + STRIDE * i) for i in range(SLOTS)]
        # libsrtp writes a C int, the low half of what `sendmmsg` reads
        length = _address(self._iov) + (8 if sys.byteorder == "little" else 12)
        self._length_pointers = [srtp.prepare(length + 16 * i) for i in range(SLOTS)]
        # a segment size for each message: SRTP tags of 10 and 16 bytes may meet in one batch
        self._control = np.zeros((SLOTS, _CMSG_SIZE), np.uint8)
        self._control[:, :16] = np.frombuffer(
            np.uint64(_CMSG_LENGTH).tobytes() + np.array([SOL_UDP, UDP_SEGMENT], np.int32).tobytes(), np.uint8
        )
        self._segment = self._control[:, 16:18].view("<u2")[:, 0]
        self._control_pointers = _address(self._control) + _CMSG_SIZE * np.arange(SLOTS, dtype=np.uint64)
        self._plans: dict[tuple[bytes, tuple[int, ...]], _Plan] = {}
        self._planned_version = -1
        self._chosen = np.zeros(SLOTS, _MSGHDR)  # the messages that go through one of several sockets
        self._single = np.zeros(1, _MSGHDR)
        self._chosen_pointer = _address(self._chosen)
        self._single_pointer = _address(self._single)
        self._protect = srtp.load().protect_prepared
        if self.mode != "plain":
            library = ctypes.PyDLL(None, use_errno=True)
            self._sendmmsg = library.sendmmsg
            self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    @property
    def pads(self) -> bool:
        """Whether a packet one byte short gets a padding byte, so that it fits its picture's GSO run."""
        return self.mode == "gso"

    def send(self, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int32]) -> Lost:
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
        dict of Drop to list of int
            For each reason the indices into `rows`, one for each packet lost; empty when all went out.
        """
        if len(rows) == len(lengths) == 1:
            return self._send_one(int(rows[0]), int(lengths[0]))
        plan = self._plan(rows, lengths.tolist())
        packets, count = len(lengths), len(plan.slots)
        plan.lengths[:] = lengths
        lost = self._send_plan(plan, packets) if count else {}
        self.sent += count - sum(map(len, lost.values()))
        for place, deliver in plan.tunnels:
            deliver(self._packets(place * packets, lengths.tolist()))
        return lost

    def _packets(self, first: int, lengths: list[int]) -> list[bytes]:
        """Copies of the packets in the slots from `first` on."""
        return [self.arena[slot, :length].tobytes() for slot, length in enumerate(lengths, first)]

    def _send_plan(self, plan: _Plan, packets: int) -> Lost:
        """Protect and send what a plan is for, `packets` for each client."""
        clients = len(plan.rows)
        contexts = self.paths.srtp[plan.rows]
        if contexts.tobytes() != plan.contexts:
            plan.contexts = contexts.tobytes()
            plan.connected = bool(contexts.all())
            prepared = map(srtp.prepare, contexts.tolist())
            plan.every = [context for context in prepared for _ in range(packets)]
        protect = self._protect
        if plan.connected:
            status = list(map(protect, plan.every, plan.slots, plan.sizes))
        else:  # libsrtp must never see a null context
            there = np.repeat(contexts != 0, packets).tolist()
            status = [
                protect(*packet) if connected else 1
                for connected, *packet in zip(there, plan.every, plan.slots, plan.sizes, strict=True)
            ]
        lost: Lost = {}
        chosen = None
        if any(status):  # a context that protects no more: that client gets nothing of this batch
            failed = np.array(status, bool).reshape(clients, packets).any(axis=1)
            chosen = np.flatnonzero(~failed)
            places = np.array(plan.clients)[failed]
            lost[Drop.SEND_ERROR] = np.repeat(places, packets).tolist()
        if self.mode == "plain":
            self._send_plain(plan, packets, range(clients) if chosen is None else chosen.tolist(), lost)
        else:
            self._send_messages(plan, chosen, lost)
        return lost

    def _send_one(self, row: int, length: int) -> Lost:
        """Send the packet in slot 0, a retransmission: no plan is worth making for it."""
        paths = self.paths
        if row in paths.tunnels:
            paths.tunnels[row](self._packets(0, [length]))
            return {}
        self._lengths[0] = length
        context, fd = int(paths.srtp[row]), int(paths.fd[row])
        slot, size = self._slot_pointers[0], self._length_pointers[0]
        if not context or self._protect(srtp.prepare(context), slot, size):
            return {Drop.SEND_ERROR: [0]}
        lost: Lost = {}
        if self.mode == "plain":
            self._send_slots(row, 0, 1, 0, lost)
        else:
            name = paths.name_pointer + NAME_SIZE * row
            iov = int(self._iov_pointers[0])
            self._single[0] = name, paths.name_length[row], iov, 1, 0, 0, 0, 0
            sent, error = self._call(fd, self._single_pointer, 1)
            if not sent:
                _lose(lost, Drop.SOCKET_FULL if error in FULL else Drop.SEND_ERROR, 0)
        self.sent += not lost
        return lost

    def _plan(self, rows: npt.NDArray[np.int64], lengths: list[int]) -> _Plan:
        """The plan for these clients and these runs; from picture to picture it is mostly the same."""
        if self._planned_version != self.paths.version or len(self._plans) >= MAX_PLANS:
            self._plans.clear()
            self._planned_version = self.paths.version
        runs = self._runs(lengths)
        key = rows.tobytes(), runs
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._new_plan(rows, runs)
        return plan

    def _new_plan(self, rows: npt.NDArray[np.int64], runs: tuple[int, ...]) -> _Plan:
        everybody, packets = len(rows), sum(runs)
        tunnels = self._tunnels(rows)
        places: Sequence[int] = range(everybody)
        slots: Sequence[int] = range(everybody * packets)
        if tunnels:
            there = {place for place, _ in tunnels}
            places = [place for place in places if place not in there]
            slots = [slot for slot in slots if slot // packets not in there]
            rows = rows[places]
        clients = len(places)
        sizes = np.array(runs)
        starts = np.cumsum(sizes) - sizes
        first = (np.array(places, np.int64)[:, None] * packets + starts).ravel()
        headers = np.zeros(clients * len(runs), _MSGHDR)
        headers["iov"] = self._iov_pointers[first]
        headers["control"] = self._control_pointers[: len(headers)]
        table = headers.reshape(clients, len(runs))
        table["name"] = (self.paths.name_pointer + NAME_SIZE * rows.astype(np.uint64))[:, None]
        table["name_length"] = self.paths.name_length[rows][:, None]
        table["iov_length"] = sizes
        table["control_length"] = np.where(sizes > 1, _CMSG_SIZE, 0)
        fds = self.paths.fd[rows]
        plan = _Plan()
        plan.rows = rows
        plan.clients = places
        plan.tunnels = tunnels
        plan.slots = [self._slot_pointers[slot] for slot in slots]
        plan.sizes = [self._length_pointers[slot] for slot in slots]
        plan.lengths = self._lengths[: everybody * packets].reshape(everybody, packets)
        plan.runs = runs
        plan.segments = self._segment[: len(headers)]
        # one run for each of all clients needs no list of places
        plan.one_run = len(runs) == 1 and not tunnels
        plan.firsts = self._lengths[: everybody * packets : packets] if plan.one_run else first
        plan.headers = headers
        plan.pointer = _address(headers)
        plan.fds = fds
        plan.fd = int(fds[0]) if clients and (fds == fds[0]).all() else None
        plan.contexts = b""
        plan.connected = False
        plan.every = []
        return plan

    def _tunnels(self, rows: npt.NDArray[np.int64]) -> list[tuple[int, Deliver]]:
        """The places of those that are no UDP clients, and what takes their packets."""
        tunnels = self.paths.tunnels
        if not tunnels:
            return []
        return [(place, tunnels[row]) for place, row in enumerate(rows.tolist()) if row in tunnels]

    def _send_messages(self, plan: _Plan, chosen: npt.NDArray[np.int64] | None, lost: Lost) -> None:
        """Send one message for each run of each client; `chosen` are the clients to send to (None: all)."""
        runs = len(plan.runs)
        plan.segments[:] = plan.firsts if plan.one_run else self._lengths[plan.firsts]
        clients = len(plan.fds)
        if chosen is None and plan.fd is not None:
            self._transmit(plan.fd, plan.pointer, plan.headers, plan.clients, plan.runs, lost)
            return
        some = np.arange(clients) if chosen is None else chosen
        for fd in np.unique(plan.fds[some]):
            through = some[plan.fds[some] == fd]
            selected = self._chosen[: len(through) * runs]
            selected[:] = plan.headers.reshape(clients, runs)[through].ravel()
            places = [plan.clients[index] for index in through.tolist()]
            self._transmit(int(fd), self._chosen_pointer, selected, places, plan.runs, lost)

    def _runs(self, lengths: list[int]) -> tuple[int, ...]:
        """How many packets each run of equally long packets has: the same for every client."""
        if len(lengths) == 1 or self.mode != "gso":
            return (1,) * len(lengths)
        runs = []
        size = count = 0
        for index, length in enumerate(lengths):
            fits = 0 < count < MAX_SEGMENTS and (count + 1) * (size + HEADROOM) <= MAX_RUN_BYTES
            if fits and lengths[index - 1] == size and length <= size:
                count += 1
                continue
            if count:
                runs.append(count)
            size, count = length, 1
        return (*runs, count)

    def _transmit(
        self,
        fd: int,
        pointer: int,
        headers: npt.NDArray[np.void],
        clients: Sequence[int],
        sizes: Sequence[int],
        lost: Lost,
    ) -> None:
        """Hand `headers`, one for each run of each of `clients`, to the kernel."""
        runs = len(sizes)
        done, messages = 0, len(headers)
        while done < messages:
            sent, error = self._call(fd, pointer + _MSGHDR.itemsize * done, messages - done)
            if sent:
                done += sent
                continue
            size = sizes[done % runs]
            client = clients[done // runs]
            if error in FULL:
                for index in range(done, messages):
                    _lose(lost, Drop.SOCKET_FULL, clients[index // runs], sizes[index % runs])
                return
            if size > 1:
                if error == errno.EIO:
                    self.mode = "mmsg"  # the way out has no checksum offload: never ask again
                self._transmit_singly(fd, headers[done], client, size, lost)
            else:
                _lose(lost, Drop.SEND_ERROR, client)
            done += 1

    def _transmit_singly(self, fd: int, run: np.void, client: int, size: int, lost: Lost) -> None:
        """Send the packets of a run one by one: a path with a small MTU takes no run (EINVAL)."""
        single = self._single
        single[0] = run
        single["iov_length"] = 1
        single["control_length"] = 0
        for index in range(size):
            single["iov"] = run["iov"] + np.uint64(16 * index)
            sent, error = self._call(fd, self._single_pointer, 1)
            if not sent:
                _lose(lost, Drop.SOCKET_FULL if error in FULL else Drop.SEND_ERROR, client)

    def _call(self, fd: int, pointer: int, messages: int) -> tuple[int, int]:
        """How many messages the kernel took, and the error if it was none."""
        while True:
            self.system_calls += 1
            sent = self._sendmmsg(fd, pointer, messages, socket.MSG_DONTWAIT)
            if sent > 0:
                return sent, 0
            error = ctypes.get_errno()
            if error != errno.EINTR:
                return 0, error

    def _send_plain(self, plan: _Plan, packets: int, chosen: Iterable[int], lost: Lost) -> None:
        for index in chosen:
            place = plan.clients[index]
            self._send_slots(int(plan.rows[index]), place * packets, packets, place, lost)

    def _send_slots(self, row: int, first: int, packets: int, place: int, lost: Lost) -> None:
        """Send the packets in the slots from `first` on to one client, `place` of the batch."""
        sender = self.paths.sockets.get(int(self.paths.fd[row]))
        if sender is None:
            _lose(lost, Drop.SEND_ERROR, place, packets)
            return
        address = self.paths.address(row)
        for slot in range(first, first + packets):
            self.system_calls += 1
            try:
                sender.sendto(self.arena[slot, : int(self._lengths[slot])].data, address)
            except OSError as error:
                _lose(lost, Drop.SOCKET_FULL if error.errno in FULL else Drop.SEND_ERROR, place)


def _lose(lost: Lost, reason: Drop, client: int, count: int = 1) -> None:
    lost.setdefault(reason, []).extend([client] * count)
