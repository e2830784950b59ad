"""Headless participants whose media goes through a real TURN server, or who are told why it does not."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import rtclab
from room_tools import frame_numbers, ice_connection
from rtclab.bench.coturn import Coturn
from rtclab.errors import IceServerError


def small() -> rtclab.TestPattern:
    return rtclab.TestPattern(160, 90, fps=15)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(("architecture", "via"), [("sfu", "room"), ("mesh", "direct")])
def test_a_call_both_ways_goes_through_relays_only(
    coturn: Coturn, transport: str, architecture: str, via: str
) -> None:
    relay: dict[str, Any] = {"ice_servers": [coturn.ice_server(transport)], "ice_transport_policy": "relay"}
    with rtclab.Room(architecture=architecture, **relay) as room:
        peers = [room.join(name) for name in ("alice", "bob")]
        for peer in peers:
            peer.publish(small())
        for peer, other in (peers, reversed(peers)):
            video = peer.watch(other.name)
            assert len(frame_numbers(video, 3)) == 3
            assert video.via == via
        used = [ice_connection(peer)._nominated[1].local_candidate for peer in peers]
        assert [candidate.type for candidate in used] == ["relay", "relay"]
        assert [one.address for one in room.participants] == [(one.host, one.port) for one in used]


def test_refused_credentials_are_a_sentence(coturn: Coturn) -> None:
    wrong = coturn.ice_server(credential="wrong")
    with rtclab.Room(ice_servers=[wrong], ice_transport_policy="relay") as room:
        with pytest.raises(IceServerError, match=r"refused the username or the password \(401"):
            room.join("alice").publish(small())
        assert room.tracks == []


def test_a_server_that_nobody_runs_is_a_sentence() -> None:
    nobody = {"urls": "turn:127.0.0.1:9?transport=tcp", "username": "lab", "credential": "learn"}
    with (
        rtclab.Room(ice_servers=[nobody], ice_transport_policy="relay") as room,
        pytest.raises(IceServerError, match=r"127\.0\.0\.1:9 gave no relay: nothing listens there"),
    ):
        room.join("alice").publish(small())


def test_without_a_relay_the_direct_way_is_taken_and_the_reason_logged(
    coturn: Coturn, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = coturn.ice_server(credential="wrong")
    with rtclab.Room(ice_servers=[wrong]) as room, caplog.at_level(logging.WARNING, "rtclab.peers"):
        room.join("alice").publish(small())
        assert len(frame_numbers(room.join("bob").watch("alice"), 2)) == 2
    assert "gave no relay: it refused the username or the password" in caplog.text
