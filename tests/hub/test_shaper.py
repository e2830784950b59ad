"""The shaping proxy: it carries everything, no faster than it was told, and late by what it was told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from shaper import QUEUE_S, Link, Shaper


def echo(listener: socket.socket) -> None:
    """Send everything back, on one connection at a time."""
    while True:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        with end:
            while data := end.recv(65536):
                end.sendall(data)


@pytest.fixture
def shaper() -> Iterator[Shaper]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        shaper = Shaper(lambda: socket.create_connection(listener.getsockname(), 10))
        yield shaper
        shaper.close()
        listener.shutdown(socket.SHUT_RDWR)


def test_a_link_has_a_rate_a_delay_and_a_queue() -> None:
    link = Link()
    assert link.send(1000, 5.0) == 5.0
    link.rate_bps, link.delay_s = 8000, 0.1
    assert link.send(1000, 5.0) == pytest.approx(6.1)
    assert link.send(500, 5.2) == pytest.approx(6.6)
    assert link.wait(5.2) == pytest.approx(6.5 - 5.2 - QUEUE_S)
    assert link.wait(7.0) == 0
    assert link.send(500, 8.0) == pytest.approx(8.6)  # it has been idle
    assert link.carried == 3000


def test_what_goes_in_comes_out(shaper: Shaper) -> None:
    data = bytes(range(256)) * 4000
    with socket.create_connection(("127.0.0.1", shaper.port), 10) as end:

        def send() -> None:
            end.sendall(data)
            end.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = b"".join(iter(lambda: end.recv(65536), b""))
        sender.join()
    assert got == data
    assert shaper.up.carried == shaper.down.carried == len(data)


def test_it_is_as_slow_as_it_was_told(shaper: Shaper) -> None:
    with socket.create_connection(("127.0.0.1", shaper.port), 10) as end:
        shaper.shape(400_000, 0.05)
        begin = time.monotonic()
        end.sendall(bytes(10_000))
        got = 0
        while got < 10_000:
            got += len(end.recv(65536))
        assert time.monotonic() - begin >= 0.2 + 2 * 0.05  # 80 kbit one way at least, and two delays
        shaper.shape(None)
        end.sendall(b"quick")
        assert end.recv(100) == b"quick"


def test_a_full_link_holds_its_sender_back(shaper: Shaper) -> None:
    shaper.shape(100_000)
    with socket.create_connection(("127.0.0.1", shaper.port), 10) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        end.settimeout(0.5)
        with pytest.raises(TimeoutError):
            end.sendall(bytes(200_000))


def test_who_cannot_be_reached_closes_the_connection() -> None:
    def refuse() -> socket.socket:
        raise ConnectionRefusedError

    shaper = Shaper(refuse)
    with socket.create_connection(("127.0.0.1", shaper.port), 10) as end:
        assert end.recv(1) == b""
    shaper.close()
