"""A room with full ICE: calls directly and through a real TURN server at both ends, and its errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import rtclab
from room_tools import frame_numbers
from rtclab.bench.coturn import Coturn
from rtclab.errors import IceServerError, NegotiationError
from rtclab.transport.full import FullTransport


def small() -> rtclab.TestPattern:
    return rtclab.TestPattern(160, 90, fps=15)


def transports(room: rtclab.Room) -> Sequence[FullTransport]:
    found = [member.transport for member in room._server.members.values()]
    assert all(isinstance(transport, FullTransport) for transport in found)
    return found  # type: ignore[return-value]


def call(room: rtclab.Room) -> None:
    """Two see each other."""
    peers = [room.join(name) for name in ("alice", "bob")]
    for peer in peers:
        peer.publish(small())
    for peer, other in (peers, reversed(peers)):
        assert len(frame_numbers(peer.watch(other.name), 3)) == 3


def test_a_call_without_any_server() -> None:
    with rtclab.Room(ice="full") as room:
        call(room)
        answers = [entry.message["sdp"] for entry in room.signaling if entry.message["type"] == "answer"]
        assert not any("a=ice-lite" in sdp for sdp in answers)
        assert all("a=end-of-candidates" in sdp for sdp in answers)
        assert [transport.state for transport in transports(room)] == ["connected", "connected"]
        assert [one.address for one in room.participants] == [one.selected for one in transports(room)]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_with_relays_at_both_ends(coturn: Coturn, transport: str) -> None:
    relay: dict[str, Any] = {"ice_servers": [coturn.ice_server(transport)], "ice_transport_policy": "relay"}
    with rtclab.Room(ice="full", **relay) as room:
        call(room)
        assert [one.way for one in transports(room)] == [("relay", "relay")] * 2
        assert all(not one.drops for one in transports(room))


def test_relays_at_both_ends_are_reached_by_tls(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Coturn(certificate=certificate) as coturn:
        relay: dict[str, Any] = {"ice_servers": [coturn.ice_server("tls")], "ice_transport_policy": "relay"}
        with rtclab.Room(ice="full", **relay) as room:
            call(room)
            assert [one.way for one in transports(room)] == [("relay", "relay")] * 2
        wrong = {**relay, "ice_servers": [coturn.ice_server("tls", "wrong")]}
        with (
            rtclab.Room(ice="full", **wrong) as room,
            pytest.raises(IceServerError, match=r"refused the username or the password \(401"),
        ):
            room.join("alice").publish(small())


@pytest.mark.parametrize("architecture", ["mcu", "relay"])
def test_other_architectures_reach_it_too(architecture: str) -> None:
    with rtclab.Room(ice="full", architecture=architecture, size=(160, 90), fps=10) as room:
        room.join("alice").publish(small())
        assert room.join("bob").watch("alice").next_frame(20).shape[2] == 3


def test_a_relay_that_the_room_does_not_get_is_an_error_of_the_client(coturn: Coturn) -> None:
    given = iter([coturn.ice_server(), coturn.ice_server(credential="wrong")])
    with rtclab.Room(ice="full", ice_servers=lambda: [next(given)], ice_transport_policy="relay") as room:
        alice = room.join("alice")
        with pytest.raises(NegotiationError, match=r"no way to its clients.*\(401 Unauthorized\)") as failed:
            alice.publish(small())
        assert failed.value.code == "ice_servers"
        assert room.tracks == []


def test_a_relay_that_is_not_needed_is_only_missed(coturn: Coturn, caplog: pytest.LogCaptureFixture) -> None:
    wrong = coturn.ice_server(credential="wrong")
    with rtclab.Room(ice="full", ice_servers=[wrong]) as room, caplog.at_level(logging.WARNING, "rtclab"):
        call(room)
    messages = [entry.getMessage() for entry in caplog.records if entry.name == "rtclab.transport.agent"]
    assert any("gave no relay: it refused the username or the password" in message for message in messages)


def test_a_client_that_leaves_while_candidates_are_gathered_leaves_nothing_behind(coturn: Coturn) -> None:
    with rtclab.Room(ice="full", ice_servers=[coturn.ice_server()]) as room:
        with room.join("alice") as alice:
            alice.publish(small())
        assert room.participants == []
        desk = room._server._full
        assert desk is not None
        assert (desk._ready, desk._tasks) == ({}, {})
    assert room._port.paths.tunnels == {}


def test_another_kind_of_ice_is_a_mistake() -> None:
    with pytest.raises(IceServerError, match='ice must be "lite" or "full"'):
        rtclab.Room(ice="half")
