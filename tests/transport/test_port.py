"""The UDP port: what it binds and advertises, what it drops, and how much it does a wake-up."""

from __future__ import annotations

import asyncio
import errno
import operator
import socket
from functools import partial

import pytest

from rtclab.errors import Closed, PortBusy
from rtclab.rtp.drops import Drop
from rtclab.transport import port as port_module
from rtclab.transport import receive, sockets
from rtclab.transport.addresses import host_addresses
from rtclab.transport.port import UdpPort
from stock_client import connected, open_port, rtp, until


def test_one_number_on_every_address() -> None:
    port = UdpPort.open()
    assert port.addresses == host_addresses()
    assert len(port.candidates()) == len(port.addresses)
    for host, line in zip(port.addresses, port.candidates(), strict=True):
        assert f" {host} {port.port} typ host" in line
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with (
            socket.socket(family, socket.SOCK_DGRAM) as probe,
            pytest.raises(OSError, match=r"in use") as caught,
        ):
            probe.bind((host, port.port))
        assert caught.value.errno == errno.EADDRINUSE
    port.close()
    again = UdpPort.open(port.port)
    again.close()


def test_a_busy_port_is_named() -> None:
    port = UdpPort.open(hosts=["127.0.0.1"])
    with pytest.raises(PortBusy, match=f"UDP port {port.port} cannot be opened on 127.0.0.1: .* in use"):
        UdpPort.open(port.port, hosts=["127.0.0.1"])
    port.close()


def test_a_free_number_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    bind = sockets.bind

    def unlucky(*arguments: object, **options: object) -> list[socket.socket]:
        tries.append(arguments)
        if len(tries) < 3:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(port_module, "bind", unlucky)
    port = UdpPort.open(hosts=["127.0.0.1"])
    assert len(tries) == 3
    port.close()


def test_an_address_of_elsewhere_is_advertised_and_everything_bound() -> None:
    port = UdpPort.open(hosts=["203.0.113.7", "::1"])
    assert port.addresses == ["203.0.113.7", "::1"]
    assert " 203.0.113.7 " in port.candidates()[0]
    bound = {sock.getsockname()[0] for sock in port.paths.sockets.values()}
    assert bound == {"0.0.0.0", "::1"}
    port.close()


def test_clients_reach_a_port_bound_on_all_interfaces() -> None:
    async def main() -> None:
        port = UdpPort.open(hosts=["203.0.113.7"])
        port.start(asyncio.get_running_loop())
        _, stranger, got, _ = await connected(port)
        await stranger.send(rtp(1))
        await until(lambda: got)
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_no_transport_without_a_loop_or_after_the_end() -> None:
    port = UdpPort.open(hosts=["127.0.0.1"])
    with pytest.raises(Closed):
        port.new_transport()
    port.close()
    with pytest.raises(Closed):
        port.new_transport()


@pytest.mark.parametrize("batched", [True, False])
def test_what_is_nobodys_is_counted_by_reason(batched: bool) -> None:
    async def main() -> None:
        port = open_port(batched=batched)
        check = bytes.fromhex("0001000c2112a442") + bytes(12) + bytes.fromhex("00060005") + b"who:?\0\0\0"
        cases = {
            b"": Drop.EMPTY,
            bytes(3000): Drop.TOO_LONG,
            bytes(20): Drop.BAD_STUN,
            check: Drop.UNKNOWN_UFRAG,
            b"\x40" + bytes(30): Drop.UNKNOWN_PROTOCOL,
            b"\xff" + bytes(30): Drop.UNKNOWN_PROTOCOL,
            b"\x16" + bytes(5): Drop.UNKNOWN_PROTOCOL,
            b"\x16" + bytes(30): Drop.UNKNOWN_SOURCE,
            rtp(1): Drop.UNKNOWN_SOURCE,
        }
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                for datagram, reason in cases.items():
                    before = port.drops.copy()
                    sender.sendto(datagram, (host, port.port))
                    await until(partial(operator.ne, port.drops, before), f"{reason} of {datagram[:4]!r}")
                    assert port.drops[reason] == before.get(reason, 0) + 1, (reason, port.drops)
        assert sum(port.drops.values()) == 2 * len(cases)
        port.close()

    asyncio.run(main())


@pytest.mark.parametrize("batched", [True, False])
def test_a_wake_up_drains_the_socket_and_then_says_so_once(batched: bool) -> None:
    async def main() -> None:
        port = open_port(batched=batched)
        _, stranger, got, _ = await connected(port)
        drained: list[int] = []
        port._on_drained = lambda: drained.append(len(got))
        wave = 2 * receive.SLOTS + 10
        for sequence in range(wave):  # sent without giving the port a turn
            await stranger.send(rtp(sequence))
        await until(lambda: len(got) == wave)
        await until(lambda: drained and drained[-1] == wave)
        assert drained[0] == wave
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_failing_handler_costs_only_its_own_packet(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got, _ = await connected(port)

        def handler(buffer: memoryview, length: int, now: float) -> None:
            if len(got) == 1:
                got.append(b"")
                raise ValueError("a bug")
            got(buffer, length, now)

        transport.on_rtp = handler
        for sequence in range(3):
            await stranger.send(rtp(sequence))
        await until(lambda: len(got) == 3)
        assert got == [rtp(0), b"", rtp(2)]
        await stranger.close()
        port.close()

    asyncio.run(main())
    assert "a bug" in caplog.text


def test_a_transport_may_be_closed_by_its_own_packet() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        transport.on_rtp = lambda *_: transport.close()
        for sequence in range(3):
            await stranger.send(rtp(sequence))
        await until(lambda: port.drops[Drop.UNKNOWN_SOURCE] == 2)
        assert transport.state == "closed"
        assert port.paths.srtp[transport.row] == 0
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_the_port_may_be_closed_by_a_packet() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        transport.on_rtp = lambda *_: port.close()
        for sequence in range(3):
            await stranger.send(rtp(sequence))
        await until(lambda: port.closed)
        await stranger.close()

    asyncio.run(main())


@pytest.mark.parametrize("native", [True, False])
def test_single_sends_are_counted_when_they_fail(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        if not native:
            monkeypatch.setattr(port_module, "native_sendto", lambda: None)
        port = open_port()
        transport = port.new_transport()
        port.send(b"no address yet", transport.row)
        assert port.drops == {Drop.NOT_CONNECTED: 1}
        sock = next(sock for sock in port.paths.sockets.values() if sock.family == socket.AF_INET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            name = port_module.pack_name(*receiver.getsockname())
            port.paths.set_address(transport.row, name, sock)
            port.send(b"hello", transport.row)
            assert receiver.recvfrom(100) == (b"hello", ("127.0.0.1", port.port))
            port.send(bytes(70000), transport.row)
        assert port.drops == {Drop.NOT_CONNECTED: 1, Drop.SEND_ERROR: 1}
        port.close()

    asyncio.run(main())
