"""A mesh of pages in Chromium that may use nothing but a real TURN server: through it, or a sentence."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import LIVE, SMALLER_CAPTURE, moves, open_page, publish_camera
from http_tools import serving
from rtclab.bench.coturn import Coturn
from rtclab.measure.ice import browser_pairs
from waiting import until


def test_pages_reach_each_other_through_the_rooms_relays(
    browser: Browser, tabs: list[Page], coturn: Coturn
) -> None:
    servers = [coturn.ice_server()]
    with (
        rtclab.Room(architecture="mesh", ice_servers=servers, ice_transport_policy="relay") as room,
        serving(room) as server,
    ):
        tabs += [open_page(browser, server.description["url"], SMALLER_CAPTURE) for _ in range(2)]
        publish_camera(tabs[0], "alice")
        for page in tabs:
            moves(page, "alice")

        def direct() -> set[tuple[str, str]]:
            pairs = browser_pairs(room.signaling)
            pairs = pairs[(pairs["connection"] != "room") & pairs["selected"]]
            return set(zip(pairs["local_type"], pairs["remote_type"], strict=True))

        until(direct, "no page has told of a direct connection")
        # to who is reached first, the other's relay is peer-reflexive: its candidate is told later
        assert direct() <= {("relay", "relay"), ("relay", "prflx")}


def test_refused_credentials_are_told_where_the_pages_meet(
    browser: Browser, tabs: list[Page], coturn: Coturn
) -> None:
    servers = [coturn.ice_server(credential="wrong")]
    with (
        rtclab.Room(architecture="mesh", ice_servers=servers, ice_transport_policy="relay") as room,
        serving(room) as server,
    ):
        tabs += [open_page(browser, server.description["url"], SMALLER_CAPTURE) for _ in range(2)]
        publish_camera(tabs[0], "alice")
        for page, widget in zip((tabs[0], *tabs), ("publisher", "viewer", "viewer"), strict=True):
            shown = page.locator(f"[data-rtclab={widget}]")
            # the room's own media would go by the WebSocket: that there is no relay is told all the same
            expect(shown).to_contain_text("WebSocket", timeout=LIVE)
            expect(shown).to_contain_text("The TURN server gives no relay.", timeout=LIVE)
            expect(shown).to_contain_text(re.compile(r"refused the username or the password \(401"))
            expect(shown).to_contain_text("ice_servers")
