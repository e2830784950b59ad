"""What a full ICE agent gathers: sockets, how a STUN server sees them, relays over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rtclab.bench.coturn import Coturn
from rtclab.errors import IceServerError
from rtclab.netlab.stun_server import respond
from rtclab.rtp.drops import Drops
from rtclab.signaling.ice_servers import shared_secret_credentials
from rtclab.transport import agent as module
from rtclab.transport.agent import Agent
from rtclab.transport.servers import Policy, Server, checked, each

OUTSIDE = ("203.0.113.7", 40000)


def servers(*given: Any) -> list[list[Server]]:
    return [list(each([one])) for one in checked(given)]


def gathered(
    groups: list[list[Server]], policy: Policy = "all", hosts: tuple[str, ...] = ("127.0.0.1",)
) -> tuple[list[str], list[str]]:
    """Candidate lines and problems of an agent that is closed again."""

    async def main() -> tuple[list[str], list[str]]:
        agent = Agent(hosts, groups, policy, lambda data: None, Drops())
        try:
            await agent.gather()
            return agent.lines(), agent.problems
        finally:
            await agent.close()

    return asyncio.run(main())


def types(lines: list[str]) -> list[str]:
    return [line.split()[7] for line in lines]


class Nat(asyncio.DatagramProtocol):
    """A STUN server that sees everybody at `OUTSIDE`, as one beyond a NAT does."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.transport.sendto(respond(data, OUTSIDE), addr)


def beyond_a_nat(test: Callable[[str], Awaitable[None]]) -> None:
    async def main() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Nat, local_addr=("127.0.0.1", 0)
        )
        await test(f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}")
        transport.close()

    asyncio.run(main())


def test_host_candidates_come_in_order_and_absent_addresses_are_left_out() -> None:
    lines, problems = gathered([], hosts=("127.0.0.1", "203.0.113.9", "::1"))
    assert [line.split()[4] for line in lines] == ["127.0.0.1", "::1"]
    assert types(lines) == ["host", "host"]
    assert problems == []


def test_a_stun_server_tells_the_address_outside_of_a_nat() -> None:
    async def test(url: str) -> None:
        agent = Agent(("127.0.0.1", "::1"), servers(url), "all", lambda data: None, Drops())
        await agent.gather()
        assert types(agent.lines()) == ["host", "host", "srflx"]
        assert agent.lines()[2].split()[4:6] == [OUTSIDE[0], str(OUTSIDE[1])]
        assert "raddr 127.0.0.1" in agent.lines()[2]
        await agent.close()

    beyond_a_nat(test)


def test_a_stun_server_that_sees_the_same_address_adds_nothing(coturn: Coturn) -> None:
    lines, problems = gathered(servers(f"stun:127.0.0.1:{coturn.port}"))
    assert types(lines) == ["host"]
    assert problems == []


def test_a_stun_server_that_is_silent_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.1)
    lines, problems = gathered(servers("stun:127.0.0.1:9"))
    assert types(lines) == ["host"]
    assert problems == ["stun:127.0.0.1:9 does not say how it sees this machine: no answer"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_relay_is_allocated(coturn: Coturn, transport: str) -> None:
    turn = coturn.ice_server(transport)
    lines, problems = gathered(servers(turn))
    assert types(lines) == ["host", "relay"]
    assert problems == []
    lines, _ = gathered(servers(turn), "relay")
    assert types(lines) == ["relay"]
    assert "raddr 0.0.0.0 rport 9" in lines[0]  # what is not to be used is not told


def test_tls_and_credentials_of_a_shared_secret(
    coturn: Coturn, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with Coturn(secret="north", certificate=certificate) as secured:
        username, credential = shared_secret_credentials("north", now)
        turn = {"urls": secured.url("tls"), "username": username, "credential": credential}
        with pytest.raises(IceServerError, match="TLS failed"):  # nobody knows who signed the certificate
            gathered(servers(turn), "relay")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert types(gathered(servers(turn), "relay")[0]) == ["relay"]
        username, credential = shared_secret_credentials("north", now, -1)
        ended = {"urls": secured.url(), "username": username, "credential": credential}
        with pytest.raises(IceServerError, match="401"):
            gathered(servers(ended), "relay")
        with pytest.raises(IceServerError, match=r"turns:.* gave no relay: it refused .* \(401"):
            gathered(servers({**turn, "credential": "wrong"}), "relay")


def test_the_next_url_is_tried_when_one_fails(coturn: Coturn) -> None:
    turn = coturn.ice_server()
    several = {**turn, "urls": ["turn:127.0.0.1:9?transport=tcp", coturn.url("tcp"), coturn.url("udp")]}
    lines, problems = gathered(servers(several), "relay")
    assert types(lines) == ["relay"]
    assert problems == []


def test_each_group_gives_a_relay_or_a_reason(coturn: Coturn) -> None:
    wrong = coturn.ice_server(credential="wrong")
    wrong_by_tcp = coturn.ice_server("tcp", "wrong")
    given = servers(coturn.ice_server(), wrong, coturn.ice_server("tcp"), wrong_by_tcp)
    lines, problems = gathered(given, "relay")
    assert types(lines) == ["relay", "relay"]
    assert set(problems) == {  # they are asked at the same time
        f"{url} gave no relay: it refused the username or the password (401 Unauthorized)"
        for url in (coturn.url(), coturn.url("tcp"))
    }


def test_without_any_way_the_error_has_all_reasons(coturn: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 1.5)
    silent = {"urls": "turn:127.0.0.1:9", "username": "lab", "credential": "learn"}
    with pytest.raises(IceServerError) as failed:
        gathered(servers(coturn.ice_server(credential="wrong"), silent), "relay")
    assert "the room has no way to its clients" in str(failed.value)
    assert "(401 Unauthorized)" in str(failed.value)
    assert "turn:127.0.0.1:9 gave no relay: no answer" in str(failed.value)
