"""A viewer whose line is slow for a while is given a smaller layer meanwhile, and told why."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import LIVE, moves, open_page
from http_tools import serving
from shaper import Shaper
from tunnel_rig import Camera, page
from waiting import until

SMALL, LARGE = 160, 320
SLOW_BPS, SLOW_DELAY_S = 150_000, 0.05  # the larger layer takes twice as much
PATIENCE_S = 90  # it waits ten seconds before it tries more, and twice as long after it has failed


@contextmanager
def line_to(room: rtclab.Room) -> Iterator[Shaper]:
    """A line to the room's page."""
    with serving(room) as server:
        address = urlsplit(server.description["url"])
        line = Shaper(lambda: socket.create_connection((address.hostname, address.port)))
        yield line
        line.close()


@pytest.fixture
def studio() -> Iterator[tuple[rtclab.Room, Shaper]]:
    with rtclab.Room("studio", transport="websocket") as room, line_to(room) as line:
        yield room, line


@pytest.mark.timeout(300)
def test_a_viewer_of_a_slow_line_has_a_smaller_layer_meanwhile(
    browser: Browser, studio: tuple[rtclab.Room, Shaper], tabs: list[Page]
) -> None:
    room, line = studio
    viewer = open_page(browser, f"http://127.0.0.1:{line.port}/", "")
    tabs.append(viewer)

    def given() -> tuple[str, str]:
        """The layer that the viewer gets, and why it is not the best."""
        stats = room.stats()
        (row,) = stats[(stats.direction == "out") & (stats.kind == "video")].to_dict("records")
        return row["layer"], row["reason"] if isinstance(row["reason"], str) else ""

    def shows(width: int) -> None:
        shown = "document.querySelector('article[data-participant=alice] video')?.videoWidth"
        viewer.wait_for_function(f"(width) => {shown} === width", arg=width, timeout=1000 * PATIENCE_S)
        moves(viewer, "alice", 20)

    alice = page(room, "alice")
    alice.open()
    mid, _ = alice.publish(rids=("q", "h"))
    with Camera(alice, mid, width=SMALL, rid="q"), Camera(alice, mid, width=LARGE, rid="h", grain=60):
        shows(LARGE)
        assert given() == ("h", "")
        line.shape(SLOW_BPS, SLOW_DELAY_S)
        until(lambda: given() == ("q", "bandwidth"), given, PATIENCE_S)
        shows(SMALL)
        expect(viewer.locator("article")).to_contain_text("the way to here carries no more", timeout=LIVE)
        line.shape(None)
        until(lambda: given() == ("h", ""), given, PATIENCE_S)
        shows(LARGE)
