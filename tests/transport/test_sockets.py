"""How much may wait in a socket's buffers, with and without leave to administer the network."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from rtclab.transport.sockets import BUFFER_SIZE, SO_RCVBUFFORCE, SO_SNDBUFFORCE, enlarge_buffers


class Unprivileged(socket.socket):
    """A socket whose owner may not exceed the system's limits."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]
        if level == socket.SOL_SOCKET and option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            raise PermissionError
        super().setsockopt(level, option, value)


def test_what_there_is_to_be_had_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert before // 2 <= enlarge_buffers(sock) <= BUFFER_SIZE


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_without_leave_the_systems_limit_holds() -> None:
    with open("/proc/sys/net/core/wmem_max") as file:
        limit = int(file.read())
    with Unprivileged(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert enlarge_buffers(sock) == min(limit, BUFFER_SIZE)
