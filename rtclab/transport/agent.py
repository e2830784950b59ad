"""The seam into aioice: a full ICE agent (RFC 8445), with candidates and a check of received data of our own.

aioice pairs, checks and nominates. What it does otherwise is not what a room needs: it leaves the loopback
interface out, waits five seconds for a STUN server that one of many interfaces cannot reach, allocates one
relay at most and hides why it got none, and queues what anybody sends. Here candidates come from `gather`,
and what is no STUN goes to its owner at once if an authentic check has come from its source.

A relay is allocated from each group of servers that share credentials: its URLs are tried in order, the next
one when the former has failed or has not answered within `NEXT_URL_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import aioice
from aioice import ice as stock
from aioice import stun, turn
from aioice.candidate import Candidate, candidate_foundation, candidate_priority

from ..errors import IceServerError
from ..rtp.drops import Drop, Drops
from .dtls import MIN_RECORD
from .ice import DISCONNECTED_AFTER, EXPIRED_AFTER, Credentials, new_credentials
from .servers import Policy, Server
from .turn import GATHER_S, allocated, problem

logger = logging.getLogger(__name__)

NEXT_URL_S = 1.0
GRACE_S = 0.3  # for the other interfaces, once one has had an answer of the STUN server
MAX_REMOTE = 64  # candidates of a client
MAX_UNSENT = 1 << 18  # bytes that wait in the socket of a path
_LOCAL_PREFERENCE = 65535
_INNER = "_TurnTransport__inner_protocol"

Receive = Callable[[bytes], None]


class _Protocol(stock.StunProtocol):
    """A socket or a relay of an agent: STUN to aioice, all else to the owner."""

    receiver: Agent
    inner: turn.TurnClientProtocol | None = None  # of a relay: its connection with the server

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        if data and data[0] < 4:
            with contextlib.suppress(ValueError, struct.error, IndexError, KeyError, AssertionError):
                super().datagram_received(data, addr)
                return
            self.receiver.drops.add(Drop.BAD_STUN)
        else:
            self.receiver.take(data, (addr[0], addr[1]))

    @property
    def unsent(self) -> int:
        """Bytes that wait for the socket."""
        transport: Any = self.inner.transport if self.inner is not None else self.transport
        return int(transport.get_write_buffer_size())


class Agent(aioice.Connection):
    """One generation of a client's ICE, always controlled: the client has made the offer.

    Parameters
    ----------
    addresses : sequence of str
        Of this host, to gather from.
    servers : sequence of sequence of Server
        STUN and TURN servers, those with common credentials together.
    policy : {"all", "relay"}
        Whether only relays may be used.
    receive : callable
        Called with each datagram that is no STUN, from a source that has proved to know the password.
    drops : Drops
        Where what is refused is counted.

    Attributes
    ----------
    problems : list of str
        A sentence for each server that gave nothing.
    last_check, last_packet : float
        Loop times of the last authentic check and, set by the owner, of the last authentic packet.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        servers: Sequence[Sequence[Server]],
        policy: Policy,
        receive: Receive,
        drops: Drops,
    ) -> None:
        self.local: Credentials = new_credentials()
        super().__init__(
            ice_controlling=False,
            local_username=self.local.ufrag,
            local_password=self.local.pwd,
            transport_policy=stock.TransportPolicy[policy.upper()],
        )
        self.drops = drops
        self.problems: list[str] = []
        self.last_check = self.last_packet = 0.0
        self._addresses = addresses
        self._servers = servers
        self._only_relays = policy == "relay"
        self._receive = receive
        self._sources: set[tuple[str, int]] = set()
        self._adding: set[asyncio.Task[None]] = set()
        self._known = 0
        self._asked: dict[stock.CandidatePair, stun.Message] = {}  # the last check on each pair

    # what it offers

    async def gather(self) -> None:
        """Open sockets and allocate relays; then `lines` has the candidates.

        Raises
        ------
        rtclab.errors.IceServerError
            There is no candidate at all.
        """
        await self.gather_candidates()
        if not self._local_candidates:
            reasons = "; ".join(self.problems) or "no address of this machine can be used"
            raise IceServerError(
                f"the room has no way to its clients: {reasons}. Look at its ice_servers and its "
                "ice_transport_policy"
            )
        for sentence in self.problems:
            logger.warning("%s", sentence)

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = int(GATHER_S)
    ) -> list[Candidate]:
        """What `gather_candidates` asks for."""
        hosts = [] if self._only_relays else await self._open_hosts()
        jobs = [self._reflexive(hosts), *(self._relay(group) for group in self._servers)]
        found = [protocol.local_candidate for protocol in hosts]
        for candidates in await asyncio.gather(*jobs):
            found += candidates
        return found

    async def _open_hosts(self) -> list[_Protocol]:
        """A socket and a host candidate on each address, best first."""
        loop = asyncio.get_running_loop()
        opened: list[_Protocol] = []
        for address in self._addresses:
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: _Protocol(self), local_addr=(address, 0)
                )
            except OSError as error:
                logger.debug("no socket on %s: %s", address, error)
                continue
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            host, port = transport.get_extra_info("sockname")[:2]
            priority = candidate_priority(1, "host", _LOCAL_PREFERENCE - len(opened))
            foundation = candidate_foundation("host", "udp", host)
            protocol.local_candidate = Candidate(foundation, 1, "udp", priority, host, port, "host")
            opened.append(protocol)
        self._protocols += opened
        return opened

    async def _reflexive(self, hosts: Sequence[_Protocol]) -> list[Candidate]:
        """How the first STUN server sees the sockets, where that is not their own address."""
        server = next((one for group in self._servers for one in group if one.scheme == "stun"), None)
        if server is None or not hosts:
            return []
        try:
            address = await _resolve(server)
        except OSError as error:
            self.problems.append(problem(server.url, error))
            return []
        answers = await _ask([host for host in hosts if _reaches(host, address[0])], address)
        if not answers:
            self.problems.append(f"{server.url} does not say how it sees this machine: no answer")
        found = []
        for host, mapped in answers:
            base = host.local_candidate
            if mapped != (base.host, base.port):
                foundation = candidate_foundation("srflx", "udp", base.host)
                priority = candidate_priority(1, "srflx")
                found.append(
                    Candidate(foundation, 1, "udp", priority, *mapped, "srflx", base.host, base.port)
                )
        return found

    async def _relay(self, group: Sequence[Server]) -> list[Candidate]:
        """A relay from the first of some URLs that gives one."""
        servers = [server for server in group if server.relays]
        if not servers:
            return []
        deadline = asyncio.get_running_loop().time() + GATHER_S
        waiting: dict[asyncio.Task[_Protocol], Server] = {}
        errors: dict[Server, BaseException | None] = dict.fromkeys(servers)
        upcoming = iter(servers)
        try:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                server = next(upcoming, None)
                if server is not None:
                    waiting[asyncio.create_task(self._allocate(server))] = server
                if not waiting:
                    break
                done, _ = await asyncio.wait(
                    waiting,
                    timeout=left if server is None else min(NEXT_URL_S, left),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    server = waiting.pop(task)
                    if task.exception() is None:
                        self._protocols.append(task.result())
                        return [task.result().local_candidate]
                    errors[server] = task.exception()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self.problems += [problem(server.url, error) for server, error in errors.items()]
        return []

    async def _allocate(self, server: Server) -> _Protocol:
        _, made = await allocated(
            lambda: stock.relayed_candidate(
                component=1,
                hide_related_address=self._only_relays,
                protocol_factory=lambda: _Protocol(self),
                turn_server=(server.host, server.port),
                turn_username=server.username,
                turn_password=server.credential,
                turn_ssl=server.scheme == "turns",
                turn_transport=server.transport,
            )
        )
        assert isinstance(made, _Protocol)
        made.inner = getattr(made.transport, _INNER)
        return made

    def lines(self) -> list[str]:
        """The candidates, best first, as they stand after ``a=`` in SDP."""
        ranked = sorted(self._local_candidates, key=lambda candidate: -candidate.priority)
        return [f"candidate:{candidate.to_sdp()}" for candidate in ranked]

    # what the client says

    def expect(self, credentials: Credentials, candidates: Iterable[str], now: float) -> None:
        """Learn who will check."""
        self.remote_username, self.remote_password = credentials
        self.last_check = now
        for line in candidates:
            self.add(line)

    def add(self, line: str) -> None:
        """Learn a candidate of the client's, in its own time: a name on the local network is looked up."""
        try:
            candidate = Candidate.from_sdp(line.removeprefix("a=").removeprefix("candidate:"))
            if candidate.component != 1 or candidate.transport.lower() != "udp":
                return  # RTCP is on the same; TCP is for those who listen
            if not candidate.host.endswith(".local"):
                ipaddress.ip_address(candidate.host)
            if not 0 < candidate.port < 65536 or self._known >= MAX_REMOTE:
                raise ValueError
        except (ValueError, IndexError):
            self.drops.add(Drop.BAD_CANDIDATE)
            return
        self._known += 1
        task = asyncio.ensure_future(self._add(candidate))
        self._adding.add(task)
        task.add_done_callback(self._adding.discard)

    async def _add(self, candidate: Candidate) -> None:
        try:
            await self.add_remote_candidate(candidate)
        except (OSError, ValueError) as error:
            logger.debug("a candidate is of no use: %s", error)

    # how it stands

    def check_incoming(
        self, message: stun.Message, addr: tuple[str, int], protocol: stock.StunProtocol
    ) -> None:
        """Take an authentic check, which was answered."""
        if addr in self._sources or len(self._sources) < MAX_REMOTE:
            self._sources.add(addr)
            self.last_check = asyncio.get_running_loop().time()
            for pair in self._check_list:
                if pair.protocol is protocol and pair.remote_addr == addr:
                    self._ask_again(pair)
            super().check_incoming(message, addr, protocol)

    def build_request(self, pair: stock.CandidatePair, nominate: bool) -> stun.Message:
        """The check that is about to be sent on a pair."""
        request = self._asked[pair] = super().build_request(pair, nominate)
        return request

    def _ask_again(self, pair: stock.CandidatePair) -> None:
        """The check that a client's own triggers, where one is in progress (RFC 8445, section 7.3.1.4).

        The first ones are lost while the client's relay does not know this side, and aioice's next would come
        after up to 16 s; and it never repeats one that it has cancelled because another pair was nominated.
        """
        if pair.state is not stock.CandidatePair.State.IN_PROGRESS:
            return
        request = self._asked[pair]
        if request.transaction_id in pair.protocol.transactions:
            pair.protocol.send_stun(request, pair.remote_addr)
        elif pair.task is not None and pair.task.done():
            pair.task = None
            self.check_state(pair, stock.CandidatePair.State.WAITING)

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        """Hand on a datagram that is no STUN."""
        if not data:
            self.drops.add(Drop.EMPTY)
        elif source not in self._sources:
            self.drops.add(Drop.UNKNOWN_SOURCE)
        elif 127 < data[0] < 192 or (19 < data[0] < 64 and len(data) >= MIN_RECORD):
            self._receive(data)
        else:
            self.drops.add(Drop.UNKNOWN_PROTOCOL)

    @property
    def pair(self) -> stock.CandidatePair | None:
        """The nominated pair, if there is one."""
        return self._nominated.get(1)

    def disconnected(self, now: float) -> bool:
        """Whether the client has been silent for longer than its checks allow."""
        return now - max(self.last_check, self.last_packet) > DISCONNECTED_AFTER

    def expired(self, now: float) -> bool:
        """Whether its consent to be sent to is gone."""
        return now - max(self.last_check, self.last_packet) > EXPIRED_AFTER

    def send_now(self, datagram: bytes) -> Drop | None:
        """Send on the nominated pair without waiting; returns why not, if not."""
        pair = self.pair
        if pair is None:
            return Drop.NOT_CONNECTED
        protocol = pair.protocol
        assert isinstance(protocol, _Protocol)
        if protocol.unsent > MAX_UNSENT:
            return Drop.SOCKET_FULL
        protocol.transport.sendto(datagram, pair.remote_addr)
        return None

    async def close(self) -> None:
        """Close its sockets and give its relays back."""
        for task in list(self._adding):
            task.cancel()
        await super().close()


async def _resolve(server: Server) -> tuple[str, int]:
    found = await asyncio.get_running_loop().getaddrinfo(
        server.host, server.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
    )
    return str(found[0][4][0]), server.port


def _reaches(host: _Protocol, server: str) -> bool:
    """Whether a socket may get to a server at all: from the loopback interface only to this machine."""
    own = ipaddress.ip_address(host.local_candidate.host)
    return own.version == 4 and own.is_loopback <= ipaddress.ip_address(server).is_loopback


async def _ask(
    hosts: Sequence[_Protocol], server: tuple[str, int]
) -> list[tuple[_Protocol, tuple[str, int]]]:
    """How a STUN server sees each socket; without those that have no answer soon after the first has."""
    asked = {asyncio.create_task(_mapped(host, server)): host for host in hosts}
    answers: list[tuple[_Protocol, tuple[str, int]]] = []
    deadline = asyncio.get_running_loop().time() + GATHER_S
    try:
        while asked and (left := deadline - asyncio.get_running_loop().time()) > 0:
            done, _ = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                host = asked.pop(task)
                if task.exception() is None:
                    answers.append((host, task.result()))
                    deadline = min(deadline, asyncio.get_running_loop().time() + GRACE_S)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return answers


async def _mapped(host: _Protocol, server: tuple[str, int]) -> tuple[str, int]:
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    response, _ = await host.request(request, server)
    mapped: tuple[str, int] = response.attributes["XOR-MAPPED-ADDRESS"]
    return mapped


def _check_seam() -> None:
    """Refuse an aioice whose insides have changed."""
    known = set(stock.Connection.__init__.__code__.co_names)
    wanted = {"_local_candidates", "_protocols", "_nominated", "_check_list", "_early_checks_done"}
    if (
        not wanted <= known
        or not hasattr(stock, "relayed_candidate")
        or not hasattr(stock.Connection, "check_incoming")
    ):
        raise ImportError(f"aioice {aioice.__version__} is laid out in a way rtclab does not know")


_check_seam()
