"""The seam into aiortc's DTLS: `RTCDtlsTransport` on a link of our own.

DTLS (RFC 6347, RFC 9147) runs inside aiortc and OpenSSL and yields the SRTP keys (RFC 5764). Of its ICE
transport `RTCDtlsTransport` uses three members, `_recv`, `_send` and `role`, which `_Link` has. Only DTLS
records reach it: it dies of an empty datagram, and the port decrypts SRTP itself. The room is the DTLS server
unless the offer says ``setup:passive``, because the server chooses the SRTP profile and AES-GCM costs half of
AES-CM with SHA-1. The client is authenticated by the fingerprint in its offer alone (RFC 8122).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

import aiortc
from aiortc import rtcdtlstransport as stock
from OpenSSL import SSL

from . import srtp

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 15.0  # s
MAX_WAITING = 64  # datagrams
MIN_RECORD = 13  # bytes of a DTLS record header

Role = Literal["server", "client"]
State = Literal["new", "connecting", "connected", "failed", "closed"]

_PROFILES = [
    profile
    for profile in (stock.SRTP_AEAD_AES_128_GCM, stock.SRTP_AEAD_AES_256_GCM, stock.SRTP_AES128_CM_SHA1_80)
    if profile in stock.SRTP_PROFILES
]


class Certificate(stock.RTCCertificate):
    """A self-signed ECDSA P-256 certificate; all transports of a room share it and its SSL context."""

    _context: SSL.Context | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest as it stands in SDP, for instance ``"4A:AD:.."``."""
        return stock.certificate_digest(self._cert, "sha-256")

    def _create_ssl_context(self, srtp_profiles: list[stock.SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            context = super()._create_ssl_context(srtp_profiles=srtp_profiles)
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # a resumed session would skip the fingerprint
            context.set_options(SSL.OP_NO_RENEGOTIATION)
            context.set_mode(SSL.MODE_RELEASE_BUFFERS)
            self._context = context
        return self._context


class _Link:
    """What `RTCDtlsTransport` takes for its ICE transport."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send: Callable[[bytes], None] | None = send
        self._waiting: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def push(self, datagram: bytes) -> bool:
        if self.send is None or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(datagram)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True

    def close(self) -> None:
        self.send = None
        self._waiting.clear()

    async def _recv(self) -> bytes:
        while not self._waiting:
            if self.send is None:
                raise ConnectionError
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._waiting.popleft()

    async def _send(self, datagram: bytes) -> None:
        if self.send is None:
            raise ConnectionError
        self.send(datagram)


class Dtls:
    """One client's DTLS session.

    Parameters
    ----------
    certificate : Certificate
        The room's.
    send : callable
        Sends one datagram to the client; must not block.
    on_state : callable
        Called with each new state.

    Attributes
    ----------
    state : str
        ``"new"``, ``"connecting"``, ``"connected"``, ``"failed"`` or ``"closed"``.
    profile : str or None
        The SRTP profile, once connected, for instance ``"AEAD_AES_128_GCM"``.
    receive_context, send_context : int
        Pointers to libsrtp contexts, 0 while not connected; good until `close`, and for as long as `sessions`
        is kept.
    """

    def __init__(
        self, certificate: Certificate, send: Callable[[bytes], None], on_state: Callable[[State], None]
    ) -> None:
        self.state: State = "new"
        self.profile: str | None = None
        self.receive_context = 0
        self.send_context = 0
        self._on_state: Callable[[State], None] | None = on_state
        self._link = _Link(send)
        self._stock = stock.RTCDtlsTransport(self._link, [certificate])  # type: ignore[arg-type]
        self._stock._srtp_profiles = _PROFILES
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def sessions(self) -> tuple[object, object]:
        """The owners of the libsrtp contexts."""
        return self._stock._rx_srtp, self._stock._tx_srtp

    def start(self, role: Role, fingerprints: Sequence[tuple[str, str]]) -> None:
        """Begin the handshake, in a task; `on_state` tells how it ends.

        Parameters
        ----------
        role : {"server", "client"}
            This side's role.
        fingerprints : sequence of (algorithm, value)
            From the offer; those of a known algorithm must all match, and one must be known.
        """
        self._stock._set_role(role)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HANDSHAKE_TIMEOUT, self._fail, "no handshake in time")
        self._set_state("connecting")
        self._task = loop.create_task(self._handshake(fingerprints), name="rtclab-dtls-handshake")

    def receive(self, datagram: bytes) -> bool:
        """Take a datagram that is a DTLS record; False when the queue is full or the session is over."""
        return self._link.push(datagram)

    def close(self) -> None:
        """Send close_notify and end; more calls do nothing."""
        if self.state != "closed":
            if self.state != "new":
                self._end()
            self._set_state("closed")
        self._on_state = None

    async def _handshake(self, fingerprints: Sequence[tuple[str, str]]) -> None:
        parameters = stock.RTCDtlsParameters(
            [stock.RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        )
        try:
            await self._stock.start(parameters)
        except Exception:
            logger.warning("a DTLS handshake failed unexpectedly", exc_info=True)
        if self.state != "connecting":  # before Python 3.12 wait_for may swallow a cancellation
            return
        self._task = None
        connection = self._stock._ssl
        if self._stock._state is not stock.State.CONNECTED or connection is None:
            self._fail("handshake failed")
            return
        self._cancel_timer()
        self.profile = connection.get_selected_srtp_profile().decode().removeprefix("SRTP_")
        self.receive_context = srtp.context_pointer(self._stock._rx_srtp)
        self.send_context = srtp.context_pointer(self._stock._tx_srtp)
        self._stock.on("statechange", self._stock_changed)
        self._set_state("connected")

    def _stock_changed(self) -> None:
        if self._stock._state is stock.State.CLOSED:  # close_notify came in
            self.close()

    def _fail(self, reason: str) -> None:
        if self.state == "connecting":
            logger.debug("DTLS: %s", reason)
            self._say_why()
            self._end()
            self._set_state("failed")

    def _say_why(self) -> None:
        """Send the alert of a failed handshake, or take leave of a client that is not the offer's."""
        connection = self._stock._ssl
        if connection is not None:
            with contextlib.suppress(SSL.Error):
                connection.shutdown()
            _finish(self._stock._write_ssl())

    def _end(self) -> None:
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._stock.remove_all_listeners()
        _finish(self._stock.stop())
        self._link.close()
        self.receive_context = self.send_context = 0

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_state(self, state: State) -> None:
        self.state = state
        if self._on_state is not None:
            self._on_state(state)


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to its end a coroutine that awaits nothing but `_Link._send`, which never waits."""
    try:
        coroutine.send(None)
    except (StopIteration, ConnectionError):
        return
    coroutine.close()
    raise RuntimeError("aiortc's DTLS transport waited where it never did before")


def _check_seam() -> None:
    """Refuse an aiortc whose DTLS transport has changed."""
    transport = stock.RTCDtlsTransport
    known = set(transport.__init__.__code__.co_names) | set(dir(transport))
    wanted = {"_set_role", "_write_ssl", "stop", "_srtp_profiles", "_rx_srtp", "_tx_srtp", "_ssl", "_state"}
    link = set(transport._recv_next.__code__.co_names) & set(dir(_Link)) - set(dir(object))
    if not wanted <= known or link != {"_recv"} or "_send" not in transport._write_ssl.__code__.co_names:
        raise ImportError(f"aiortc {aiortc.__version__} has a DTLS transport that rtclab does not know")


_check_seam()
