"""A page in Chromium that may use nothing but a real TURN server, or says why there is no relay."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import KEEP_CONNECTIONS, LIVE, SMALL_CAPTURE, moves, open_page, publish_camera, wait_for
from http_tools import serving
from rtclab.bench.coturn import Coturn

USED = """async () => {
  const found = [];
  for (const pc of rtclabConnections) {
    const stats = await pc.getStats();
    for (const pair of stats.values()) {
      if (pair.type !== "candidate-pair" || !pair.nominated || pair.state !== "succeeded") continue;
      const local = stats.get(pair.localCandidateId);
      found.push([local.candidateType, local.relayProtocol ?? null]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_both_ways_goes_through_a_relay(
    browser: Browser, tabs: list[Page], coturn: Coturn, transport: str
) -> None:
    servers = [coturn.ice_server(transport)]
    with (
        rtclab.Room("studio", transport="webrtc", ice_servers=servers, ice_transport_policy="relay") as room,
        serving(room) as server,
    ):
        room.join("bob").publish(rtclab.TestPattern(160, 90, fps=15))
        page = open_page(browser, server.description["url"], KEEP_CONNECTIONS + SMALL_CAPTURE)
        tabs.append(page)
        publish_camera(page, "alice")
        moves(page, "bob")
        assert room.join("carol").watch("alice", timeout=20).next_frame(20).shape[2] == 3
        wait_for(page, "candidate-pair", "reports.some(({ nominated }) => nominated)")
        used = page.evaluate(USED)
        assert used
        assert {tuple(pair) for pair in used} == {("relay", transport)}


def test_refused_credentials_are_told_at_once_and_not_a_spinner(
    browser: Browser, tabs: list[Page], coturn: Coturn
) -> None:
    servers = [coturn.ice_server(credential="wrong")]
    with (
        rtclab.Room("studio", transport="webrtc", ice_servers=servers, ice_transport_policy="relay") as room,
        serving(room) as server,
    ):
        page = open_page(browser, server.description["url"], "")
        tabs.append(page)
        viewer = page.locator("[data-rtclab=viewer]")
        expect(viewer).to_contain_text("The TURN server gives no relay.", timeout=LIVE)
        expect(viewer).to_contain_text(
            re.compile(r"turn:127\.0\.0\.1:\d+\?transport=udp refused the username or the password \(401")
        )
        expect(viewer).to_contain_text("ice_transport_policy")
