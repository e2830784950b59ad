"""The transport for a kernel behind a NAT: full ICE instead of ICE-lite on one port.

Each client has an agent of its own (`rtclab.transport.agent`) with sockets on all addresses of this machine,
what a STUN server saw of them, and relays of TURN servers. The client's offer decides the same things as with
ICE-lite, but before the answer there is something to wait for, so `prepare` comes before `connect` and
`restart`. A restart is another agent; the former one carries media until the new one has a pair.

What the fan-out writes for this transport's row is handed over packet by packet (`PathTable.open_tunnel`),
protected here and sent on the nominated pair: slower than the room's port, which sends in batches.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import Closed
from ..rtp.drops import Drop, Drops
from ..rtp.packet import is_rtcp
from . import srtp
from .agent import MAX_REMOTE, Agent
from .batch import STRIDE
from .ice import Credentials
from .port import TICK, UdpPort
from .secure import RemoteParameters, SecureTransport
from .servers import Policy, Server

logger = logging.getLogger(__name__)

MAX_DATAGRAM = 2048  # bytes
CLOSE_S = 3.0


class FullIce:
    """Makes the transports of a room that uses full ICE.

    Parameters
    ----------
    port : UdpPort
        The room's; it lends its certificate, its path table and its addresses.
    """

    def __init__(self, port: UdpPort) -> None:
        self.port = port
        self.protect = srtp.Protector(srtp.load().protect, STRIDE).protect
        self.buffer = ctypes.create_string_buffer(MAX_DATAGRAM)
        self.view = memoryview(self.buffer).cast("B")
        self.pointer = ctypes.addressof(self.buffer)
        self._due = False
        self._ending: set[asyncio.Task[None]] = set()

    def new_transport(self) -> FullTransport:
        """A transport for one more client; `prepare` it, then `connect`."""
        return FullTransport(self)

    def came(self) -> None:
        """A packet was taken in: what it leads to may leave together with that of the next ones."""
        if not self._due:
            self._due = True
            self.port.loop.call_soon(self._drained)

    def _drained(self) -> None:
        self._due = False
        self.port.drained()

    def end(self, agent: Agent) -> None:
        """Close an agent in its own time."""
        task = asyncio.ensure_future(agent.close())
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("an ICE agent did not end well", exc_info=task.exception())

    async def finished(self) -> None:
        """Wait until what was closed has given its relays back; not for long."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_S)


class FullTransport(SecureTransport):
    """One client by full ICE; made by `FullIce.new_transport`.

    Attributes
    ----------
    agent : Agent
        The ICE session in use.
    """

    lite = False
    _ice: Agent

    def __init__(self, hall: FullIce) -> None:
        self._hall = hall
        self._next: Agent | None = None
        self._early: deque[tuple[str | None, str]] = deque(
            maxlen=MAX_REMOTE
        )  # of an offer not prepared for yet
        self._tasks: set[asyncio.Task[None]] = set()
        port, drops = hall.port, Drops()
        row = port.paths.open_tunnel(self._deliver)
        first = Agent((), (), "all", self._take, drops)  # has nothing and is replaced
        super().__init__(port.certificate, port.protector, first, row, drops)
        self._timer = port.loop.call_later(TICK, self._on_tick)

    @property
    def agent(self) -> Agent:
        """The ICE session that the next answer speaks of."""
        return self._next or self._ice

    @property
    def ufrag(self) -> str:
        """This side's ICE ufrag."""
        return self.agent.local.ufrag

    @property
    def pwd(self) -> str:
        """This side's ICE password."""
        return self.agent.local.pwd

    @property
    def selected(self) -> tuple[str, int] | None:
        """Host and port of the client, once known."""
        pair = self._ice.pair
        return pair.remote_addr if pair is not None else None

    @property
    def way(self) -> tuple[str, str] | None:
        """Types of the nominated pair's candidates, this side's first: ``("relay", "host")``."""
        pair = self._ice.pair
        return (pair.local_candidate.type, pair.remote_candidate.type) if pair is not None else None

    def candidates(self) -> list[str]:
        """This side's candidates, as they stand after ``a=`` in SDP."""
        return self.agent.lines()

    async def prepare(
        self, remote: RemoteParameters, servers: Sequence[Sequence[Server]] = (), policy: Policy = "all"
    ) -> None:
        """Gather candidates for the client that made the offer, before `connect` or `restart`.

        Raises
        ------
        rtclab.errors.IceServerError
            There is no way to the client.
        rtclab.errors.Closed
            The transport was closed meanwhile.
        """
        former, agent = self._next, Agent(self._hall.port.addresses, servers, policy, self._take, self.drops)
        if former is not None:
            self._hall.end(former)
        self._next = agent
        early = [line for ufrag, line in self._early if ufrag == remote.ufrag]
        agent.expect(Credentials(remote.ufrag, remote.pwd), [*remote.candidates, *early], self._now())
        self._early.clear()
        try:
            await agent.gather()
        except BaseException:
            if self._next is agent:
                self._next = None
            self._hall.end(agent)
            raise
        if self._next is not agent:
            raise Closed("the client has gone or has made another offer meanwhile")

    def prepared(self, ufrag: str) -> bool:
        """Whether `prepare` was called for the offer with this ufrag, or it is in use."""
        return ufrag in ((self._next.remote_username if self._next else None), self._ice.remote_username)

    def add_candidate(self, line: str) -> None:
        """Learn a candidate that came after its offer."""
        if self.state != "closed" and line:
            words = line.split()
            ufrag = words[words.index("ufrag") + 1] if "ufrag" in words[:-1] else None
            agents = [agent for agent in (self._next, self._ice) if agent is not None]
            for agent in agents:
                if ufrag in (None, agent.remote_username):
                    agent.add(line)
                    return
            self._early.append((ufrag, line))

    # what differs from other transports

    def _now(self) -> float:
        return self._hall.port.time()

    def _begin(self, remote: RemoteParameters) -> None:
        self._start(remote)

    def _begin_anew(self, remote: RemoteParameters) -> None:
        self._ice.last_check = self._now()  # it has until the new one has found a way
        self._start(remote)

    def _start(self, remote: RemoteParameters) -> None:
        agent = self._next
        if agent is None or agent.remote_username != remote.ufrag:
            raise Closed("full ICE has to be prepared before it is connected")
        task = asyncio.ensure_future(self._check(agent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, agent: Agent) -> None:
        try:
            # as long as that takes: after a restart a client may go on by the old pair while that works
            await agent.connect()
        except ConnectionError:  # closed, or no pair works: the clock says so in time
            return
        if self.state == "closed" or self._next is not agent:
            return
        former, self._ice, self._next = self._ice, agent, None
        self._hall.end(former)
        self.times.setdefault("ICE nominated", self._now())
        self.start_dtls()

    def _take(self, datagram: bytes) -> None:
        if self.state == "closed":
            return
        if datagram[0] < 64:
            self.receive_dtls(datagram)
            return
        hall, length = self._hall, len(datagram)
        if length > MAX_DATAGRAM:
            self.drops.add(Drop.TOO_LONG)
            return
        hall.view[:length] = datagram
        now = self._now()
        size = self.unprotect(hall.view, hall.pointer, length, now)
        if size:
            self.hand_on(hall.view, size, now)
            hall.came()

    def _deliver(self, packets: list[bytes]) -> None:
        """Send what the fan-out has written for this client."""
        for packet in packets:
            if is_rtcp(packet[1]):
                self.send_rtcp(packet)
                continue
            protected = self._hall.protect(self._send_context, packet) if self._send_context else None
            if protected is None:
                self.drops.add(Drop.SEND_ERROR if self._send_context else Drop.NOT_CONNECTED)
            else:
                self._send(protected)

    def _transmit(self, datagram: bytes) -> None:
        reason = self._ice.send_now(datagram)
        if reason is not None:
            self.drops.add(reason)

    def _media_changed(self) -> None:
        return None

    def _on_tick(self) -> None:
        self._timer = self._hall.port.loop.call_later(TICK, self._on_tick)
        self.tick(self._now())

    def _give_up(self, keep: object) -> None:
        self._timer.cancel()
        for agent in (self._ice, self._next):
            if agent is not None:
                self._hall.end(agent)
        self._next = None
        self._hall.port.loop.call_soon(self._release, keep)

    def _release(self, keep: Any) -> None:
        self._hall.port.paths.close_tunnel(self.row)
