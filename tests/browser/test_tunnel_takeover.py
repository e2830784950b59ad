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

FEW = 30  # numbers of the camera that a switch may cost on a busy machine

# Keeps what chooses the way where a test can make it try WebRTC again at once.
KEEP_CHOICES = """
window.rtclabChoices = [];
Object.defineProperty(Object.prototype, "retryAt", {
  configurable: true,
  set(value) {
    Object.defineProperty(this, "retryAt", { value, writable: true });
    window.rtclabChoices.push(this);
  },
});
"""

# Notes which number the camera was at when the browser noticed last that a connection was lost.
NOTE_LOSS = """
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...given) {
    super(...given);
    this.addEventListener("iceconnectionstatechange", () => {
      if (this.iceConnectionState !== "disconnected") return;
      window.rtclabNoticed = Math.max(...Object.keys(rtclabCoded.drawn));
    });
  }
};
"""


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
        page = open_page(
            browser, server.description["url"], SMALL_CODED_CAMERA + KEEP_CHOICES + NOTE_LOSS + line.by_line
        )
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


def retry(page: Page) -> None:
    """Let both widgets try WebRTC again now, not when half a minute is over."""
    page.evaluate("for (const choice of rtclabChoices) choice.retryAt = 0")


def goes_on(page: Page) -> list[int]:
    """Wait for some more pictures; since `record` none was black, and none older than one before it.

    Returns their numbers.
    """
    moves(page, "alice", 20)
    pictures = recorded(page)
    assert in_order(pictures), pictures
    record(page.locator("article video"))
    return [one.number for one in pictures if one.number is not None]


def left_out(numbers: list[int]) -> int:
    """The most numbers that were left out between two pictures."""
    return max(later - earlier - 1 for earlier, later in pairwise(numbers))


def transports(room: rtclab.Room) -> set[str]:
    return {one.transport for one in room.participants}


def test_webrtc_takes_over_is_lost_and_comes_back(page: Page, room: rtclab.Room, line: UdpLine) -> None:
    expect_way(page, "UDP did not get through")
    moves(page, "alice")
    assert transports(room) == {"websocket"}
    record(page.locator("article video"))
    line.whole = True
    retry(page)
    expect_way(page, "")
    assert left_out(goes_on(page)) < FEW
    assert transports(room) == {"webrtc"}
    line.whole = False
    expect_way(page, "UDP does not get through any more")
    numbers = goes_on(page)
    noticed = page.evaluate("rtclabNoticed")
    assert next(number for number in numbers if number > noticed) - noticed < FEW
    line.whole = True
    retry(page)
    expect_way(page, "")
    assert left_out(goes_on(page)) < FEW
    assert transports(room) == {"webrtc"}


def test_what_the_room_has_given_up_is_offered_again(page: Page, room: rtclab.Room, line: UdpLine) -> None:
    line.whole = True
    retry(page)
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
    retry(page)
    expect_way(page, "")
    moves(page, "alice")
