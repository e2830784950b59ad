"""A tunnel gives way to WebRTC when UDP gets through, and stands in for it when that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import LIVE, moves, open_page, publish_camera
from coded_camera import SMALL_CODED_CAMERA, in_order, record, recorded
from http_tools import on_engine, serving
from rtclab.engine import get_engine
from udp_line import UdpLine

MOST_AT_TAKEOVER_S = 10.0
MOST_AT_LOSS_S = 25.0  # the browser takes about 6 to notice


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio") as room:
        yield room


@pytest.fixture
def line(room: rtclab.Room) -> Iterator[UdpLine]:
    line = UdpLine(room.udp_port, whole=False)
    yield line
    line.close()


@pytest.fixture
def page(browser: Browser, room: rtclab.Room, line: UdpLine) -> Iterator[Page]:
    with serving(room) as server:
        page = open_page(browser, server.description["url"], SMALL_CODED_CAMERA + line.by_line)
        publish_camera(page, "alice")
        yield page
        page.context.close()


def expect_way(page: Page, words: str) -> None:
    """Wait until both widgets say why media go by WebSocket, or without words, that they do not."""
    for widget in ("publisher", "viewer"):
        routes = page.locator(f"[data-rtclab={widget}]").get_by_role("status", name="Ways to the room")
        if words:
            expect(routes).to_contain_text(f"Media: WebSocket, because {words}", timeout=LIVE)
        else:
            expect(routes).not_to_contain_text("Media:", timeout=LIVE)


def goes_on(page: Page) -> float:
    """Wait for some more pictures; since `record` none was black, and none older than one before it.

    Returns the longest time between two of them, in seconds.
    """
    moves(page, "alice", 20)
    pictures = recorded(page)
    assert in_order(pictures), pictures
    record(page.locator("article video"))
    return max(later.time - earlier.time for earlier, later in pairwise(pictures))


def transports(room: rtclab.Room) -> set[str]:
    return {one.transport for one in room.participants}


def test_webrtc_takes_over_is_lost_and_comes_back(page: Page, room: rtclab.Room, line: UdpLine) -> None:
    expect_way(page, "UDP did not get through")
    moves(page, "alice")
    assert transports(room) == {"websocket"}
    record(page.locator("article video"))
    line.whole = True
    expect_way(page, "")
    assert goes_on(page) < MOST_AT_TAKEOVER_S
    assert transports(room) == {"webrtc"}
    line.whole = False
    expect_way(page, "UDP does not get through any more")
    assert goes_on(page) < MOST_AT_LOSS_S
    line.whole = True
    expect_way(page, "")
    assert goes_on(page) < MOST_AT_TAKEOVER_S
    assert transports(room) == {"webrtc"}


def test_what_the_room_has_given_up_is_offered_again(page: Page, room: rtclab.Room, line: UdpLine) -> None:
    line.whole = True
    expect_way(page, "")
    moves(page, "alice")
    line.whole = False

    def give_up() -> None:
        for member in room._server.members.values():
            assert member.transport is not None
            member.transport.tick(get_engine().loop.time() + 60)
            assert member.transport.state == "failed"

    on_engine(give_up)
    assert room.tracks == []
    expect_way(page, "UDP does not get through any more")
    moves(page, "alice")
    assert {track.participant for track in room.tracks} == {"alice"}
    line.whole = True
    expect_way(page, "")
    moves(page, "alice")
