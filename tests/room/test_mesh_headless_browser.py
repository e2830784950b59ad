"""A headless participant that publishes to a browser only after the browser has published to it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

import rtclab
from browser_tools import SMALL_CAPTURE, moves, open_page, publish_camera
from http_tools import serving


@pytest.mark.timeout(240)
def test_who_watches_first_publishes_later_on_the_same_connection(browser: Browser) -> None:
    with rtclab.Room("studio", architecture="mesh") as room, serving(room) as server:
        carol = room.join("carol")
        page = open_page(browser, server.description["url"], SMALL_CAPTURE)
        publish_camera(page, "alice")
        watched = carol.watch("alice", timeout=20)
        watched.next_frame(20)
        assert watched.via == "direct"
        client = carol._client
        assert client is not None
        connections = {link.name: link._connection for link in client._mesh._links.values()}
        for _ in range(2):  # the second time on the m-line of the first
            carol.publish(rtclab.TestPattern(160, 90, fps=10))
            moves(page, "carol")
            carol.unpublish()
        watched.next_frame(10)
        after = {link.name: link._connection for link in client._mesh._links.values()}
        assert after["alice"] is connections["alice"]
        page.context.close()
