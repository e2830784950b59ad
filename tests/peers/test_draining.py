"""Sockets are read until they are empty, in one turn of the loop."""

from __future__ import annotations

import asyncio
import socket

from rtclab.peers.draining import MOST, drain_sockets


class Counter(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.turns: list[int] = []
        self.fresh = True
        self.closed = False

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.fresh:
            self.fresh = False
            self.turns.append(0)
            asyncio.get_running_loop().call_soon(self.turn)
        self.turns[-1] += 1

    def turn(self) -> None:
        self.fresh = True

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


async def datagrams_by_turn(count: int) -> list[int]:
    """How many of `count` waiting datagrams each turn brings."""
    transport, counter = await asyncio.get_running_loop().create_datagram_endpoint(
        Counter, local_addr=("127.0.0.1", 0)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"x", transport.get_extra_info("sockname"))
    while sum(counter.turns) < count:  # noqa: ASYNC110 - turns of the loop are what is counted
        await asyncio.sleep(0)
    transport.close()
    while not counter.closed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return counter.turns


async def drained(count: int) -> list[int]:
    drain_sockets(asyncio.get_running_loop())
    return await asyncio.wait_for(datagrams_by_turn(count), 10)


def test_many_in_one_turn() -> None:
    assert asyncio.run(drained(MOST)) == [MOST]


def test_others_have_their_turn() -> None:
    assert asyncio.run(drained(2 * MOST + 5)) == [MOST, MOST, 5]


def test_other_loops_stay_as_they_are() -> None:
    assert asyncio.run(asyncio.wait_for(datagrams_by_turn(5), 10)) == [1] * 5
