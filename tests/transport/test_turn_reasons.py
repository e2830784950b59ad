"""Why a TURN server gave no relay, in words; and whose port was another client's before tries another."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from aioice import stun

from rtclab.transport.turn import PORTS, allocated, problem, why


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


@pytest.mark.parametrize(
    ("code", "refusals", "tries"), [(437, 1, 2), (437, 2, 3), (437, 9, PORTS), (401, 9, 1)]
)
def test_another_port_is_tried_for_a_mismatch_only(code: int, refusals: int, tries: int) -> None:
    calls = 0

    async def allocate() -> str:
        nonlocal calls
        calls += 1
        if calls <= refusals:
            raise refusal(code, "Mismatch")
        return "relay"

    if refusals < tries:
        assert asyncio.run(allocated(allocate)) == "relay"
    else:
        with pytest.raises(stun.TransactionFailed):
            asyncio.run(allocated(allocate))
    assert calls == tries
