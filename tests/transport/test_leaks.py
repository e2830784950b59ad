"""After many clients have come and gone, nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import weakref

import pytest

from rtclab.transport.transport import Transport
from stock_client import Stranger, connected, open_port, rtp, until

CLIENTS = 200
AT_ONCE = 8


def open_files() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def test_two_hundred_clients_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    remains: list[weakref.ref[Transport]] = []

    async def visit(port: object, index: int) -> None:
        transport, stranger, got, _ = await connected(port)  # type: ignore[arg-type]
        remains.append(weakref.ref(transport))
        await stranger.send(rtp(index))
        await until(lambda: got)
        if index % 2:  # either side leaves first
            await stranger.close()
            await until(lambda: transport.state == "closed")
        else:
            transport.close()
            await stranger.close()

    async def main() -> None:
        files, threads = open_files(), threading.active_count()
        port = open_port()
        held = open_files()
        for first in range(0, CLIENTS, AT_ONCE):
            await asyncio.gather(*(visit(port, index) for index in range(first, first + AT_ONCE)))
        await until(lambda: len(asyncio.all_tasks()) == 1, "the end of all tasks")
        assert open_files() <= held  # of earlier tests some may be given up meanwhile
        assert threading.active_count() <= threads
        assert len(port.paths) == 0
        assert len(port.paths.fd) <= 2 * AT_ONCE
        assert not port._by_ufrag
        assert not port._claims
        assert not any(local.clients for local in port._locals)
        port.close()
        assert open_files() <= files

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
        gc.collect()
    assert not caplog.records
    assert len(remains) == CLIENTS
    assert [transport() for transport in remains if transport() is not None] == []


def test_a_closed_transport_needs_no_garbage_collector() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        remains = weakref.ref(transport), weakref.ref(transport._dtls), weakref.ref(transport._dtls._stock)
        gc.collect()
        gc.disable()
        try:
            transport.close()
            del transport
            await until(lambda: not any(remain() for remain in remains), "the transport to be freed")
        finally:
            gc.enable()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_closing_the_port_closes_its_clients(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60.0  # a busy machine is no finding
        port = open_port()
        pairs = [await connected(port) for _ in range(3)]
        waiting = port.new_transport()
        stranger = Stranger()
        await stranger.gather()
        waiting.connect(stranger.parameters)
        port.close()
        for transport, client, _, _ in pairs:
            assert transport.state == "closed"
            await until(lambda client=client: client.dtls.state == "closed", "close_notify")  # type: ignore[misc]
            await client.close()
        assert waiting.state == "closed"
        await stranger.close()
        await until(lambda: len(asyncio.all_tasks()) == 1, "the end of all tasks")
        assert len(port.paths) == 0

    with caplog.at_level(logging.WARNING):
        asyncio.run(main(), debug=True)
    assert not caplog.records
