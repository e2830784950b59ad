"""The seam into aiortc's DTLS: handshakes that fail, bounds, and a library that has changed."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest
from aiortc import rtcdtlstransport as stock
from OpenSSL import SSL

from rtclab.rtp.drops import Drop
from rtclab.transport import dtls
from rtclab.transport.transport import RemoteParameters, State
from stock_client import Stranger, connected, open_port, until

WRONG = ("sha-256", ":".join(["00"] * 32))


@pytest.mark.parametrize(
    ("fingerprints", "welcome"),
    [
        ((WRONG,), False),
        ((("sha-1", "00"),), False),
        ((("sha-1", "00"), ("sha-256", "its own")), True),
        ((("SHA-256", "its own"),), True),
        ((("sha-256", "its own"), WRONG), False),
    ],
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_the_fingerprint_decides(fingerprints: tuple[tuple[str, str], ...], welcome: bool, role: str) -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger(role)
        await stranger.gather()
        real = stranger.parameters
        own = dict(real.fingerprints)["sha-256"]
        offered = tuple((name, own.lower() if value == "its own" else value) for name, value in fingerprints)
        transport = port.new_transport()
        states: list[State] = []
        transport.on_state = states.append
        transport.connect(RemoteParameters(real.ufrag, real.pwd, offered, real.setup))
        await stranger.connect(transport, ("127.0.0.1", port.port))
        await until(lambda: len(states) == 3)
        assert states == ["checking", "connecting", "connected" if welcome else "failed"]
        assert bool(port.paths.srtp[transport.row]) == welcome
        if not welcome:
            await until(lambda: stranger.dtls.state in ("closed", "failed"), "the client to be told")
        transport.close()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_wrong_certificate_of_ours_fails_on_both_sides() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.connect(stranger.parameters)
        transport.fingerprint = WRONG[1]
        await stranger.connect(transport, ("127.0.0.1", port.port))
        assert stranger.dtls.state == "failed"
        transport.close()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_handshake_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls, "HANDSHAKE_TIMEOUT", 0.01)

    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        states: list[State] = []
        transport.on_state = states.append
        transport.connect(stranger.parameters)
        await stranger.start_ice(transport, ("127.0.0.1", port.port))
        await until(lambda: states == ["checking", "connecting", "failed"])
        transport.close()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_closing_in_the_middle_of_a_handshake_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60.0  # a busy machine is no finding
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.connect(stranger.parameters)
        await stranger.start_ice(transport, ("127.0.0.1", port.port))
        client = asyncio.ensure_future(stranger.start_dtls(transport))
        await until(lambda: transport.bytes_sent, "the first flight")
        transport.close()
        await stranger.close()
        await client
        port.close()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "the end of all tasks")

    with caplog.at_level(logging.WARNING):
        asyncio.run(main(), debug=True)
    assert not caplog.records


def test_waiting_records_are_bounded() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.connect(stranger.parameters)
        record = b"\x16" + bytes(40)
        for _ in range(dtls.MAX_WAITING):  # ICE is not done: nobody reads
            transport.receive_dtls(record)
        assert not transport.drops
        transport.receive_dtls(record)
        assert transport.drops == {Drop.DTLS_QUEUE_FULL: 1}
        transport.close()
        transport.receive_dtls(record)
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_all_transports_share_certificate_and_context() -> None:
    async def main() -> None:
        port = open_port()
        pairs = [await connected(port) for _ in range(2)]
        one, two = (pair[0] for pair in pairs)
        assert one.fingerprint == two.fingerprint == port.certificate.fingerprint
        contexts = {id(transport._dtls._stock._ssl.get_context()) for transport in (one, two)}  # type: ignore[union-attr]
        assert len(contexts) == 1
        assert port.certificate._context is not None
        assert port.certificate._context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
        for _, stranger, _, _ in pairs:
            await stranger.close()
        port.close()

    asyncio.run(main())


@pytest.mark.parametrize("gone", ["_set_role", "_write_ssl", "stop"])
def test_a_missing_method_of_aiortc_is_noticed(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtls._check_seam()
    monkeypatch.delattr(stock.RTCDtlsTransport, gone)
    with pytest.raises(ImportError, match="does not know"):
        dtls._check_seam()


def test_another_use_of_the_ice_transport_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def _recv_next(self: SimpleNamespace) -> None:
        await self.transport.receive()

    monkeypatch.setattr(stock.RTCDtlsTransport, "_recv_next", _recv_next)
    with pytest.raises(ImportError, match="does not know"):
        dtls._check_seam()
