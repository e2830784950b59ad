"""The checks that a full ICE agent sends when the client's own arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aioice import stun

from rtclab.rtp.drops import Drops
from rtclab.transport.agent import Agent
from rtclab.transport.ice import Credentials, new_credentials

LIMIT_S = 30


class Browser(asyncio.DatagramProtocol):
    """A client's end of a path, which answers when it is told."""

    def __init__(self, agent: Agent, credentials: Credentials) -> None:
        self.agent, self.credentials = agent, credentials
        self.asked: asyncio.Queue[stun.Message] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        message = stun.parse_message(data)
        if message.message_class == stun.Class.REQUEST:
            self.asked.put_nowait(message)

    async def next_check(self) -> stun.Message:
        return await self.asked.get()

    def answer(self, check: stun.Message) -> None:
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, check.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = self._room
        answer.add_message_integrity(self.credentials.pwd.encode())
        self.transport.sendto(bytes(answer), self._room)

    def nominate(self) -> None:
        check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        check.attributes["USERNAME"] = f"{self.agent.local.ufrag}:{self.credentials.ufrag}"
        check.attributes["PRIORITY"] = 1
        check.attributes["ICE-CONTROLLING"] = 1
        check.attributes["USE-CANDIDATE"] = None
        check.add_message_integrity(self.agent.local.pwd.encode())
        self.transport.sendto(bytes(check), self._room)

    @property
    def _room(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.agent.lines()[0].split()[5])


def with_browsers(count: int, test: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Run a test of an agent that checks so many ends of a client."""

    async def main() -> None:
        agent, credentials = Agent(("127.0.0.1",), (), "all", lambda data: None, Drops()), new_credentials()
        await agent.gather()
        loop = asyncio.get_running_loop()
        browsers = []
        for _ in range(count):
            _, browser = await loop.create_datagram_endpoint(
                lambda: Browser(agent, credentials), local_addr=("127.0.0.1", 0)
            )
            browsers.append(browser)
        lines = [
            f"candidate:{place} 1 udp {1000 - place} 127.0.0.1 {browser.address[1]} typ host"
            for place, browser in enumerate(browsers)
        ]
        agent.expect(credentials, lines, loop.time())
        connecting = asyncio.ensure_future(agent.connect())
        try:
            await asyncio.wait_for(test(agent, connecting, *browsers), LIMIT_S)
        finally:
            await agent.close()
            await asyncio.gather(connecting, return_exceptions=True)
            for browser in browsers:
                browser.transport.close()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def nothing_is_repeated_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stun, "RETRY_RTO", 3600)


def test_a_check_that_was_lost_is_sent_again_when_the_client_s_arrives() -> None:
    async def test(agent: Agent, connecting: asyncio.Future[None], browser: Browser) -> None:
        lost = await browser.next_check()
        browser.nominate()
        check = await browser.next_check()
        assert check.transaction_id == lost.transaction_id  # an answer that is late counts, too
        browser.answer(check)
        await connecting
        assert agent.pair is not None
        assert agent.pair.remote_addr == browser.address

    with_browsers(1, test)


def test_a_pair_is_nominated_though_another_was_when_it_was_being_checked() -> None:
    async def test(agent: Agent, connecting: asyncio.Future[None], first: Browser, second: Browser) -> None:
        await second.next_check()
        first.nominate()
        first.answer(await first.next_check())
        await connecting
        second.nominate()
        second.answer(await second.next_check())
        await asyncio.gather(*(pair.task for pair in agent._check_list if pair.task))
        assert agent.pair is not None
        assert agent.pair.remote_addr == second.address

    with_browsers(2, test)
