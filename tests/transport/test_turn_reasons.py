"""Why a TURN server gave no relay, in words."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from aioice import stun

from rtclab.transport.turn import problem, why


def refusal(code: int, text: str) -> stun.TransactionFailed:
    message = stun.Message(stun.Method.ALLOCATE, stun.Class.ERROR)
    if code:
        message.attributes["ERROR-CODE"] = (code, text)
    return stun.TransactionFailed(message)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal(401, "Unauthorized"), "it refused the username or the password (401 Unauthorized)"),
        (refusal(486, "Quota"), "this user has as many allocations as the server allows (486 Quota)"),
        (refusal(599, "Odd"), "Odd (599 Odd)"),
        (refusal(0, ""), "an error without a code"),
        (socket.gaierror(-2, "Name or service not known"), "no such host is known"),
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens there"),
        (ssl.SSLError(1, "certificate verify failed"), "TLS failed: "),
        (stun.TransactionTimeout(), "no answer"),
        (asyncio.CancelledError(), "no answer"),
        (None, "no answer"),
        (ConnectionError(), "ConnectionError"),
    ],
)
def test_each_failure_has_its_words(error: BaseException | None, says: str) -> None:
    assert why(error).startswith(says)
    assert problem("turn:a", error).startswith(f"turn:a gave no relay: {says}")
