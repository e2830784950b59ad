"""A client that moves, restarts ICE, falls silent or comes twice: DTLS and SRTP carry on."""

from __future__ import annotations

import asyncio

import pytest
from aioice import stun

from rtclab.errors import Closed, NegotiationError
from rtclab.rtp.drops import Drop
from rtclab.transport.ice import DISCONNECTED_AFTER, EXPIRED_AFTER
from rtclab.transport.transport import CHECK_TIMEOUT, RemoteParameters, State
from stock_client import Nat, Received, Stranger, connected, open_port, recheck, rtcp, rtp, until


@pytest.mark.parametrize("nominate", [False, True])
def test_a_nat_rebinding_needs_no_new_handshake(nominate: bool) -> None:
    async def main() -> None:
        port = open_port()
        nat = Nat(("127.0.0.1", port.port))
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        transport.on_rtp = got = Received()
        states: list[State] = []
        transport.connect(stranger.parameters)
        await stranger.connect(transport, nat.address)
        await until(lambda: transport.state == "connected")
        transport.on_state = states.append
        assert transport.selected == nat.outside
        await stranger.send(rtp(1))
        await until(lambda: len(got) == 1)

        nat.rebind()
        await stranger.send(rtp(2))
        await until(lambda: port.drops[Drop.UNKNOWN_SOURCE] == 1, "the unknown source to be refused")
        await recheck(stranger, transport, nominate)
        if nominate:
            assert transport.selected == nat.outside
        await stranger.send(rtp(3))
        await until(lambda: len(got) == 2)
        assert got == [rtp(1), rtp(3)]
        assert transport.selected == nat.outside
        assert port.paths.address(transport.row) == nat.outside
        transport.send_rtcp(rtcp())
        await until(lambda: stranger.rtcp, "RTCP by the new path")
        assert states == []
        await stranger.close()
        nat.close()
        port.close()

    asyncio.run(main())


def test_an_ice_restart_keeps_dtls() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got, _ = await connected(port)
        old = transport.ufrag, transport.pwd
        again = Stranger()
        await again.gather()
        transport.restart(again.parameters)
        assert (transport.ufrag, transport.pwd) != old
        await stranger.send(rtp(1))
        await until(lambda: len(got) == 1, "media by the old pair meanwhile")
        await again.start_ice(transport, ("127.0.0.1", port.port))
        candidate = again.gatherer.getLocalCandidates()[0]
        await until(lambda: transport.selected == (candidate.ip, candidate.port), "the new pair")
        assert old[0] not in port._by_ufrag

        stranger.dtls._transport = again.ice  # its DTLS goes on by the new path
        await stranger.send(rtp(2))
        await until(lambda: len(got) == 2)
        assert transport.state == "connected"
        transport.send_rtcp(rtcp())
        await until(lambda: again.gatherer._connection._queue.qsize(), "RTCP by the new path")
        await stranger.ice.stop()
        await again.close()
        await stranger.dtls.stop()
        port.close()

    asyncio.run(main())


def test_the_same_offer_again_restarts_nothing() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _, _ = await connected(port)
        old = transport.ufrag, transport.pwd
        transport.restart(stranger.parameters)
        assert (transport.ufrag, transport.pwd) == old
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_silence_is_followed_by_the_clock() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got, _ = await connected(port)
        states: list[State] = []
        transport.on_state = states.append
        context = int(port.paths.srtp[transport.row])
        assert context
        seen = transport.ice.last_seen
        transport.tick(seen + DISCONNECTED_AFTER)
        assert states == []
        transport.tick(seen + DISCONNECTED_AFTER + 0.1)
        assert states == ["disconnected"]
        await stranger.send(rtp(1))
        await until(lambda: got)
        transport.tick(port.time())
        assert states == ["disconnected", "connected"]
        transport.tick(transport.ice.last_seen + EXPIRED_AFTER + 0.1)
        assert states == ["disconnected", "connected", "failed"]
        assert port.paths.srtp[transport.row] == 0
        transport.send_rtcp(rtcp())
        assert transport.drops == {Drop.NOT_CONNECTED: 1}

        again = Stranger()
        await again.gather()
        transport.restart(again.parameters)
        await again.start_ice(transport, ("127.0.0.1", port.port))
        transport.tick(port.time())
        assert states[3:] == ["disconnected", "connected"]
        assert port.paths.srtp[transport.row] == context
        await again.ice.stop()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_client_that_never_comes_fails_and_may_try_again() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = port.new_transport()
        states: list[State] = []
        transport.on_state = states.append
        transport.connect(stranger.parameters)
        began = transport.times["connect"]
        transport.tick(began + CHECK_TIMEOUT)
        assert states == ["checking"]
        transport.tick(began + CHECK_TIMEOUT + 0.1)
        assert states == ["checking", "failed"]
        again = Stranger()
        await again.gather()
        transport.restart(again.parameters)
        await again.connect(transport, ("127.0.0.1", port.port))
        await until(lambda: states[2:] == ["checking", "connecting", "connected"])
        await stranger.close()
        await again.close()
        port.close()

    asyncio.run(main())


def test_a_port_used_again_belongs_to_the_client_seen_last() -> None:
    async def main() -> None:
        port = open_port()
        first, one, got_first, _ = await connected(port)
        second = port.new_transport()
        two = Stranger()
        second.connect(two.parameters)
        # the same socket now checks with the second client's credentials
        source = next(iter(first.ice.sources))
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{second.ufrag}:{two.parameters.ufrag}"
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(second.pwd.encode())
        await one.ice._send(bytes(request))
        await until(lambda: second.selected == (source.host, source.port))
        await one.send(rtp(1))
        await until(lambda: second.drops[Drop.NOT_CONNECTED] == 1)
        assert got_first == []
        first.close()
        await one.send(rtp(2))
        await until(lambda: second.drops[Drop.NOT_CONNECTED] >= 2)
        await two.close()
        await one.close()
        port.close()

    asyncio.run(main())


def test_calls_out_of_turn_are_refused() -> None:
    async def main() -> None:
        port = open_port()
        transport = port.new_transport()
        remote = RemoteParameters("ufrag", "password", (("sha-256", "AA"),))
        with pytest.raises(Closed):
            transport.restart(remote)
        with pytest.raises(NegotiationError, match="fingerprint"):
            transport.connect(RemoteParameters("ufrag", "password", ()))
        transport.connect(remote)
        with pytest.raises(Closed):
            transport.connect(remote)
        transport.close()
        with pytest.raises(Closed):
            transport.restart(remote)
        transport.send_rtcp(rtcp())
        port.close()

    asyncio.run(main())
