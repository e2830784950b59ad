"""The seam into aioice's TURN client (RFC 8656): how it fails, in words.

aioice leaves a candidate out when its server fails, and says so to nobody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from aioice import stun

GATHER_S = 5.0  # how long a server has to answer while candidates are gathered

_CODES = {
    400: "it does not understand the request",
    401: "it refused the username or the password",
    403: "it forbids this",
    437: "it does not know the allocation any more",
    441: "it refused the username: the allocation is another user's",
    442: "it does not relay UDP",
    486: "this user has as many allocations as the server allows",
    508: "it has no port left to relay with",
}


def why(error: BaseException | None) -> str:
    """Why a STUN or TURN server gave nothing; None stands for no answer in `GATHER_S`."""
    if isinstance(error, stun.TransactionFailed):
        code, text = error.response.attributes.get("ERROR-CODE", (0, "an error without a code"))
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
