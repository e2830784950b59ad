"""The tunnel in browsers that have less than Chromium; what they lack is deleted before the page runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import LIVE, grab, moves, open_page, publish_camera
from coded_camera import SMALL_CODED_CAMERA, in_order, record, recorded, watch
from http_tools import serving
from waiting import until

Open = Callable[..., Page]


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio", transport="websocket") as room:
        yield room


@pytest.fixture
def without(browser: Browser, room: rtclab.Room, tabs: list[Page]) -> Iterator[Open]:
    """Open the room's page in a browser that lacks some names."""
    with serving(room) as server:

        def open_without(*names: str) -> Page:
            script = "".join(f"delete window.{name};\n" for name in names)
            tabs.append(
                open_page(browser, server.description["url"], SMALL_CODED_CAMERA + script, bypass_csp=True)
            )
            return tabs[-1]

        yield open_without


def test_without_track_processors_and_generators(without: Open) -> None:
    page = without("MediaStreamTrackProcessor", "MediaStreamTrackGenerator")
    publish_camera(page, "alice")
    moves(page, "alice")
    video = page.locator("article video")
    record(video)
    moves(page, "alice", 10)
    assert in_order(recorded(page))
    until(lambda: watch(video, 2).beeps, "no beep is heard")


def test_without_webcodecs_one_sees_pictures_and_is_told(without: Open, room: rtclab.Room) -> None:
    bob = room.join("bob")
    bob.publish(rtclab.TestPattern(320, 180, fps=15))
    page = without("VideoEncoder", "VideoDecoder", "AudioEncoder", "AudioDecoder")
    moves(page, "bob")
    frames = grab(page.locator("article[data-participant=bob] video"), 4)
    assert frames[0].std() > 10
    assert (frames[0] != frames[-1]).any()
    viewer = page.locator("[data-rtclab=viewer]")
    expect(viewer).to_contain_text("pictures only, without sound: this page has no WebCodecs")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    publish_camera(page, "alice")
    publisher = page.locator("[data-rtclab=publisher]")
    expect(publisher).to_contain_text("cannot send it without UDP: it has no WebCodecs", timeout=LIVE)
    expect(publisher).not_to_contain_text("pictures only")
    expect(publisher).to_have_attribute("data-status", "waiting")
    moves(page, "bob")
