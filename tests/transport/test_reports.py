"""Reports have a socket of their own on the same port: they wake nobody, and all else is told apart."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from rtclab.errors import PortBusy
from rtclab.rtp.drops import Drop
from rtclab.transport import port as port_module
from rtclab.transport import sockets
from rtclab.transport.port import Taken, UdpPort
from rtclab.transport.sockets import split_reports
from stock_client import Nat, Received, Stranger, connected, open_port, recheck, rtcp, rtp, until

REPORTS = {200, 201, 202, 207}  # SR, RR, SDES, XR
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def bound(host: str) -> socket.socket:
    return sockets.bind(0, [host], skip_absent=False)[0]


def waiting(sock: socket.socket) -> list[bytes]:
    """What there is to read, once there is something."""
    select.select([sock], [], [], 5)
    datagrams = []
    with contextlib.suppress(BlockingIOError):
        while True:
            datagrams.append(sock.recv(100))
    return datagrams


@pytest.fixture(autouse=True)
def _no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port reads no reports by itself."""
    monkeypatch.setattr(port_module, "TICK", 1000.0)


def lane(port: UdpPort, family: int = socket.AF_INET) -> socket.socket:
    """The socket of the reports."""
    return next(local.reports for local in port._locals if local.socket.family == family and local.reports)


def read(port: UdpPort) -> bool:
    """Take in the reports, as part of a condition."""
    port.read_reports()
    return True


async def arrived(port: UdpPort) -> None:
    await until(lambda: select.select([lane(port)], [], [], 0)[0], "the report")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_the_second_byte_decides(host: str) -> None:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(bound(host))
        reports = split_reports(sock)
        assert reports is not None
        stack.enter_context(reports)
        target = LOCAL.get(host, host), sock.getsockname()[1]
        for first in (0, 22, 128):  # each from a port of its own
            sender = stack.enter_context(socket.socket(sock.family, socket.SOCK_DGRAM))
            for second in range(256):
                sender.sendto(bytes([first, second, 207]), target)
            sender.sendto(b"", target)
            sender.sendto(bytes([201]), target)
            got = waiting(reports)
            assert [datagram[0] for datagram in got] == [first] * len(REPORTS)
            assert {datagram[1] for datagram in got} == REPORTS
            assert len(waiting(sock)) == 256 - len(REPORTS) + 2


@pytest.mark.parametrize("program", [((0x06, 0, 0, 0),), ((0xFFFF, 0, 0, 0),)], ids=["ignored", "refused"])
def test_without_the_kernel_all_comes_to_one_socket(
    program: tuple[tuple[int, int, int, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_PICK_REPORTS", program)
    monkeypatch.setattr(sockets, "PROBE_S", 0.01)
    with bound("127.0.0.1") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert split_reports(sock) is None
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        for second in (96, 201):
            sender.sendto(bytes([128, second]), sock.getsockname())
        assert waiting(sock) == [bytes([128, 96]), bytes([128, 201])]


def test_a_report_then_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "split_reports", lambda sock: None)

    async def main() -> None:
        port = open_port()
        _, stranger, _, got = await connected(port)
        await stranger.send(rtcp())
        await until(lambda: got)
        port.read_reports()
        assert got == [rtcp()]
        await stranger.close()
        port.close()

    asyncio.run(main())


@pytest.mark.parametrize("batched", [True, False])
def test_a_report_waits_until_it_is_read(batched: bool) -> None:
    async def main() -> None:
        port = open_port(batched=batched)
        _, stranger, got_rtp, got_rtcp = await connected(port)
        drained: list[int] = []
        port._on_drained = lambda: drained.append(len(got_rtp))
        for _ in range(3):
            await stranger.send(rtcp())
        await arrived(port)
        await stranger.send(rtp(1))
        await until(lambda: drained)
        assert (got_rtp, got_rtcp) == ([rtp(1)], [])
        port.read_reports()
        assert got_rtcp == [rtcp()] * 3
        assert drained == [1]
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_it_has_the_time_at_which_it_came() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        loop = asyncio.get_running_loop()
        times: list[float] = []
        transport.on_rtcp = lambda buffer, length, now: times.append(now)
        before = loop.time()
        await stranger.send(rtcp())
        await arrived(port)
        after = loop.time()
        await until(lambda: loop.time() > after + 0.1, "time to pass")
        port.read_reports()
        assert before - 0.01 < times[0] < after + 0.01
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_an_old_report_does_not_lead_back_to_an_old_address() -> None:
    async def main() -> None:
        port = open_port()
        nat = Nat(("127.0.0.1", port.port))
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.on_rtcp = got = Received()
        transport.connect(stranger.parameters)
        await stranger.connect(transport, nat.address)
        await until(lambda: transport.state == "connected")
        await stranger.send(rtcp())
        await arrived(port)
        nat.rebind()
        await recheck(stranger, transport, nominate=True)
        port.read_reports()
        assert got == [rtcp()]
        assert transport.selected == nat.outside
        await stranger.close()
        nat.close()
        port.close()

    asyncio.run(main())


def test_what_is_bad_there_is_dropped_like_everywhere() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, got = await connected(port)
        connection = stranger.ice._connection
        report = bytes([0x80, 201])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outsider:
            for datagram in (report, report + bytes(40), bytes([0x40, 201]), report + bytes(3000)):
                outsider.sendto(datagram, ("127.0.0.1", port.port))
        for datagram in (report, report + bytes(6), report + bytes(60), report + bytes(1500)):
            await connection.send(datagram)
        await stranger.send(rtcp())
        await until(lambda: read(port) and got)
        assert port.drops == {Drop.UNKNOWN_SOURCE: 2, Drop.UNKNOWN_PROTOCOL: 1, Drop.TOO_LONG: 1}
        assert transport.drops == {Drop.SRTP_AUTH: 4}
        assert got == [rtcp()]
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_reading_ends_when_a_report_closes_the_port() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        transport.on_rtcp = lambda *_: port.close()
        for _ in range(3):
            await stranger.send(rtcp())
        await arrived(port)
        port.read_reports()
        assert port.closed
        await stranger.close()

    asyncio.run(main())


def test_those_of_one_read_are_given_together() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got_rtp, got_rtcp = await connected(port)
        reads: list[list[bytes]] = []

        def take(slots: npt.NDArray[np.uint8], taken: Sequence[Taken]) -> list[tuple[Taken, int]]:
            assert all(packet.transport is transport for packet in taken)
            reads.append([slots[packet.slot, : packet.length].tobytes() for packet in taken])
            return [(taken[1], 0), (taken[2], 4)]

        port._on_reports = take
        datagrams = [rtcp(ssrc) for ssrc in range(3)]
        for datagram in datagrams:
            await stranger.send(datagram)
        await arrived(port)
        port.read_reports()
        assert reads == [datagrams]
        assert (got_rtp, got_rtcp) == ([], [datagrams[1], datagrams[2][4:]])
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_what_fails_costs_nothing_but_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        heard: list[int] = []

        def take(buffer: memoryview, length: int, now: float) -> None:
            heard.append(length)
            if len(heard) == 1:
                raise RuntimeError("the first one")

        def fail(slots: npt.NDArray[np.uint8], taken: Sequence[Taken]) -> list[tuple[Taken, int]]:
            raise RuntimeError("all of them")

        transport.on_rtcp = take
        readers = port._on_reports, fail, port._on_reports
        for reader in readers:
            port._on_reports = reader
            for _ in range(2):
                await stranger.send(rtcp())
            await arrived(port)
            port.read_reports()
        assert heard == [8] * 4
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
            "the first one",
            "all of them",
        ]
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_port_that_another_program_would_share_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(PortBusy, match="in use"):
            UdpPort.open(other.getsockname()[1], hosts=["127.0.0.1"])


def test_who_joins_later_gets_nothing_and_the_end_frees_all() -> None:
    async def main() -> None:
        port = open_port()
        with contextlib.ExitStack() as stack:
            late = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            late.setblocking(False)
            with pytest.raises(OSError, match="in use") as caught:
                late.bind(("127.0.0.1", port.port))
            assert caught.value.errno == errno.EADDRINUSE
            late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            late.bind(("127.0.0.1", port.port))
            for _ in range(20):
                sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for datagram in (rtp(1), rtcp()):
                    sender.sendto(datagram, ("127.0.0.1", port.port))
            await until(lambda: read(port) and port.drops[Drop.UNKNOWN_SOURCE] == 40)
            with pytest.raises(BlockingIOError):
                late.recv(100)
        number = port.port
        port.close()
        UdpPort.open(number, hosts=["127.0.0.1", "::1"]).close()

    asyncio.run(main())
