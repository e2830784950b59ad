"""Media through the tunnel in Chromium: camera and microphone go up, others come down, without UDP."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import rtclab
from browser_tools import KEEP_SOCKETS, LIVE, grab, moves, open_page, publish_camera
from coded_camera import CODED_CAMERA, FPS, in_order, record, recorded, watch
from http_tools import serving
from room_tools import readable_numbers
from rtclab.measure import read_frame_code
from waiting import until

MOST_SKEW_S = 0.08
BEEPS = 5


@pytest.fixture(scope="module")
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio", transport="websocket") as room:
        yield room


@pytest.fixture(scope="module")
def alice(browser: Browser, room: rtclab.Room) -> Iterator[Page]:
    """A page that publishes its camera and watches everybody, in the tunnel both."""
    with serving(room) as server:
        page = open_page(browser, server.description["url"], CODED_CAMERA + KEEP_SOCKETS, bypass_csp=True)
        publish_camera(page, "alice")
        moves(page, "alice")
        yield page
        page.context.close()


def picture(page: Page, name: str) -> Locator:
    return page.locator(f"article[data-participant={name}] video")


def come_in_sync(video: Locator) -> None:
    """Wait until some beeps in a row fit the pictures that were seen."""
    skew_s: list[float] = []

    def fit() -> bool:
        skew_s.extend(watch(video, 3).skew_s)
        newest = skew_s[-BEEPS:]
        return len(newest) == BEEPS and statistics.median(map(abs, newest)) <= MOST_SKEW_S

    until(fit, lambda: f"sound and picture are not in sync: {skew_s}", 60)


def shown_width(page: Page, width: int) -> None:
    """Wait until the page shows alice's picture in a width."""
    condition = "([video, width]) => video.videoWidth === width"
    page.wait_for_function(
        condition, arg=[picture(page, "alice").element_handle(), width], timeout=LIVE, polling=100
    )


def test_what_one_publishes_comes_back_whole_and_in_sync(alice: Page, room: rtclab.Room) -> None:
    for widget in ("publisher", "viewer"):
        card = alice.locator(f"[data-rtclab={widget}]")
        expect(card).to_have_attribute("data-status", "live", timeout=LIVE)
        expect(card).to_contain_text('Media: WebSocket, because the room was made with transport="websocket"')
        for phase in ("ICE", "DTLS"):
            expect(card.locator(f"[data-phase={phase}]")).to_have_attribute("data-state", "skipped")
    shown_width(alice, 640)
    video = picture(alice, "alice")
    record(video)
    come_in_sync(video)
    assert in_order(recorded(alice))
    shown_width(alice, 640)
    assert video.evaluate("(video) => video.videoHeight") == 480
    (participant,) = (one for one in room.participants if one.name == "alice")
    assert participant.transport == "websocket"


def test_who_has_udp_and_who_has_not_see_each_other(alice: Page, room: rtclab.Room) -> None:
    bob = room.join("bob")
    # a picture at once, though the page sends no keyframe unasked
    numbers = readable_numbers(bob.watch("alice", timeout=20), 5)
    assert len(numbers) == 5
    assert all(later >= earlier for earlier, later in pairwise(numbers))
    bob.publish(rtclab.TestPattern(320, 180, fps=15))
    moves(alice, "bob")
    frames = [read_frame_code(frame) for frame in grab(picture(alice, "bob"), 4)]
    shown = [code.frame for code in frames if code is not None]
    assert len(shown) > 1
    assert shown == sorted(set(shown))
    assert {one.name: one.transport for one in room.participants if one.name == "bob"} == {"bob": "webrtc"}
    bob.leave()
    expect(alice.locator("article[data-participant=bob]")).to_have_count(0, timeout=LIVE)


def test_layers_are_switched(alice: Page, room: rtclab.Room) -> None:
    layer = alice.get_by_role("combobox", name="Layer")
    for rid, width in (("q", 160), ("f", 640)):
        expect(layer.get_by_role("option", name=re.compile(f"^{rid}"))).to_have_count(1, timeout=LIVE)
        layer.select_option(rid)
        shown_width(alice, width)
    layer.select_option("auto")


def test_muted_switched_off_stopped_and_started(alice: Page, room: rtclab.Room) -> None:
    def press(name: str) -> None:
        alice.get_by_role("button", name=name, exact=True).click()

    mute = alice.locator("[data-rtclab=publisher]").get_by_role("button", name="Mute")
    mute.click()
    expect(alice.locator("article .rtclab-tags")).to_contain_text("muted", timeout=LIVE)
    until(lambda: silent(alice), "muted, and yet to be heard")
    mute.click()
    until(lambda: heard(alice) > 0, "unmuted, and not to be heard")
    press("Camera off")
    expect(alice.locator("article")).to_contain_text("The picture is off.", timeout=LIVE)
    press("Camera off")
    moves(alice, "alice")
    press("Stop")
    expect(alice.locator("article")).to_have_count(0, timeout=LIVE)
    press("Start")
    moves(alice, "alice")
    until(lambda: heard(alice) > 0, "started again, and not to be heard")


def heard(page: Page) -> int:
    """How many beeps of alice's are to be heard in some time."""
    return watch(picture(page, "alice"), 1.5).beeps


def silent(page: Page) -> bool:
    """Whether more than a second of alice's pictures goes by without a beep."""
    seen = watch(picture(page, "alice"), 2.5)
    return seen.beeps == 0 and len(seen.numbers) > 1 and seen.numbers[-1] - seen.numbers[0] > 1.5 * FPS


def test_a_lost_socket_is_opened_again_and_frames_go_on(alice: Page, room: rtclab.Room) -> None:
    before = {one.name: one.id for one in room.participants}
    moves(alice, "alice")
    record(picture(alice, "alice"))
    alice.evaluate("for (const socket of rtclabSockets.splice(0)) socket.close(3000)")
    expect(alice.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "live", timeout=LIVE)
    moves(alice, "alice", 20)
    assert in_order(recorded(alice))
    assert {one.name: one.id for one in room.participants} == before
