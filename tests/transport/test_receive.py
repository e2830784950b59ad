"""Receivers: both kinds report the same datagrams, sources and lengths."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator

import pytest

from rtclab.transport.addresses import pack_name
from rtclab.transport.receive import SLOT_SIZE, SLOTS, BatchReceiver, PlainReceiver, Receiver


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket to receive by and one connected to it."""
    with (
        socket.socket(request.param, socket.SOCK_DGRAM) as receiver,
        socket.socket(request.param, socket.SOCK_DGRAM) as sender,
    ):
        for sock in (receiver, sender):
            sock.bind(("127.0.0.1" if request.param == socket.AF_INET else "::1", 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname())
        yield receiver, sender


@pytest.mark.parametrize("kind", [BatchReceiver, PlainReceiver])
def test_datagrams_arrive_in_order_with_their_source(
    kind: type[BatchReceiver] | type[PlainReceiver], pair: tuple[socket.socket, socket.socket]
) -> None:
    receiver, sender = pair
    slots: Receiver = kind()
    datagrams = [bytes([number]) * (number * 7) for number in range(SLOTS + 6)]
    for datagram in datagrams:
        sender.send(datagram)
    got: list[bytes] = []
    for expected in (SLOTS, 6, 0):
        count = slots.read(receiver)
        assert count == expected
        for slot in range(count):
            length = slots.lengths[slot]
            got.append(bytes(slots.views[slot][:length]))
            assert ctypes.string_at(slots.pointers[slot], length) == got[-1]
            assert slots.names[slot] == pack_name(*sender.getsockname()[:2])
    assert got == datagrams


@pytest.mark.parametrize("kind", [BatchReceiver, PlainReceiver])
def test_a_cut_datagram_shows_in_its_length(
    kind: type[BatchReceiver] | type[PlainReceiver], pair: tuple[socket.socket, socket.socket]
) -> None:
    receiver, sender = pair
    slots: Receiver = kind()
    for size in (SLOT_SIZE - 1, SLOT_SIZE + 1, 60000):
        sender.send(bytes(size))
    assert slots.read(receiver) == 3
    assert [length >= SLOT_SIZE for length in slots.lengths] == [False, True, True]
