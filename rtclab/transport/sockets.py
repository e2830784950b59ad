"""The port's sockets: bound to one number on every address, and written to without giving up the GIL.

A room's viewers send more reports (RTCP SR, RR, SDES, XR) than anything urgent. On Linux the kernel leads
them to a socket of their own, which is read when there is time: no report wakes the process up.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Sequence

from .addresses import family_of, host_addresses, name_length
from .receive import stamp_arrivals

BUFFER_SIZE = 4 << 20  # bytes asked of the kernel for each direction of each socket
PROBE_S = 0.2  # on loopback a datagram is there at once
SO_ATTACH_REUSEPORT_CBPF = 51
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # Linux; the socket module has no names for them
_INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
_PICK_REPORTS = (  # index 1, the socket bound last, for reports; index 0 for all else
    (0x30, 0, 0, 1),  # load byte 1; of a shorter datagram the answer is 0
    (0x15, 2, 0, 207),  # XR: answer 1
    (0x35, 0, 2, 200),  # less than SR: answer 0
    (0x25, 1, 0, 202),  # more than SDES: answer 0
    (0x06, 0, 0, 1),
    (0x06, 0, 0, 0),
)
_ANY = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}


def bind(port: int, addresses: Sequence[str], skip_absent: bool) -> list[socket.socket]:
    """A socket for each address, all on one port; a family with a foreign address is bound as a whole.

    With `skip_absent` an address that cannot be bound just now is left out.
    """
    here = set(host_addresses())
    whole = {family_of(host) for host in addresses if not skip_absent and host not in here}
    wanted = [host for host in addresses if family_of(host) not in whole] + [_ANY[family] for family in whole]
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for host in wanted:
            sock = stack.enter_context(_new_socket(family_of(host)))
            try:
                sock.bind((host, port))
            except OSError as error:
                if skip_absent and error.errno == errno.EADDRNOTAVAIL:
                    sock.close()  # an interface that is down
                    continue
                raise
            port = sock.getsockname()[1]
            sockets.append(sock)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no address to bind")
        stack.pop_all()
    return sockets


def _new_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    enlarge_buffers(sock)
    stamp_arrivals(sock)
    return sock


def enlarge_buffers(sock: socket.socket) -> int:
    """Ask for `BUFFER_SIZE` bytes in each direction; returns how many there are for what is sent.

    A picture leaves for all viewers at once, and what has no room is lost. Linux gives no more than
    ``net.core.wmem_max`` unless the process may administer the network.
    """
    for option, forced in ((socket.SO_RCVBUF, SO_RCVBUFFORCE), (socket.SO_SNDBUF, SO_SNDBUFFORCE)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_SIZE)
        except OSError:  # not allowed, or not Linux
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return size // 2 if sys.platform == "linux" else size  # Linux doubles it for its own bookkeeping


def split_reports(sock: socket.socket) -> socket.socket | None:
    """A second socket at the address of a bound one, which gets the reports from now on.

    Both form a group (``SO_REUSEPORT``), and a filter program picks the socket for each datagram by its
    second byte, the RTCP packet type (RFC 5761). The first was bound without that option, so a port that is
    taken was refused; another program of the same user may join the group later, but is never picked.

    Returns
    -------
    socket.socket or None
        None where the platform cannot do it, or does not do it as it says; all comes to `sock` then.
    """
    if sys.platform != "linux":
        return None
    reports = _new_socket(sock.family)
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*step) for step in _PICK_REPORTS))
    program = struct.pack("HP", len(_PICK_REPORTS), ctypes.addressof(code))
    try:
        for one in (sock, reports):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reports.bind(sock.getsockname())
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
        split = _is_split(sock, reports)
    except OSError:
        split = False
    if split:
        return reports
    reports.close()
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        while sock.recv(64):  # the probes
            pass
    return None


def _is_split(sock: socket.socket, reports: socket.socket) -> bool:
    """Whether a report and another datagram from one source land where they should.

    A kernel that ignored the program would spread sources over the sockets of a group.
    """
    host, port = sock.getsockname()[:2]
    if host in _ANY.values():
        host = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
    mark = os.urandom(8)
    with socket.socket(sock.family, socket.SOCK_DGRAM) as probe:
        for second in (201, 96):
            probe.sendto(bytes([0x80, second]) + mark, (host, port))
    return _second_byte(reports, mark) == 201 and _second_byte(sock, mark) == 96


def _second_byte(sock: socket.socket, mark: bytes) -> int | None:
    while select.select([sock], [], [], PROBE_S)[0]:
        datagram = sock.recv(64)
        if datagram[2:] == mark:
            return datagram[1]
    return None


def native_sendto() -> Callable[[socket.socket, bytes, bytes], int] | None:
    """``sendto`` of the C library on Linux, which unlike the socket module keeps the GIL; returns errno."""
    if sys.platform != "linux":
        return None
    sendto = ctypes.PyDLL(None, use_errno=True).sendto
    sendto.restype = ctypes.c_ssize_t
    sendto.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )

    def send(sock: socket.socket, name: bytes, datagram: bytes) -> int:
        size = name_length(sock.family)
        if sendto(sock.fileno(), datagram, len(datagram), socket.MSG_DONTWAIT, name, size) < 0:
            return ctypes.get_errno()
        return 0

    return send
