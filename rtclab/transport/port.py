"""The room's UDP port: one port number on every address of the host, shared by all clients.

What a datagram is shows in its first byte (RFC 7983): 0..3 STUN, 20..63 DTLS, 128..191 SRTP or SRTCP, which
the second byte tells apart (RFC 5761). A STUN check is matched to its client by the ufrag in its username;
once it has proved to know the password its source address is the client's, and DTLS and SRTP from there are
too. Everything else is counted and dropped: nothing else reaches DTLS or SRTP.

Each wake-up drains a socket and hands decrypted packets on synchronously, then calls `on_drained` once, so
that what a whole batch of packets leads to can leave in one batch.

Reports (RTCP SR, RR, SDES, XR) need no haste. Where the kernel can tell them apart they wake nobody up:
`read_reports` takes in what has come, with the times at which the kernel got it, and `on_reports` gets all
that one read has brought, decrypted, to read it at once. A request for a picture or for packets is urgent,
but one in a compound that begins with a report (RFC 3550) waits with it. Whoever negotiates reduced-size RTCP
(RFC 5506), as browsers do, sends requests alone.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import Closed, PortBusy
from ..rtp.drops import Drop, Drops
from . import srtp
from .addresses import candidate_lines, host_addresses, pack_name, unpack_name
from .dtls import MIN_RECORD, Certificate
from .ice import Source, local_ufrag
from .paths import PathTable
from .receive import SLOT_SIZE, SLOTS, Receiver, new_receiver
from .sockets import bind, native_sendto, split_reports
from .transport import Transport

logger = logging.getLogger(__name__)

ROUNDS = 4  # reads of up to `SLOTS` datagrams a wake-up, so that no socket starves the rest of the loop
TICK = 0.5  # s
_ATTEMPTS = 20


class Taken(NamedTuple):
    """A decrypted packet in its slot: `length` bytes that came from a transport at the loop's time `now`."""

    slot: int
    transport: Transport
    length: int
    now: float


# (slots, what is in them) -> what is left to be handed on as usual, each from a certain byte on
ReadReports = Callable[[npt.NDArray[np.uint8], Sequence[Taken]], Iterable[tuple[Taken, int]]]


def _nothing() -> None:
    return None


def _read_none(slots: npt.NDArray[np.uint8], taken: Sequence[Taken]) -> list[tuple[Taken, int]]:
    return [(packet, 0) for packet in taken]


class _Local:
    """One address: its socket and that of its reports, the receiver, and the clients by source address."""

    def __init__(self, index: int, sock: socket.socket, receiver: Receiver) -> None:
        self.index = index
        self.socket = sock
        self.reports = split_reports(sock)
        self.receiver = receiver
        self.clients: dict[bytes, Transport] = {}


class _Claims(NamedTuple):
    """What leads to one transport: ufrags and validated sources."""

    ufrags: set[str]
    sources: set[Source]


class UdpPort:
    """One UDP port number on all addresses of the host; made by `UdpPort.open`.

    Attributes
    ----------
    port : int
        The number.
    addresses : list of str
        The addresses that candidates advertise.
    paths : PathTable
        Where each client is reached.
    certificate : Certificate
        What all clients see.
    drops : Drops
        Datagrams of nobody's, and single sends that the kernel did not take.
    """

    def __init__(
        self, port: int, addresses: list[str], sockets: list[socket.socket], batched: bool | None = None
    ) -> None:
        self.port = port
        self.addresses = addresses
        self.paths = PathTable()
        self.paths.sockets = {sock.fileno(): sock for sock in sockets}
        self.certificate: Certificate = Certificate.generateCertificate()
        self.drops = Drops()
        self.protector = srtp.RtcpProtector()
        receivers = {family: new_receiver(batched) for family in {sock.family for sock in sockets}}
        self._locals = [_Local(index, sock, receivers[sock.family]) for index, sock in enumerate(sockets)]
        self._by_ufrag: dict[str, Transport] = {}
        self._claims: dict[Transport, _Claims] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_drained: Callable[[], object] = _nothing
        self._on_reports: ReadReports = _read_none
        self._sendto = native_sendto()
        self.closed = False

    @classmethod
    def open(
        cls, port: int = 0, hosts: Sequence[str] | None = None, *, batched: bool | None = None
    ) -> UdpPort:
        """Bind one port number on every address.

        Parameters
        ----------
        port : int
            The number; 0 for any that is free on all addresses.
        hosts : sequence of str, optional
            IP addresses to advertise; by default all of this host's, loopback last. One that is not this
            host's, as behind 1:1 NAT, is advertised and its family is bound on all interfaces instead.
        batched : bool, optional
            Whether to receive with `recvmmsg`; by default where it exists.

        Raises
        ------
        ValueError
            There is no such port.
        rtclab.errors.PortBusy
            The port is taken or may not be opened.
        """
        if not 0 <= port <= 65535:
            raise ValueError(
                f"there is no UDP port {port}: it is a number from 0 (any that is free) to 65535"
            )
        addresses = list(dict.fromkeys(host_addresses() if hosts is None else hosts))
        attempts = 1 if port else _ATTEMPTS
        for attempt in range(attempts):
            try:
                sockets = bind(port, addresses, skip_absent=hosts is None)
            except OSError as error:
                if attempt + 1 < attempts and error.errno == errno.EADDRINUSE:
                    continue
                number = f"UDP port {port}" if port else "a UDP port"
                raise PortBusy(
                    f"{number} cannot be opened on {', '.join(addresses) or 'any address'}: "
                    f"{(error.strerror or str(error)).lower()}. Close the room that uses it, or choose "
                    "another number (port=0 takes any that is free)"
                ) from None
            bound = {sock.getsockname()[0] for sock in sockets}
            if hosts is None:
                addresses = [host for host in addresses if host in bound]
            return cls(sockets[0].getsockname()[1], addresses, sockets, batched)
        raise AssertionError("unreachable")

    def candidates(self) -> list[str]:
        """Host candidates, best first, as they stand after ``a=`` in SDP."""
        return candidate_lines(self.addresses, self.port)

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        on_drained: Callable[[], object] = _nothing,
        on_reports: ReadReports = _read_none,
    ) -> None:
        """Receive on `loop`, whose thread owns the port from now on.

        Parameters
        ----------
        loop : asyncio.AbstractEventLoop
            A loop with `add_reader`.
        on_drained : callable
            Called once after each batch of datagrams.
        on_reports : callable
            Called with the slots, a ``(datagrams, bytes)`` uint8 array, and with what is `Taken` in them;
            returns what it has not read, and from which byte on, for the transports' `on_rtcp`.
        """
        self._loop = loop
        self._on_drained = on_drained
        self._on_reports = on_reports
        for local in self._locals:
            loop.add_reader(local.socket.fileno(), self._drain, local)
        self._timer = loop.call_later(TICK, self._tick)

    def new_transport(self) -> Transport:
        """A transport for one more client; call its `connect` with what the offer says."""
        if self.closed or self._loop is None:
            raise Closed("the UDP port is not open; start a room first")
        transport = Transport(self)
        self._claims[transport] = _Claims(set(), set())
        return transport

    def close(self) -> None:
        """Close all transports and sockets; more calls do nothing."""
        if self.closed:
            return
        for transport in list(self._claims):
            transport.close()
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for local in self._locals:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(local.socket.fileno())
            local.socket.close()
            if local.reports is not None:
                local.reports.close()
        self.paths.sockets.clear()
        self._on_drained = _nothing
        self._on_reports = _read_none

    def send(self, datagram: bytes, row: int) -> None:
        """Send one datagram to the client of a path row; what the socket cannot take is counted, not kept."""
        sock = self.paths.sockets.get(int(self.paths.fd[row]))
        if sock is None:
            self.drops.add(Drop.NOT_CONNECTED)
            return
        self._send_to(sock, self.paths.name[row].tobytes(), datagram)

    def _send_to(self, sock: socket.socket, name: bytes, datagram: bytes) -> None:
        if self._sendto is not None:
            error = self._sendto(sock, name, datagram)
        else:
            try:
                sock.sendto(datagram, unpack_name(name))
                error = 0
            except OSError as failure:
                error = failure.errno or errno.EIO
        if error:
            full = error in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)
            self.drops.add(Drop.SOCKET_FULL if full else Drop.SEND_ERROR)

    # called by transports

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it receives."""
        assert self._loop is not None
        return self._loop

    def time(self) -> float:
        """The loop's time in seconds."""
        assert self._loop is not None
        return self._loop.time()

    def claim(self, transport: Transport, source: Source | None = None) -> None:
        """Lead the transport's ufrags, and `source`, to it, and no longer those it has given up."""
        claims = self._claims[transport]
        for ufrag in claims.ufrags - transport.ice.ufrags:
            del self._by_ufrag[ufrag]
        for ufrag in transport.ice.ufrags - claims.ufrags:
            self._by_ufrag[ufrag] = transport
        claims.ufrags.clear()
        claims.ufrags.update(transport.ice.ufrags)
        for gone in claims.sources - transport.ice.sources.keys():
            self._forget(transport, gone)
        claims.sources.intersection_update(transport.ice.sources)
        if source is not None:
            # whoever was authenticated last owns an address: ports are used again
            self._locals[source.local].clients[pack_name(source.host, source.port)] = transport
            claims.sources.add(source)

    def unregister(self, transport: Transport, keep: object) -> None:
        """Forget a transport; its row and `keep` are given up once the current callback has ended."""
        claims = self._claims.pop(transport)
        for ufrag in claims.ufrags:
            del self._by_ufrag[ufrag]
        for source in claims.sources:
            self._forget(transport, source)
        if self._loop is None or self._loop.is_closed():
            self._release(transport.row, keep)
        else:
            self._loop.call_soon(self._release, transport.row, keep)

    def set_path(self, row: int, source: Source) -> bytes:
        """Send what is for `row` to `source`; returns the address as bytes."""
        name = pack_name(source.host, source.port)
        self.paths.set_address(row, name, self._locals[source.local].socket)
        return name

    def _forget(self, transport: Transport, source: Source) -> None:
        clients = self._locals[source.local].clients
        name = pack_name(source.host, source.port)
        if clients.get(name) is transport:
            del clients[name]

    def _release(self, row: int, keep: object) -> None:
        self.paths.free(row)

    # receiving

    def _tick(self) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_later(TICK, self._tick)
        self.read_reports()
        now = self._loop.time()
        for transport in list(self._claims):
            transport.tick(now)

    def read_reports(self) -> None:
        """Take in the reports that have come; to be called a few times a second."""
        for local in self._locals:
            if local.reports is not None:
                taken: list[Taken] = []
                self._read(
                    local, local.reports, taken.append, partial(self._take_reports, local.receiver, taken)
                )

    def drained(self) -> None:
        """What came to the room by another way than the sockets is in."""
        if not self.closed:
            self._on_drained()

    def _drain(self, local: _Local) -> None:
        self._read(local, local.socket, partial(self._hand_on, local.receiver), _nothing)
        if not self.closed:
            self._on_drained()

    def _read(
        self,
        local: _Local,
        sock: socket.socket,
        take: Callable[[Taken], object],
        after: Callable[[], object],
    ) -> None:
        """Read what waits at a socket: `take` each decrypted packet, and call `after` after each read."""
        assert self._loop is not None
        for _ in range(ROUNDS):
            if self.closed:
                return
            count = local.receiver.read(sock)
            if count:
                self._receive(local, self._loop.time(), take)
                after()
            if count < SLOTS:
                return

    def _receive(self, local: _Local, now: float, take: Callable[[Taken], object]) -> None:
        receiver = local.receiver
        clients, views, names = local.clients, receiver.views, receiver.names
        for slot, length in enumerate(receiver.lengths):
            view = views[slot]
            name = names[slot]
            try:
                first = view[0]
                if not length:
                    self.drops.add(Drop.EMPTY)
                elif length >= SLOT_SIZE:
                    self.drops.add(Drop.TOO_LONG)
                elif 127 < first < 192:
                    transport = clients.get(name)
                    if transport is None:
                        self.drops.add(Drop.UNKNOWN_SOURCE)
                        continue
                    packet = self._unprotect(transport, local, slot, length, now - receiver.ages[slot])
                    if packet.length:
                        take(packet)
                elif first < 4:
                    self._receive_stun(local, bytes(view[:length]), name, now)
                elif 19 < first < 64 and length >= MIN_RECORD:
                    transport = clients.get(name)
                    if transport is None:
                        self.drops.add(Drop.UNKNOWN_SOURCE)
                    else:
                        transport.receive_dtls(bytes(view[:length]))
                else:
                    self.drops.add(Drop.UNKNOWN_PROTOCOL)
            except Exception:  # one client's packet must not cost the others theirs
                logger.exception("a received datagram could not be handled")
            if self.closed:
                return

    def _unprotect(self, transport: Transport, local: _Local, slot: int, length: int, now: float) -> Taken:
        receiver = local.receiver
        size = transport.unprotect(receiver.views[slot], receiver.pointers[slot], length, now)
        if size and (receiver.names[slot] != transport.path_name or local.index != transport.path_local):
            transport.moved(Source(*unpack_name(receiver.names[slot]), local.index), now)
        return Taken(slot, transport, size, now)

    def _hand_on(self, receiver: Receiver, packet: Taken) -> None:
        slot, transport, length, now = packet
        transport.hand_on(receiver.views[slot], length, now)

    def _take_reports(self, receiver: Receiver, taken: list[Taken]) -> None:
        rest: Iterable[tuple[Taken, int]] = ()
        try:
            rest = self._on_reports(receiver.arena[: len(receiver.lengths)], taken)
        except Exception:
            logger.exception("received reports could not be read")
        for (slot, transport, length, now), start in rest:
            try:
                transport.on_rtcp(receiver.views[slot][start:], length - start, now)
            except Exception:  # nor one client's report
                logger.exception("a received report could not be handled")
        taken.clear()

    def _receive_stun(self, local: _Local, data: bytes, name: bytes, now: float) -> None:
        ufrag = local_ufrag(data)
        if ufrag is None:
            self.drops.add(Drop.BAD_STUN)
            return
        transport = self._by_ufrag.get(ufrag)
        if transport is None:
            self.drops.add(Drop.UNKNOWN_UFRAG)
            return
        answer = transport.receive_check(data, Source(*unpack_name(name), local.index), now)
        if answer is not None:
            self._send_to(local.socket, name, answer)
        transport.start_dtls()
