"""What anybody on the network may send: nothing breaks, and the others' media goes on."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator

import pytest
from aioice import stun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtclab.rtp.drops import Drop
from rtclab.transport import secure
from rtclab.transport.port import UdpPort
from rtclab.transport.transport import Transport
from stock_client import Received, Stranger, connected, open_port, rtcp, rtp, until


class Rig:
    """A live port with one connected client, for many examples."""

    def __init__(self, batched: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.sequence = 0
        self.loop.run_until_complete(self._open(batched))

    async def _open(self, batched: bool) -> None:
        self.port: UdpPort = open_port(batched=batched)
        self.transport: Transport
        self.stranger: Stranger
        self.got: Received
        self.transport, self.stranger, self.got, _ = await connected(self.port)
        self.outsider = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def media_flows(self) -> None:
        self.sequence += 1
        packet = rtp(self.sequence)
        await self.stranger.send(packet)
        await until(lambda: self.got and self.got[-1] == packet, "the other client's media")

    def close(self) -> None:
        async def close() -> None:
            await self.stranger.close()
            self.port.close()

        self.loop.run_until_complete(close())
        self.outsider.close()
        self.loop.close()


@pytest.fixture(scope="module", params=[True, False], ids=["batched", "plain"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = Rig(request.param)
    yield rig
    rig.close()


# every protocol's first byte, and lengths around every limit
datagrams = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda first, rest, size: (bytes([first]) + rest).ljust(size, rest[:1] or b"\0"),
        st.sampled_from([0, 1, 3, 4, 19, 20, 22, 23, 63, 64, 127, 128, 144, 191, 192, 255]),
        st.binary(max_size=60),
        st.sampled_from([1, 2, 11, 12, 13, 21, 22, 30, 1200, 1500, 1501, 2047, 2048, 2049, 9000]),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(datagrams, min_size=1, max_size=30))
def test_noise_from_outside(rig: Rig, batch: list[bytes]) -> None:
    for datagram in batch:
        rig.outsider.sendto(datagram, ("127.0.0.1", rig.port.port))
    rig.loop.run_until_complete(rig.media_flows())
    assert rig.transport.state == "connected"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(datagrams, min_size=1, max_size=30))
def test_noise_from_a_validated_source(rig: Rig, batch: list[bytes]) -> None:
    async def main() -> None:
        for datagram in batch:
            await rig.stranger.ice._send(datagram)
        await rig.media_flows()

    rig.loop.run_until_complete(main())
    assert rig.transport.state == "connected"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damaged_packets_of_every_kind(rig: Rig, seed: int) -> None:
    generator = random.Random(seed)
    stranger, transport = rig.stranger, rig.transport
    rig.sequence += 1
    assert stranger.dtls._tx_srtp is not None
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = f"{transport.ufrag}:{stranger.parameters.ufrag}"
    check.add_message_integrity(b"not the password")
    record = bytes.fromhex("17fefd0001000000000005") + (30).to_bytes(2, "big") + generator.randbytes(30)
    good = [
        stranger.dtls._tx_srtp.protect(rtp(rig.sequence, generator.randbytes(50), ssrc=7)),
        stranger.dtls._tx_srtp.protect_rtcp(rtcp()),
        bytes(check),
        record,
    ]

    async def main() -> None:
        for _ in range(40):
            data = bytearray(generator.choice(good))
            for _ in range(generator.randrange(1, 6)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            cut = generator.randrange(len(data)) if generator.random() < 0.3 else len(data)
            await stranger.ice._send(bytes(data[:cut]))
        await rig.media_flows()

    rig.loop.run_until_complete(main())
    assert transport.state == "connected"


def test_a_replayed_packet_is_counted(rig: Rig) -> None:
    async def main() -> None:
        before = rig.transport.drops[Drop.SRTP_REPLAY]
        assert rig.stranger.dtls._tx_srtp is not None
        packet = rig.stranger.dtls._tx_srtp.protect(rtp(1, ssrc=99))
        await rig.stranger.ice._send(packet)
        await rig.stranger.ice._send(packet)
        await until(lambda: rig.transport.drops[Drop.SRTP_REPLAY] == before + 1)

    rig.loop.run_until_complete(main())


def test_a_client_has_only_so_many_ssrcs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure, "MAX_SSRCS", 5)

    async def main() -> None:
        port = open_port()
        transport, stranger, got, got_rtcp = await connected(port)
        for ssrc in range(10):
            await stranger.send(rtp(1, ssrc=ssrc))
        await stranger.send(rtcp(2000))
        await until(lambda: transport.drops[Drop.UNKNOWN_SSRC] == 6)
        await stranger.send(rtp(2, ssrc=4))
        await until(lambda: len(got) == 6)
        assert got_rtcp == []
        await stranger.close()
        port.close()

    asyncio.run(main())
