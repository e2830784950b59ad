"""Addresses as the kernel's bytes, this host's addresses, and candidate lines."""

from __future__ import annotations

import ipaddress

import pytest
from aioice import Candidate
from hypothesis import given
from hypothesis import strategies as st

from rtclab.transport.addresses import candidate_lines, host_addresses, pack_name, unpack_name


@given(st.ip_addresses(), st.integers(0, 65535))
def test_names_round_trip(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    name = pack_name(str(address), port)
    assert len(name) == 28
    host, back = unpack_name(name)
    assert ipaddress.ip_address(host) == address
    assert back == port


def test_a_name_is_a_host_name_no_more() -> None:
    with pytest.raises(ValueError, match="localhost"):
        pack_name("localhost", 1)


def test_loopback_comes_last_and_link_local_ipv6_not_at_all() -> None:
    hosts = [ipaddress.ip_address(host) for host in host_addresses()]
    assert ipaddress.ip_address("127.0.0.1") in hosts
    loopback = [host.is_loopback for host in hosts]
    assert loopback == sorted(loopback)
    assert not any(host.is_link_local for host in hosts if host.version == 6)


def test_candidates_are_what_an_ice_agent_reads() -> None:
    lines = candidate_lines(["192.0.2.1", "2001:db8::1", "127.0.0.1"], 5000)
    candidates = [Candidate.from_sdp(line.removeprefix("candidate:")) for line in lines]
    assert [candidate.host for candidate in candidates] == ["192.0.2.1", "2001:db8::1", "127.0.0.1"]
    assert candidates[0].priority == 2130706431
    priorities = [candidate.priority for candidate in candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    assert len({candidate.foundation for candidate in candidates}) == 3
    assert {(c.component, c.port, c.type, c.transport) for c in candidates} == {(1, 5000, "host", "udp")}
