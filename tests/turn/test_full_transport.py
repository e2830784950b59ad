"""One client on a full-ICE transport: a stranger connects, restarts, falls silent; nobody else gets in."""

from __future__ import annotations

import asyncio
import random
import socket

import numpy as np
import pytest
from aiortc.rtcicetransport import RTCIceParameters
from aiortc.sdp import candidate_from_sdp

from rtclab.errors import Closed
from rtclab.rtp.drops import Drop
from rtclab.transport.batch import Clients, SendBatch
from rtclab.transport.full import FullIce, FullTransport
from rtclab.transport.ice import DISCONNECTED_AFTER, EXPIRED_AFTER
from rtclab.transport.port import UdpPort
from rtclab.transport.transport import State
from stock_client import LIMIT, Received, Stranger, open_port, rtcp, rtp, until


async def start_ice(stranger: Stranger, transport: FullTransport) -> None:
    """Check all of the room's candidates, as a client with its answer does."""
    for line in transport.candidates():
        await stranger.ice.addRemoteCandidate(candidate_from_sdp(line.removeprefix("candidate:")))
    await stranger.ice.addRemoteCandidate(None)
    await asyncio.wait_for(stranger.ice.start(RTCIceParameters(transport.ufrag, transport.pwd)), LIMIT)


async def connected(port: UdpPort, role: str = "client") -> tuple[FullTransport, Stranger, Received]:
    stranger = Stranger(role)
    await stranger.gather()
    transport = FullIce(port).new_transport()
    transport.on_rtp = got = Received()
    await transport.prepare(stranger.parameters)
    transport.connect(stranger.parameters)
    await start_ice(stranger, transport)
    await stranger.start_dtls(transport)  # type: ignore[arg-type]
    await until(lambda: transport.state == "connected", "a connected transport")
    return transport, stranger, got


def address(stranger: Stranger) -> tuple[str, int]:
    candidate = stranger.gatherer.getLocalCandidates()[0]
    return candidate.ip, candidate.port


@pytest.mark.parametrize("role", ["client", "server"])
def test_media_goes_both_ways_and_the_fan_out_reaches_it(role: str) -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got = await connected(port, role)
        assert not transport.lite
        assert transport.selected == address(stranger)
        assert transport.way in (("host", "prflx"), ("host", "host"))
        assert transport.srtp_profile in ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM")
        assert list(transport.times) == ["connect", "ICE nominated", "DTLS connected"]
        for number in range(3):
            await stranger.send(rtp(number))
        await until(lambda: len(got) == 3)
        assert got[2] == rtp(2)

        batch = SendBatch(port.paths)
        packets = [rtp(7, b"first"), rtp(8, b"other")]
        for slot, packet in enumerate(packets):
            batch.arena[slot, : len(packet)] = np.frombuffer(packet, np.uint8)
        lengths = [len(packet) for packet in packets]
        assert batch.send(Clients(np.array([transport.row])), lengths) == {}
        transport.send_rtcp(rtcp())
        batch.arena[0, :8] = np.frombuffer(rtcp(5678), np.uint8)
        assert batch.send(Clients(np.array([transport.row])), [8], rtcp=True) == {}
        await until(lambda: len(stranger.rtp) == len(stranger.rtcp) == 2)
        assert (stranger.rtp, stranger.rtcp) == (packets, [rtcp(), rtcp(5678)])
        assert transport.drops == {}
        await stranger.close()
        transport.close()
        port.close()

    asyncio.run(main())


def test_an_ice_restart_keeps_dtls_and_the_old_pair_until_there_is_another() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got = await connected(port)
        old = transport.ufrag
        again = Stranger()
        await again.gather()
        with pytest.raises(Closed, match="prepared"):
            transport.restart(again.parameters)
        await transport.prepare(again.parameters)
        assert transport.prepared(again.parameters.ufrag)
        transport.restart(again.parameters)
        assert transport.ufrag != old
        await stranger.send(rtp(1))
        await until(lambda: len(got) == 1, "media by the old pair meanwhile")
        assert transport.selected == address(stranger)

        await start_ice(again, transport)
        await until(lambda: transport.selected == address(again), "the new pair")
        stranger.dtls._transport = again.ice  # its DTLS goes on by the new path
        await stranger.send(rtp(2))
        await until(lambda: len(got) == 2)
        assert transport.state == "connected"
        await stranger.ice.stop()
        await again.close()
        await stranger.dtls.stop()
        transport.close()
        port.close()

    asyncio.run(main())


def test_silence_is_followed_by_the_clock_and_healed_by_a_restart() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, _ = await connected(port)
        states: list[State] = []
        transport.on_state = states.append
        now = port.time()
        transport.tick(now + DISCONNECTED_AFTER + 0.1)
        transport.tick(now + EXPIRED_AFTER + 0.1)
        assert states == ["disconnected", "failed"]
        transport.send_rtcp(rtcp())
        assert transport.drops == {Drop.NOT_CONNECTED: 1}

        again = Stranger()
        await again.gather()
        await transport.prepare(again.parameters)
        transport.restart(again.parameters)
        await start_ice(again, transport)
        await until(lambda: transport.selected == address(again), "the new pair")
        transport.tick(port.time())
        assert states[2:] == ["disconnected", "connected"]
        await again.ice.stop()
        await stranger.close()
        transport.close()
        port.close()

    asyncio.run(main())


def test_what_strangers_send_goes_nowhere() -> None:
    async def main() -> None:
        port = open_port()
        transport, stranger, got = await connected(port)
        hosts = [line.split() for line in transport.candidates()]
        ipv4 = next((words[4], int(words[5])) for words in hosts if words[4] == "127.0.0.1")
        generator = random.Random(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for first in (0, 1, 20, 22, 128, 200, 255):
                for length in (1, 20, 200, 1500):
                    other.sendto(bytes([first]) + generator.randbytes(length - 1), ipv4)
            other.sendto(b"", ipv4)
            await until(lambda: transport.drops[Drop.UNKNOWN_SOURCE] >= 20 and transport.drops[Drop.EMPTY])
        assert set(transport.drops) <= {Drop.UNKNOWN_SOURCE, Drop.BAD_STUN, Drop.EMPTY}
        await stranger.send(rtp(1))
        await until(lambda: len(got) == 1)
        await stranger.close()
        transport.close()
        port.close()

    asyncio.run(main())


def test_candidates_that_make_no_sense_are_counted_and_only_so_many_are_taken() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = FullIce(port).new_transport()
        await transport.prepare(stranger.parameters)
        wrong = (
            "candidate:",
            "x",
            "candidate:1 1 udp x 127.0.0.1 9 typ host",
            "candidate:1 1 udp 1 nowhere 9 typ host",
        )
        for line in wrong:
            transport.add_candidate(line)
        transport.add_candidate("")  # the end of candidates
        transport.add_candidate("candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active")
        transport.add_candidate("candidate:1 1 udp 1 127.0.0.1 9 typ host ufrag other")
        assert transport.drops == {Drop.BAD_CANDIDATE: len(wrong)}
        for number in range(100):
            transport.add_candidate(f"candidate:{number} 1 udp 1 127.0.0.1 {1000 + number} typ host")
        assert transport.drops == {Drop.BAD_CANDIDATE: len(wrong) + 100 - 64}
        transport.close()
        transport.add_candidate("candidate:1 1 udp 1 127.0.0.1 9 typ host")
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_a_candidate_that_comes_before_its_offer_is_prepared_for_waits() -> None:
    async def main() -> None:
        port = open_port()
        stranger = Stranger()
        await stranger.gather()
        transport = FullIce(port).new_transport()
        ufrag = stranger.parameters.ufrag
        transport.add_candidate(f"candidate:1 1 udp 1 192.0.2.1 9 typ relay ufrag {ufrag}")
        await transport.prepare(stranger.parameters)
        await until(lambda: transport.agent.remote_candidates, "the candidate")
        assert transport.agent.remote_candidates[0].host == "192.0.2.1"
        transport.close()
        await stranger.close()
        port.close()

    asyncio.run(main())


def test_closing_gives_the_row_and_the_sockets_back() -> None:
    async def main() -> None:
        port = open_port()
        hall = FullIce(port)
        transport, stranger, _ = await connected(port)
        other = hall.new_transport()
        preparing = asyncio.ensure_future(other.prepare(stranger.parameters))
        await asyncio.sleep(0)
        other.close()
        with pytest.raises(Closed):
            await preparing
        await hall.finished()
        closed: list[State] = []
        transport.on_state = closed.append
        transport.close()
        transport.close()
        assert closed == ["closed"]
        await transport._hall.finished()
        assert len(port.paths) == 0
        assert port.paths.tunnels == {}
        await stranger.close()
        port.close()

    asyncio.run(main())
