"""A network namespace: TCP goes in by its sockets, datagrams only while the cable is plugged in."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from namespaces import Namespace

ECHO = """
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 7))
tcp = socket.create_server(("127.0.0.1", 7))

def answer():
    while True:
        data, where = udp.recvfrom(2000)
        udp.sendto(data, where)

threading.Thread(target=answer, daemon=True).start()
print("ready", flush=True)
while True:
    end, _ = tcp.accept()
    end.sendall(end.recv(2000))
    end.close()
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Namespace(f"rtclab-test-{os.getpid()}") as namespace:
        echo = subprocess.Popen(
            namespace.command(sys.executable, "-c", ECHO), stdout=subprocess.PIPE, text=True
        )
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"
        yield namespace
        namespace.kill()
        assert echo.wait(10) == -signal.SIGKILL


def test_datagrams_pass_while_the_cable_is_plugged_in(namespace: Namespace) -> None:
    def answered(timeout: float) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.settimeout(timeout)
            end.sendto(b"hello", (namespace.address, 7))
            try:
                return end.recv(100) == b"hello"
            except TimeoutError:
                return False

    assert not answered(0.3)
    namespace.plug(True)
    assert any(answered(0.5) for _ in range(20))
    namespace.plug(False)
    assert not answered(0.3)


def test_tcp_goes_in_by_a_socket_of_the_namespace_only(namespace: Namespace) -> None:
    with namespace.connect(7) as end:
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection(("127.0.0.1", 7), 1).close()


def test_who_is_not_there_is_refused(namespace: Namespace) -> None:
    with pytest.raises(ConnectionRefusedError):
        namespace.connect(8)
