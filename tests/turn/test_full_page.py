"""Chromium and a room with full ICE: candidates trickle in, relays at both ends, an ICE restart."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import KEEP_CONNECTIONS, LIVE, SMALL_CAPTURE, moves, open_page, publish_camera
from http_tools import serving
from rtclab.bench.coturn import Coturn
from rtclab.engine import get_engine
from rtclab.transport.full import FullTransport
from waiting import until

# what a page does about a network that was lost, without waiting until it is
RESTART = """async () => {
  const changed = new Promise((resolve) => {
    for (const pc of rtclabConnections) pc.addEventListener("signalingstatechange", () => {
      if (pc.signalingState === "stable") resolve(true);
    });
  });
  for (const pc of rtclabConnections) {
    Object.defineProperty(pc, "iceConnectionState", { get: () => "failed", configurable: true });
    pc.dispatchEvent(new Event("iceconnectionstatechange"));
    delete pc.iceConnectionState;
  }
  return changed;
}"""


def transport_of(room: rtclab.Room, name: str) -> FullTransport:
    members = room._server.members.values()
    transport = next(member.transport for member in members if member.name == name)
    assert isinstance(transport, FullTransport)
    return transport


def standing(room: rtclab.Room, transport: FullTransport) -> str:
    """Why no new pair is in use yet."""
    now = "the same" if transport_of(room, "alice") is transport else "given up"
    pairs = [f"{pair} {pair.state.name}" for pair in transport.agent._check_list]
    messages = [f"{entry.direction} {entry.message['type']}" for entry in room.signaling][-12:]
    return f"the transport is {now}, {transport.state}, pairs {pairs}; last messages {messages}"


@pytest.mark.parametrize("policy", ["all", "relay"])
def test_a_call_both_ways_and_a_restart(
    browser: Browser, tabs: list[Page], coturn: Coturn, policy: str
) -> None:
    options: dict[str, Any] = {"ice_servers": [coturn.ice_server()], "ice_transport_policy": policy}
    with rtclab.Room("studio", ice="full", transport="webrtc", **options) as room, serving(room) as server:
        room.join("bob").publish(rtclab.TestPattern(160, 90, fps=15))
        page = open_page(browser, server.description["url"], KEEP_CONNECTIONS + SMALL_CAPTURE)
        tabs.append(page)
        publish_camera(page, "alice")
        moves(page, "bob")
        video = room.join("carol").watch("alice", timeout=20)
        assert video.next_frame(20).shape[2] == 3
        trickled = [entry for entry in room.signaling if entry.message["type"] == "candidate"]
        assert trickled
        transport = transport_of(room, "alice")
        former, before = transport.agent, transport.ufrag

        page.evaluate(RESTART)
        until(lambda: transport.agent is not former, "nothing is begun anew")
        get_engine().run(former.close())  # Chromium may stay with a pair that still works
        until(lambda: transport.agent is transport._ice, lambda: standing(room, transport), LIVE / 1000)
        moves(page, "bob")
        assert transport_of(room, "alice") is transport
        assert transport.ufrag != before
        if policy == "relay":
            assert transport.way == ("relay", "relay")
        for _ in range(video.received - video.dropped):
            video.next_frame(20)
        assert video.next_frame(20).shape[2] == 3
        expect(page.locator("[data-rtclab=publisher]")).to_have_attribute("data-status", "live")
