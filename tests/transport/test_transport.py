"""A transport against a stock aiortc client: ICE, DTLS, SRTP both ways, and the end of it."""

from __future__ import annotations

import asyncio

import pytest

from rtclab.transport.transport import State
from stock_client import Nat, Stranger, connected, open_port, rtcp, rtp, until


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("batched", [True, False])
def test_media_flows_both_ways(host: str, batched: bool) -> None:
    async def main() -> None:
        port = open_port(batched=batched)
        transport, stranger, got_rtp, got_rtcp = await connected(port, host)
        assert transport.srtp_profile == "AEAD_AES_128_GCM"
        assert transport.setup == "passive"
        candidate = stranger.gatherer.getLocalCandidates()[0]
        assert transport.selected == (candidate.ip, candidate.port)
        assert port.paths.address(transport.row) == transport.selected
        packets = [rtp(sequence) for sequence in range(100)]
        for packet in packets:
            await stranger.send(packet)
        await stranger.send(rtcp())
        await until(lambda: len(got_rtp) == 100 and got_rtcp, "the packets")
        assert got_rtp == packets
        assert got_rtcp == [rtcp()]
        assert transport.packets_received == 101
        transport.send_rtcp(rtcp(77))
        await until(lambda: stranger.rtcp, "RTCP at the client")
        assert stranger.rtcp == [rtcp(77)]
        assert not transport.drops
        assert not port.drops
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_states_and_times_follow_the_phases() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        states: list[State] = []
        transport.on_state = states.append
        transport.connect(stranger.parameters)
        await stranger.connect(transport, ("127.0.0.1", port.port))
        await until(lambda: transport.state == "connected")
        await stranger.close()
        await until(lambda: transport.state == "closed", "the client's close_notify")
        assert states == ["checking", "connecting", "connected", "closed"]
        times = transport.times
        assert times["connect"] <= times["ICE nominated"] <= times["DTLS connected"]
        port.close()

    asyncio.run(main())


def test_the_room_is_dtls_client_of_a_passive_offer() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got_rtp, _ = await connected(port, role="server")
        assert transport.setup == "active"
        await stranger.send(rtp(5))
        await until(lambda: got_rtp)
        assert got_rtp == [rtp(5)]
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_closing_tells_the_client() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        transport.close()
        transport.close()
        assert transport.state == "closed"
        await until(lambda: stranger.dtls.state == "closed", "close_notify at the client")
        await stranger.close()
        port.close()
        port.close()

    asyncio.run(main())


def test_a_failing_on_state_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()

        def on_state(state: State) -> None:
            raise ValueError(f"a bug at {state}")

        transport.on_state = on_state
        transport.connect(stranger.parameters)
        await stranger.connect(transport, ("127.0.0.1", port.port))
        await until(lambda: transport.state == "connected")
        transport.close()
        await until(lambda: stranger.dtls.state == "closed")
        assert len(port.paths) == 0
        await stranger.close()
        port.close()

    asyncio.run(main())
    for state in ("checking", "connecting", "connected", "closed"):
        assert f"a bug at {state}" in caplog.text


def test_a_lost_handshake_flight_is_sent_again() -> None:
    async def main() -> None:
        port = open_port()
        nat = Nat(("127.0.0.1", port.port))
        nat.lose = 1
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.connect(stranger.parameters)
        await stranger.connect(transport, nat.address)
        await until(lambda: transport.state == "connected")
        assert nat.lose == 0
        await stranger.close()
        nat.close()
        port.close()

    asyncio.run(main())
