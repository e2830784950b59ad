"""A client that shares nothing with the code under test: aiortc's own ICE and DTLS transports, and a NAT."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from unittest import mock

import aioice.ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceCandidate, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceParameters

from rtclab.transport.port import UdpPort
from rtclab.transport.transport import RemoteParameters, Transport

LIMIT = 30.0  # s, for every wait

_certificate = RTCCertificate.generateCertificate()


def rtp(sequence: int, payload: bytes = b"payload", ssrc: int = 1234) -> bytes:
    """A plain RTP packet."""
    return struct.pack("!BBHII", 0x80, 96, sequence & 0xFFFF, sequence * 3000, ssrc) + payload


def rtcp(ssrc: int = 1234) -> bytes:
    """An empty receiver report."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a condition that the event loop will bring about."""
    deadline = asyncio.get_running_loop().time() + LIMIT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited {LIMIT} s for {what}"
        await asyncio.sleep(0.002)


class Received(list[bytes]):
    """A callback of `Transport.on_rtp` or `on_rtcp` that keeps what it is given."""

    def __call__(self, buffer: memoryview, length: int, now: float) -> None:
        self.append(bytes(buffer[:length]))


class Stranger:
    """A stock client.

    Parameters
    ----------
    role : {"client", "server"}
        Its DTLS role.
    host : str
        Its own address.
    """

    def __init__(self, role: str = "client", host: str = "127.0.0.1") -> None:
        self.role = role
        self.host = host
        self.gatherer = RTCIceGatherer(iceServers=[])
        self.gatherer._connection.ice_controlling = True
        self.ice = RTCIceTransport(self.gatherer)
        self.dtls = RTCDtlsTransport(self.ice, [_certificate])
        self.dtls._set_role(role)
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.dtls._handle_rtp_data = self._on_rtp  # type: ignore[method-assign]
        self.dtls._handle_rtcp_data = self._on_rtcp  # type: ignore[method-assign]

    @property
    def parameters(self) -> RemoteParameters:
        """What its offer would say."""
        local = self.gatherer.getLocalParameters()
        fingerprints = tuple((f.algorithm, f.value) for f in self.dtls.getLocalParameters().fingerprints)
        assert local.usernameFragment is not None
        assert local.password is not None
        setup = "passive" if self.role == "server" else "actpass"
        return RemoteParameters(local.usernameFragment, local.password, fingerprints, setup)

    async def gather(self) -> None:
        """Open its socket; loopback is what aioice would leave out."""
        with mock.patch.object(aioice.ice, "get_host_addresses", return_value=[self.host]):
            await self.gatherer.gather()

    async def connect(self, transport: Transport, address: tuple[str, int]) -> None:
        """ICE and DTLS with a transport that waits at `address`."""
        await self.start_ice(transport, address)
        await self.start_dtls(transport)

    async def start_ice(self, transport: Transport, address: tuple[str, int]) -> None:
        """Check and nominate the one candidate."""
        candidate = RTCIceCandidate(1, "1", address[0], address[1], 1, "udp", "host")
        await self.ice.addRemoteCandidate(candidate)
        await self.ice.addRemoteCandidate(None)
        answer = RTCIceParameters(transport.ufrag, transport.pwd, iceLite=True)
        await asyncio.wait_for(self.ice.start(answer), LIMIT)

    async def start_dtls(self, transport: Transport) -> None:
        """Shake hands."""
        fingerprints = [RTCDtlsFingerprint("sha-256", transport.fingerprint)]
        await asyncio.wait_for(self.dtls.start(RTCDtlsParameters(fingerprints)), LIMIT)

    async def send(self, packet: bytes) -> None:
        """Send an RTP or RTCP packet."""
        await self.dtls._send_rtp(packet)

    async def close(self) -> None:
        """Leave, with a close_notify."""
        await self.dtls.stop()
        await self.ice.stop()

    async def _on_rtp(self, data: bytes, arrival_time_ms: int) -> None:
        self.rtp.append(data)

    async def _on_rtcp(self, data: bytes) -> None:
        self.rtcp.append(data)


async def connected(
    port: UdpPort, host: str = "127.0.0.1", role: str = "client"
) -> tuple[Transport, Stranger, Received, Received]:
    """A transport on `port` with a stranger connected to it, and what it receives: RTP and RTCP."""
    stranger = Stranger(role, host)
    await stranger.gather()
    transport = port.new_transport()
    transport.on_rtp, transport.on_rtcp = got_rtp, got_rtcp = Received(), Received()
    transport.connect(stranger.parameters)
    await stranger.connect(transport, (host, port.port))
    await until(lambda: transport.state == "connected", "a connected transport")
    return transport, stranger, got_rtp, got_rtcp


async def recheck(stranger: Stranger, transport: Transport, nominate: bool = False) -> None:
    """One more connectivity check of the stranger's, as its consent timer would send."""
    connection = stranger.gatherer._connection
    pair = connection._nominated[1]
    request = connection.build_request(pair, nominate)
    await pair.protocol.request(
        request,
        pair.remote_addr,
        integrity_key=connection.remote_password.encode(),  # type: ignore[union-attr]
    )


def open_port(**options: object) -> UdpPort:
    """A port on loopback, started on the running loop."""
    port = UdpPort.open(hosts=["127.0.0.1", "::1"], **options)  # type: ignore[arg-type]
    port.start(asyncio.get_running_loop())
    return port


class Nat:
    """A NAT on loopback that can give its client a new outside port, as home routers do.

    Attributes
    ----------
    address : tuple of str and int
        Where the client sends to.
    lose : int
        How many of the next DTLS datagrams towards the client to lose.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._target = target
        self._client: tuple[str, int] | None = None
        self.lose = 0
        self._inside = self._socket()
        self._loop.add_reader(self._inside, self._outward)
        self._outside = self._socket()
        self._loop.add_reader(self._outside, self._inward)
        self.address: tuple[str, int] = self._inside.getsockname()

    @property
    def outside(self) -> tuple[str, int]:
        """The address that the server sees."""
        address: tuple[str, int] = self._outside.getsockname()
        return address

    def rebind(self) -> None:
        """Give the client a new outside port; the old one is gone."""
        self._drop(self._outside)
        self._outside = self._socket()
        self._loop.add_reader(self._outside, self._inward)

    def close(self) -> None:
        """Forget the client."""
        self._drop(self._inside)
        self._drop(self._outside)

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        return sock

    def _drop(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        sock.close()

    def _outward(self) -> None:
        data, self._client = self._inside.recvfrom(2048)
        self._outside.sendto(data, self._target)

    def _inward(self) -> None:
        data = self._outside.recv(2048)
        if self.lose and 19 < data[0] < 64:
            self.lose -= 1
        elif self._client is not None:
            self._inside.sendto(data, self._client)
