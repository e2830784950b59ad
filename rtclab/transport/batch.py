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
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

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
MAX_PLANS = 64  # for the same clients

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


class Clients:
    """Path rows that are sent packets together, and what was made ready for that.

    Parameters
    ----------
    rows : numpy.ndarray
        ``(clients,)`` path rows.
    """

    __slots__ = ("plans", "rows", "version")

    def __init__(self, rows: npt.NDArray[np.int64]) -> None:
        self.rows = rows
        self.version = -1  # of the path table when the plans were made
        self.plans: dict[tuple[int, ...], _Plan] = {}


class _Way(NamedTuple):
    """The messages of a plan that leave through one socket: one for each run of each of `clients`."""

    fd: int
    headers: npt.NDArray[np.void]
    pointer: int
    clients: list[int]


class _Plan(NamedTuple):
    """What stays the same when the same clients get packets that fall into the same runs.

    `places` are those of the clients that are reached by UDP and connected, `unconnected` those of others,
    and `tunnels` those of the rest, with what takes their packets. `every` are the SRTP contexts of all
    packets, `slots` and `sizes` pointers to the packets and to their lengths, as ctypes wants them.
    `segments` is where the segment size of each message is written and `firsts` where it comes from, the
    length of its first packet: a list of slots, or the lengths themselves where every client gets one run.
    """

    places: list[int]
    tunnels: list[tuple[int, Deliver]]
    unconnected: list[int]
    every: list[Any]
    slots: list[Any]
    sizes: list[Any]
    lengths: npt.NDArray[np.uint64]
    runs: tuple[int, ...]
    segments: npt.NDArray[np.uint16]
    firsts: npt.NDArray[np.uint64] | npt.NDArray[np.int64]
    one_run: bool
    ways: list[_Way]


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
        self._single = np.zeros(1, _MSGHDR)
        self._single_pointer = _address(self._single)
        self._protect = srtp.load().protect_prepared, srtp.load().protect_rtcp_prepared
        if self.mode != "plain":
            library = ctypes.PyDLL(None, use_errno=True)
            self._sendmmsg = library.sendmmsg
            self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    @property
    def pads(self) -> bool:
        """Whether a packet one byte short gets a padding byte, so that it fits its picture's GSO run."""
        return self.mode == "gso"

    def send(self, clients: Clients, lengths: Sequence[int], rtcp: bool = False) -> Lost:
        """Protect and send the packets in the first ``len(clients.rows) * len(lengths)`` slots.

        Slot ``i * len(lengths) + j`` holds packet ``j`` for the client at path row ``clients.rows[i]``.

        Parameters
        ----------
        clients : Clients
            Whom to.
        lengths : sequence of int
            The length of each packet in bytes, the same for every client.
        rtcp : bool
            Whether they are RTCP.

        Returns
        -------
        dict of Drop to list of int
            For each reason the places of clients, one for each packet lost; empty when all went out.
        """
        if len(clients.rows) == len(lengths) == 1:
            return self._send_one(int(clients.rows[0]), lengths[0], rtcp)
        plan = self._plan(clients, lengths)
        packets = len(lengths)
        plan.lengths[:] = lengths
        lost: Lost = {}
        if plan.places:
            self._send_plan(plan, clients, packets, rtcp, lost)
        for place in plan.unconnected:
            _lose(lost, Drop.SEND_ERROR, place, packets)
        everybody = len(clients.rows) - len(plan.tunnels)
        self.sent += everybody * packets - sum(map(len, lost.values()))
        for place, deliver in plan.tunnels:
            deliver(self._packets(place * packets, lengths))
        return lost

    def _packets(self, first: int, lengths: Sequence[int]) -> list[bytes]:
        """Copies of the packets in the slots from `first` on."""
        return [self.arena[slot, :length].tobytes() for slot, length in enumerate(lengths, first)]

    def _send_plan(self, plan: _Plan, clients: Clients, packets: int, rtcp: bool, lost: Lost) -> None:
        """Protect and send what a plan is for, `packets` for each client."""
        status = list(map(self._protect[rtcp], plan.every, plan.slots, plan.sizes))
        failed: set[int] = set()
        if any(status):  # a context that protects no more: that client gets nothing of this batch
            failed = {plan.places[index // packets] for index, error in enumerate(status) if error}
            for place in sorted(failed):
                _lose(lost, Drop.SEND_ERROR, place, packets)
        if self.mode == "plain":
            for place in plan.places:
                if place not in failed:
                    self._send_slots(int(clients.rows[place]), place * packets, packets, place, lost)
            return
        plan.segments[:] = plan.firsts if plan.one_run else self._lengths[plan.firsts]
        for way in plan.ways:
            self._transmit(_without(way, failed) if failed else way, plan.runs, lost)

    def _send_one(self, row: int, length: int, rtcp: bool) -> Lost:
        """Send the packet in slot 0, as for a retransmission: no plan is worth making for it."""
        paths = self.paths
        if row in paths.tunnels:
            paths.tunnels[row](self._packets(0, [length]))
            return {}
        self._lengths[0] = length
        context, fd = int(paths.srtp[row]), int(paths.fd[row])
        slot, size = self._slot_pointers[0], self._length_pointers[0]
        if not context or self._protect[rtcp](srtp.prepare(context), slot, size):
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

    def _plan(self, clients: Clients, lengths: Sequence[int]) -> _Plan:
        """The plan for these clients and these runs; from picture to picture it is mostly the same."""
        plans = clients.plans
        if clients.version != self.paths.version or len(plans) >= MAX_PLANS:
            plans.clear()
            clients.version = self.paths.version
        runs = self._runs(lengths)
        plan = plans.get(runs)
        if plan is None:
            plan = plans[runs] = self._new_plan(clients.rows, runs)
        return plan

    def _new_plan(self, rows: npt.NDArray[np.int64], runs: tuple[int, ...]) -> _Plan:
        paths, packets = self.paths, sum(runs)
        tunnels = [
            (place, paths.tunnels[row]) for place, row in enumerate(rows.tolist()) if row in paths.tunnels
        ]
        others = {place for place, _ in tunnels}
        contexts = paths.srtp[rows].tolist()
        # libsrtp must never see a null context
        unconnected = [place for place, context in enumerate(contexts) if not context and place not in others]
        others.update(unconnected)
        places = [place for place in range(len(rows)) if place not in others]
        slots = [place * packets + index for place in places for index in range(packets)]
        by_socket: dict[int, list[int]] = {}
        for place, fd in zip(places, paths.fd[rows[places]].tolist(), strict=True):
            by_socket.setdefault(fd, []).append(place)
        ordered = np.array([place for some in by_socket.values() for place in some], np.int64)
        sizes = np.array(runs)
        first = (ordered[:, None] * packets + (np.cumsum(sizes) - sizes)).ravel()
        headers = np.zeros(len(first), _MSGHDR)
        headers["iov"] = self._iov_pointers[first]
        headers["control"] = self._control_pointers[: len(headers)]
        table = headers.reshape(len(ordered), len(runs))
        table["name"] = (paths.name_pointer + NAME_SIZE * rows[ordered].astype(np.uint64))[:, None]
        table["name_length"] = paths.name_length[rows[ordered]][:, None]
        table["iov_length"] = sizes
        table["control_length"] = np.where(sizes > 1, _CMSG_SIZE, 0)
        ways, begin = [], 0
        for fd, some in by_socket.items():
            messages = headers[begin : begin + len(some) * len(runs)]
            begin += len(messages)
            ways.append(_Way(fd, messages, _address(messages), some))
        # one run for each of all clients through one socket needs no list of places
        one_run = len(runs) == 1 and not others and len(ways) == 1
        lengths = self._lengths[: len(rows) * packets]
        return _Plan(
            places=places,
            tunnels=tunnels,
            unconnected=unconnected,
            every=[context for place in places for context in [srtp.prepare(contexts[place])] * packets],
            slots=[self._slot_pointers[slot] for slot in slots],
            sizes=[self._length_pointers[slot] for slot in slots],
            lengths=lengths.reshape(len(rows), packets),
            runs=runs,
            segments=self._segment[: len(headers)],
            firsts=lengths[::packets] if one_run else first,
            one_run=one_run,
            ways=ways,
        )

    def _runs(self, lengths: Sequence[int]) -> tuple[int, ...]:
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

    def _transmit(self, way: _Way, sizes: Sequence[int], lost: Lost) -> None:
        """Hand the messages of a way, runs of `sizes` packets for each client, to the kernel."""
        runs, clients = len(sizes), way.clients
        done, messages = 0, len(way.headers)
        while done < messages:
            sent, error = self._call(way.fd, way.pointer + _MSGHDR.itemsize * done, messages - done)
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
                self._transmit_singly(way.fd, way.headers[done], client, size, lost)
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


def _without(way: _Way, places: set[int]) -> _Way:
    """The same for fewer clients."""
    kept = [index for index, place in enumerate(way.clients) if place not in places]
    headers = way.headers.reshape(len(way.clients), -1)[kept].ravel()
    return _Way(way.fd, headers, _address(headers), [way.clients[index] for index in kept])


def _lose(lost: Lost, reason: Drop, client: int, count: int = 1) -> None:
    lost.setdefault(reason, []).extend([client] * count)
