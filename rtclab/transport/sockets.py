"""The port's sockets: bound to one number on every address, and written to without giving up the GIL."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import sys
from collections.abc import Callable, Sequence

from .addresses import family_of, host_addresses, name_length
from .receive import stamp_arrivals

BUFFER_SIZE = 4 << 20  # bytes asked of the kernel for each direction of each socket
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
            sock = stack.enter_context(socket.socket(family_of(host), socket.SOCK_DGRAM))
            sock.setblocking(False)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
            stamp_arrivals(sock)
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
