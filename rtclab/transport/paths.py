"""Where each client is reached, as columns: one row for each transport.

The fan-out writes one packet to many viewers at once, so what it needs of a transport lies in arrays: the
socket address, the socket, and the libsrtp context that protects what is sent. A `Transport` keeps its row up
to date. The arrays are replaced when the table grows: read them from the table each time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .addresses import NAME_SIZE, name_length, unpack_name

_FIRST_ROWS = 16

Deliver = Callable[[list[bytes]], object]


class PathTable:
    """Columns indexed by `Transport.row`.

    Attributes
    ----------
    name : numpy.ndarray
        ``(rows, 28)`` uint8, the client's address as the bytes of a `sockaddr`.
    name_pointer : int
        Address of the first byte of `name`.
    name_length : numpy.ndarray
        uint32, how many of those bytes count: 16 (IPv4) or 28 (IPv6).
    fd : numpy.ndarray
        int32, the socket that reaches the client; -1 while no address is known.
    srtp : numpy.ndarray
        uint64, pointer to the libsrtp context that protects sent packets; 0 while not connected. It stays
        valid until the current callback of the event loop has ended, even when the transport is closed in
        between.
    sockets : dict of int to socket.socket
        The port's sockets by file descriptor.
    tunnels : dict of int to callable
        Rows that no socket reaches: what takes their packets, unprotected.
    version : int
        Another number whenever an address, a socket, a context, a tunnel or `name_pointer` has changed.
    """

    def __init__(self) -> None:
        self.name: npt.NDArray[np.uint8] = np.zeros((_FIRST_ROWS, NAME_SIZE), np.uint8)
        self.name_length: npt.NDArray[np.uint32] = np.zeros(_FIRST_ROWS, np.uint32)
        self.fd: npt.NDArray[np.int32] = np.full(_FIRST_ROWS, -1, np.int32)
        self.srtp: npt.NDArray[np.uint64] = np.zeros(_FIRST_ROWS, np.uint64)
        self.sockets: dict[int, socket.socket] = {}
        self.tunnels: dict[int, Deliver] = {}
        self.name_pointer = self._name_pointer()
        self.version = 0
        self._free = list(range(_FIRST_ROWS - 1, -1, -1))
        self._used: set[int] = set()

    def __len__(self) -> int:
        """How many rows are in use."""
        return len(self._used)

    def allocate(self) -> int:
        """Take a row, cleared; the table doubles when none is left."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._used.add(row)
        return row

    def free(self, row: int) -> None:
        """Clear a row and give it back.

        Raises
        ------
        ValueError
            The row is not in use.
        """
        if row not in self._used:
            raise ValueError(f"row {row} is not in use")
        self._used.remove(row)
        self.clear_address(row)
        self.set_context(row, 0)
        self._free.append(row)

    def open_tunnel(self, deliver: Deliver) -> int:
        """Take a row whose packets are handed to `deliver`."""
        row = self.allocate()
        self.tunnels[row] = deliver
        self.version += 1
        return row

    def close_tunnel(self, row: int) -> None:
        """Give the row of a tunnel back."""
        del self.tunnels[row]
        self.free(row)

    def set_address(self, row: int, name: bytes, sender: socket.socket) -> None:
        """Point a row at the 28-byte address `name`, reached through the socket `sender`."""
        self.name[row] = np.frombuffer(name, np.uint8)
        self.name_length[row] = name_length(sender.family)
        self.fd[row] = sender.fileno()
        self.version += 1

    def set_context(self, row: int, pointer: int) -> None:
        """Protect what is sent to a row with the libsrtp context at `pointer`; 0 for nothing to be sent."""
        self.srtp[row] = pointer
        self.version += 1

    def clear_address(self, row: int) -> None:
        """Forget where a row is reached."""
        self.name[row] = 0
        self.name_length[row] = 0
        self.fd[row] = -1
        self.version += 1

    def address(self, row: int) -> tuple[str, int]:
        """Host and port of a row that has an address."""
        return unpack_name(self.name[row].tobytes())

    def _name_pointer(self) -> int:
        return int(self.name.__array_interface__["data"][0])

    def _grow(self) -> None:
        rows = len(self.fd)
        self.name = np.concatenate([self.name, np.zeros_like(self.name)])
        self.name_length = np.concatenate([self.name_length, np.zeros_like(self.name_length)])
        self.fd = np.concatenate([self.fd, np.full(rows, -1, np.int32)])
        self.srtp = np.concatenate([self.srtp, np.zeros_like(self.srtp)])
        self.name_pointer = self._name_pointer()
        self.version += 1
        self._free.extend(range(2 * rows - 1, rows - 1, -1))
