"""One client's connection: a socket, ICE checks as the full agent of RFC 8445, DTLS, and the SRTP keys.

Only as much ICE as a server on the same host needs: one pair of candidates, checked until it answers. The
client nominates, or, where the server made the offer, lets the server nominate and answers its checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import socket
import struct

from aioice import stun

from ..errors import RtclabError
from ..transport.dtls import Certificate, Dtls, State
from ..transport.ice import new_credentials
from ..transport.receive import stamp_arrivals
from .offers import Local, Remote

CHECK_S = 0.05
TIMEOUT_S = 15.0
RECEIVE_BUFFER = 1 << 20  # bytes
_PRIORITY = 110 << 24 | 65535 << 8 | 255  # peer reflexive, as a check says (RFC 8445 section 7.1.1)


@functools.cache
def certificate() -> Certificate:
    """The certificate of all clients of this process."""
    made: Certificate = Certificate.generateCertificate()
    return made


class Link:
    """A client's connection to a media server.

    Attributes
    ----------
    local : Local
        What the client says in its SDP.
    receive_context, send_context : int
        libsrtp contexts, once connected.
    profile : str or None
        The SRTP profile, once connected.
    """

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        stamp_arrivals(self.socket)
        self.socket.bind(("", 0))  # Janus is never on loopback
        self.fd = self.socket.fileno()
        self.local = Local(new_credentials(), certificate().fingerprint, self.socket.getsockname()[1])
        self.early = 0  # SRTP packets that came before the connection was handed over
        self._dtls = Dtls(certificate(), self.send, self._dtls_changed)
        self._remote: Remote | None = None
        self._checked = asyncio.Event()
        self._nominated = asyncio.Event()
        self._connected = asyncio.Event()
        self._tie_breaker = secrets.randbits(64)

    @property
    def receive_context(self) -> int:
        """The libsrtp context of what comes in."""
        return self._dtls.receive_context

    @property
    def send_context(self) -> int:
        """The libsrtp context of what goes out."""
        return self._dtls.send_context

    @property
    def profile(self) -> str | None:
        """The SRTP profile."""
        return self._dtls.profile

    async def connect(self, remote: Remote) -> None:
        """ICE and DTLS; afterwards the socket is no longer read here.

        Raises
        ------
        rtclab.errors.RtclabError
            It took longer than 15 s or failed.
        """
        loop = asyncio.get_running_loop()
        self._remote = remote
        self.socket.connect(remote.address)
        loop.add_reader(self.fd, self._readable)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not self._checked.is_set():
                    self.send(self._check(remote))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._checked.wait(), CHECK_S)
                if remote.controlling:
                    await self._nominated.wait()
                self._dtls.start("server" if remote.setup == "active" else "client", remote.fingerprints)
                await self._connected.wait()
        except TimeoutError:
            phase = "DTLS" if self._checked.is_set() else "ICE"
            raise RtclabError(f"a client of the benchmark hung in {phase}") from None
        finally:
            loop.remove_reader(self.fd)
        if self._dtls.state != "connected":
            raise RtclabError("a DTLS handshake of the benchmark failed")

    def send(self, datagram: bytes | memoryview) -> None:
        """Send one datagram; what the kernel does not take is lost, as on a network."""
        with contextlib.suppress(OSError):
            self.socket.send(datagram)

    def answer_check(self, data: bytes) -> None:
        """Take a STUN datagram: the server's answer, or a check of its own."""
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error, IndexError):
            return
        if message.message_class == stun.Class.RESPONSE:
            self._checked.set()
        elif message.message_class == stun.Class.REQUEST and self._remote is not None:
            response = stun.Message(
                stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=message.transaction_id
            )
            response.attributes["XOR-MAPPED-ADDRESS"] = self._remote.address
            response.add_message_integrity(self.local.ice.pwd.encode())
            self.send(bytes(response))
            if "USE-CANDIDATE" in message.attributes:
                self._nominated.set()

    def close(self) -> None:
        """Say good-bye and close the socket."""
        self._dtls.close()
        self.socket.close()

    def _check(self, remote: Remote) -> bytes:
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{remote.ice.ufrag}:{self.local.ice.ufrag}"
        request.attributes["PRIORITY"] = _PRIORITY
        if remote.controlling:
            request.attributes["ICE-CONTROLLED"] = self._tie_breaker
        else:
            request.attributes["ICE-CONTROLLING"] = self._tie_breaker
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(remote.ice.pwd.encode())
        return bytes(request)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            while not self._connected.is_set():
                data = self.socket.recv(2048)
                if not data:
                    continue
                if data[0] < 4:
                    self.answer_check(data)
                elif 19 < data[0] < 64:
                    self._dtls.receive(data)
                else:
                    self.early += 1

    def _dtls_changed(self, state: State) -> None:
        if state in ("connected", "failed", "closed"):
            self._connected.set()
