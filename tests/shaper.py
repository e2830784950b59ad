"""A TCP proxy that is a slow line: so many bits a second and so much delay each way, set while it runs.

Each direction is one link (`Link`) for all connections: what is read waits its turn, travels for ``delay_s``
and is written. A queue of ``QUEUE_S`` seconds stands before it, as in a router; when it is full the proxy
reads no more, and what the sender's kernel may hold is kept small, so that the sender feels it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from rtclab.engine import Engine

QUEUE_S = 0.2
SMALL_BUFFER = 8192  # bytes that the kernel may receive before they are read, on a slow line
BUFFER = 262144  # and on a fast one
SEGMENT = 1400  # bytes: a packet; the senders' kernels size their queues by it
UNSHAPED = 65536  # bytes read at once when there is no limit


class Link:
    """One direction. Without a rate it is as fast as the machine.

    Attributes
    ----------
    rate_bps : float or None
        Bits a second, of TCP payload.
    delay_s : float
        How long each byte travels.
    carried : int
        Bytes so far.
    """

    def __init__(self) -> None:
        self.rate_bps: float | None = None
        self.delay_s = 0.0
        self.carried = 0
        self._free = 0.0

    def send(self, size: int, now: float) -> float:
        """Put bytes on the link; when they arrive."""
        self.carried += size
        if self.rate_bps is None:
            return now + self.delay_s
        self._free = max(now, self._free) + 8 * size / self.rate_bps
        return self._free + self.delay_s

    def wait(self, now: float) -> float:
        """Seconds until the queue has room."""
        return max(0.0, self._free - now - QUEUE_S) if self.rate_bps is not None else 0.0


class Shaper:
    """The proxy. `connect` makes a connection to what lies behind it.

    Attributes
    ----------
    up, down : Link
        From and to whoever connects.
    port : int
        Where it listens, on this machine only.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.up, self.down = Link(), Link()
        self._connect = connect
        self._ends: set[socket.socket] = set()
        self._engine = Engine()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self.port: int = self._listener.getsockname()[1]
        self._listener.setblocking(False)
        self._accepting = self._engine.run(self._listen())

    def shape(self, rate_bps: float | None, delay_s: float = 0.0) -> None:
        """Set both directions; None takes the limit away."""
        self._engine.run(self._shape(rate_bps, delay_s))

    def close(self) -> None:
        """End it and every connection through it."""
        self._engine.run(self._stop())
        self._engine.stop()

    async def _listen(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._accept())

    async def _shape(self, rate_bps: float | None, delay_s: float) -> None:
        for link in (self.up, self.down):
            link.rate_bps, link.delay_s = rate_bps, delay_s
        for end in self._ends:
            self._size(end)

    def _size(self, end: socket.socket) -> None:
        size = BUFFER if self.down.rate_bps is None else SMALL_BUFFER
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    async def _stop(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self) -> None:
        connections: set[asyncio.Task[None]] = set()
        while True:
            outside, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            task = asyncio.create_task(self._join(outside))
            connections.add(task)
            task.add_done_callback(connections.discard)

    async def _join(self, outside: socket.socket) -> None:
        with outside:
            try:
                inside = await asyncio.get_running_loop().run_in_executor(None, self._connect)
            except OSError:
                return
            with inside:
                ends = {outside, inside}
                for end in ends:
                    end.setblocking(False)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._size(end)
                self._ends |= ends
                try:
                    await _together(_carry(outside, inside, self.up), _carry(inside, outside, self.down))
                finally:
                    self._ends -= ends


async def _carry(source: socket.socket, target: socket.socket, link: Link) -> None:
    """One direction of a connection, until its end has arrived."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def arrive() -> None:
        while True:
            due, data = await under_way.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not data:
                break
            await loop.sock_sendall(target, data)
        target.shutdown(socket.SHUT_WR)

    async def depart() -> None:
        while data := await loop.sock_recv(source, SEGMENT if link.rate_bps is not None else UNSHAPED):
            await under_way.put((link.send(len(data), loop.time()), data))
            await asyncio.sleep(link.wait(loop.time()))
        await under_way.put((loop.time() + link.delay_s, b""))

    await _together(arrive(), depart())


async def _together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run them until all are through, or one has lost its socket: then the others are not needed."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
            raise outcome
