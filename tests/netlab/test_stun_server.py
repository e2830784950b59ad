"""The STUN server of a notebook: it says what it has seen, and nothing to what is no question."""

from __future__ import annotations

import asyncio

import pytest
from aioice import Connection, stun
from hypothesis import given
from hypothesis import strategies as st

from rtclab.netlab.stun_server import StunServer, respond


def test_it_tells_the_source_of_a_question() -> None:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    answer = respond(bytes(request), ("203.0.113.7", 4000))
    assert answer is not None
    message = stun.parse_message(answer)
    assert message.transaction_id == request.transaction_id
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("203.0.113.7", 4000)


@pytest.mark.parametrize("kind", [stun.Class.INDICATION, stun.Class.RESPONSE, stun.Class.ERROR])
def test_only_questions_are_answered(kind: stun.Class) -> None:
    assert respond(bytes(stun.Message(stun.Method.BINDING, kind)), ("203.0.113.7", 4000)) is None
    assert (
        respond(bytes(stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)), ("203.0.113.7", 4000)) is None
    )


@given(st.binary(max_size=100))
def test_nothing_else_is_answered(data: bytes) -> None:
    assert respond(data, ("203.0.113.7", 4000)) is None


def test_a_stock_agent_uses_it() -> None:
    async def main() -> None:
        server = await StunServer().open()
        host, port = server.url.removeprefix("stun:").split(":")
        agent = Connection(ice_controlling=True, stun_server=(host, int(port)), use_ipv6=False)
        await agent.gather_candidates()
        kinds = [candidate.type for candidate in agent.local_candidates]
        assert kinds.count("srflx") == kinds.count("host") == server.answered
        await agent.close()
        server.close()

    asyncio.run(main())
