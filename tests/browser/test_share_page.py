"""The page of share links in Chromium: a phone that watches, and one that may publish."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import rtclab
from browser_tools import LIVE, OVERFLOW, grab

HERE = "127.0.0.1:0"
HEIGHT = 740

# What a browser makes of a page that came over plain http from another machine.
INSECURE = """
Object.defineProperty(window, "isSecureContext", { get: () => false });
delete Navigator.prototype.mediaDevices;
"""


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio") as room:
        room.join("bob").publish(rtclab.TestPattern(320, 180, fps=15))
        yield room


def test_a_phone_watches_and_nothing_else(empty_page: Page, room: rtclab.Room) -> None:
    page = empty_page
    page.set_viewport_size({"width": 360, "height": HEIGHT})
    share = room.share(listen=HERE)
    page.goto(share.url)
    viewer = page.locator("[data-rtclab=viewer]")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    frames = grab(viewer.get_by_role("listitem", name="bob").locator("video"), 6)
    assert frames[0].std() > 10
    assert len({frame.tobytes() for frame in frames}) > 2, "it moves"
    expect(page.locator("#about")).to_contain_text("You can watch until")
    expect(page.get_by_label("Your name")).to_be_hidden()
    expect(page.locator("[data-rtclab=publisher]")).to_have_count(0)
    assert len(share.people) == 1
    for width in (320, 360, 1200):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        assert page.evaluate(OVERFLOW) == [], width

    share.revoke()
    expect(viewer).to_have_attribute("data-status", "ended", timeout=LIVE)
    expect(viewer.get_by_role("status").filter(has_text="This link was revoked")).to_be_visible()
    expect(viewer.get_by_role("button", name="Connect again")).to_be_hidden()
    assert share.people == []
    page.reload()
    expect(viewer).to_have_attribute("data-status", "ended", timeout=LIVE)
    expect(viewer).to_contain_text("This link was revoked; ask whoever sent it for a new one.")
    page.goto(room.share(listen=HERE).url)  # in the same tab: only what follows the # differs
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)


def test_over_plain_http_it_says_why_it_cannot_capture(empty_page: Page, room: rtclab.Room) -> None:
    page = empty_page
    page.set_viewport_size({"width": 360, "height": HEIGHT})
    page.add_init_script(INSECURE)
    page.goto(room.share("participant", listen=HERE).url)
    publisher, viewer = (page.locator(f"[data-rtclab={name}]") for name in ("publisher", "viewer"))
    expect(publisher).to_contain_text("may use no camera, microphone or screen", timeout=LIVE)
    expect(publisher).to_contain_text("plain http")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    page.get_by_label("Your name").fill("carol")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(publisher).to_have_attribute("data-status", "live", timeout=LIVE)
    assert {track.source for track in room.tracks if track.participant == "carol"} == {
        "pattern",
        "pattern-audio",
    }
    for width in (320, 360, 1200):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        assert page.evaluate(OVERFLOW) == [], width
