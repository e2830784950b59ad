"""The seam into aioice's TURN client (RFC 8656): how it fails, in words, and what is worth another try.

aioice leaves a candidate out when its server fails, and says so to nobody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aioice import stun

GATHER_S = 5.0  # how long a server has to answer while candidates are gathered
PORTS = 3  # to try at a server that takes a new client for one that had its port before

_MISMATCH = 437
_Relay = TypeVar("_Relay")

_CODES = {
    400: "it does not understand the request",
    401: "it refused the username or the password",
    403: "it forbids this",
    _MISMATCH: "it takes this client for another one, which used the same port",
    441: "it refused the username: the allocation is another user's",
    442: "it does not relay UDP",
    486: "this user has as many allocations as the server allows",
    508: "it has no port left to relay with",
}


async def allocated(allocate: Callable[[], Awaitable[_Relay]]) -> _Relay:
    """What `allocate` returns, which opens a port of its own each time it is called.

    A server keeps the allocation of a client that vanished for ten minutes, and refuses whoever is given that
    one's port meanwhile; RFC 8656 section 7.4 has them try three ports.
    """
    for _ in range(PORTS - 1):
        try:
            return await allocate()
        except stun.TransactionFailed as error:
            if _code(error)[0] != _MISMATCH:
                raise
    return await allocate()


def _code(error: stun.TransactionFailed) -> tuple[int, str]:
    code, text = error.response.attributes.get("ERROR-CODE", (0, "an error without a code"))
    return code, text


def why(error: BaseException | None) -> str:
    """Why a STUN or TURN server gave nothing; None stands for no answer in `GATHER_S`."""
    if isinstance(error, stun.TransactionFailed):
        code, text = _code(error)
        return f"{_CODES.get(code, text)} ({code} {text})" if code else text
    if isinstance(error, socket.gaierror):
        return "no such host is known"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error}"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if error is None or isinstance(error, (stun.TransactionTimeout, TimeoutError, asyncio.CancelledError)):
        return "no answer"
    return str(error) or type(error).__name__


def problem(url: str, error: BaseException | None) -> str:
    """One sentence about a server that failed."""
    return f"{url} gave no relay: {why(error)}"
