"""A room that changes its architecture while Chromium publishes and watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import (
    COUNT_CAPTURES,
    KEEP_CONNECTIONS,
    LIVE,
    SMALL_CAPTURE,
    grab,
    moves,
    open_page,
    publish_camera,
    start_publishing,
    stats,
    wait_for,
)
from http_tools import serving
from jupyterlab_driver import Notebook
from rtclab.forwarding.mcu import Mcu
from rtclab.measure import read_frame_code
from rtclab.mixing.canvas import SMALLEST_LABEL
from rtclab.mixing.text import label
from rtclab.serve import RoomServer
from waiting import until

Open = Callable[["str | Sequence[str]"], Notebook]


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio", size=(320, 180), fps=15) as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room) as server:
        yield server


@pytest.fixture
def alice(browser: Browser, server: RoomServer) -> Iterator[Page]:
    """A page that publishes its camera and watches everybody."""
    page = open_page(browser, server.description["url"], KEEP_CONNECTIONS + COUNT_CAPTURES + SMALL_CAPTURE)
    publish_camera(page, "alice")
    yield page
    page.context.close()


@pytest.mark.timeout(280)
def test_one_page_follows_through_all_four(alice: Page, room: rtclab.Room) -> None:
    carol = room.join("carol")
    carol.publish(rtclab.TestPattern(160, 90, fps=10))
    moves(alice, "carol")
    expect(alice.locator("article")).to_have_count(2)
    names = [one.get_attribute("data-participant") for one in alice.locator("article").all()]
    tracks = {track.id for track in room.tracks}
    for name, tiles, word in (
        ("mesh", names, "mesh: directly to"),
        ("mcu", ["everyone"], "MCU: the room mixes"),
        ("relay", names, "relay: the room forwards one"),
        ("mesh", names, "mesh: directly to"),
        ("sfu", names, "SFU: the room forwards a layer"),
        ("mcu", ["everyone"], "MCU: the room mixes"),
        ("sfu", names, "SFU: the room forwards a layer"),
    ):
        room.architecture = name
        for widget in ("publisher", "viewer"):
            expect(alice.locator(f"[data-rtclab={widget}] .rtclab-status-detail")).to_contain_text(word)
        expect(alice.locator("article")).to_have_count(len(tiles))
        shown = [one.get_attribute("data-participant") for one in alice.locator("article").all()]
        assert shown == tiles, f"places in {name}"
        for tile in tiles:
            moves(alice, str(tile))
        expect(alice.locator(".rtclab-reason:visible")).to_have_count(0, timeout=LIVE)
        assert alice.evaluate("captures") == 1, "the camera is opened once"
        assert {track.id for track in room.tracks} == tracks
    states = alice.evaluate("rtclabConnections.map((one) => one.connectionState)")
    assert states[:2] == ["connected", "connected"]
    assert set(states[2:]) == {"closed"}, "direct connections end with the mesh"


@pytest.mark.timeout(280)
def test_a_notebook_switches_by_one_assignment(lab_page: Open, empty_page: Page) -> None:
    empty_page.add_init_script(COUNT_CAPTURES + SMALL_CAPTURE)
    notebook = lab_page(
        [
            "import rtclab\nroom = rtclab.Room(size=(640, 360), fps=15)\n"
            "bob = room.join('bob')\nbob.publish(rtclab.TestPattern(320, 180, fps=10))",
            "room.publisher('you')",
            "room.viewer()",
            "room.viewer('bob')",
            *(f"room.architecture = {name!r}" for name in ("mesh", "mcu", "relay", "sfu")),
        ]
    )
    for cell in range(4):
        notebook.run(cell)
    start_publishing(notebook, 1)
    page = notebook.page
    for cell, who, word in (
        (4, ("bob", "you"), "mesh: directly to"),
        (5, ("everyone",), "MCU: the room mixes"),
        (6, ("bob", "you"), "relay: the room forwards one"),
        (7, ("bob", "you"), "SFU: the room forwards a layer"),
    ):
        notebook.run(cell)
        viewer = notebook.outputs(2).locator("[data-rtclab=viewer]")
        expect(viewer.locator(".rtclab-status-detail")).to_contain_text(word)
        expect(viewer.locator("article")).to_have_count(len(who))
        viewer.scroll_into_view_if_needed()  # the relay sends nothing that is not in view
        for name in who:
            moves(page, name)
        only = notebook.outputs(3).locator("article")
        expect(only).to_have_count(1)
        expect(only).to_have_attribute("data-participant", "everyone" if cell == 5 else "bob")
        if cell == 5:
            expect(only).to_contain_text("mixed by the room, with bob")
    assert page.evaluate("captures") == 1


def tiles_of(room: rtclab.Room) -> dict[str, tuple[slice, slice]]:
    """Rows and columns of everybody's picture in the mix."""
    mixer = room._router.architecture
    assert isinstance(mixer, Mcu)
    pictures = {place.tile.name: place.picture for place in mixer.pictures.places}
    return {
        name: (slice(y, y + height), slice(x, x + width))
        for name, rect in pictures.items()
        if rect is not None
        for x, y, width, height in [rect]
    }


def labelled(tile: np.ndarray, name: str) -> float:
    """How much the upper left corner of a tile is like the label with a name: 1 where it is that label."""
    drawn = label(name, SMALLEST_LABEL, tile.shape[1]).add
    height, width = drawn.shape
    margin = 2 * (height // 5)
    corner = tile[margin : margin + height, margin : margin + width].mean(axis=2)
    return float(np.corrcoef(drawn.ravel(), corner.ravel())[0, 1])


@pytest.mark.timeout(240)
def test_a_mixed_room_is_one_labelled_tile(alice: Page, room: rtclab.Room) -> None:
    streams = {"carol": 3, "dave": 4}
    for name, stream in streams.items():
        room.join(name).publish(rtclab.TestPattern(160, 90, fps=10, stream=stream, sound=name == "carol"))
    room.architecture = "mcu"
    everyone = alice.get_by_role("listitem", name="Everyone", exact=True)
    expect(everyone).to_contain_text("mixed by the room")
    moves(alice, "everyone")
    expect(everyone.get_by_role("combobox")).to_be_hidden()
    until(lambda: len(tiles_of(room)) == 3, "somebody has no picture in the mix")
    tiles = tiles_of(room)
    found: dict[str, np.ndarray] = {}

    def numbers_and_names() -> bool:  # small letters take the encoder a few pictures
        (picture,) = grab(everyone.locator("video"), 1)
        found.update({name: picture[place] for name, place in tiles.items()})
        codes = {name: read_frame_code(found[name]) for name in streams}
        seen = {name: code.stream for name, code in codes.items() if code is not None}
        return seen == streams and all(labelled(tile, name) > 0.8 for name, tile in found.items())

    until(numbers_and_names, "not everybody is there with number and name")
    colours = {name: tile.mean(axis=(0, 1)) for name, tile in found.items()}
    green = {name: colour[1] - max(colour[0], colour[2]) for name, colour in colours.items()}
    assert green["alice"] > 80 > 40 > max(green["carol"], green["dave"]), "Chromium's fake camera is green"
    for name, tile in found.items():
        assert max(found, key=lambda other: labelled(tile, other)) == name
    # this page publishes sound, which is in the mix that its viewer gets
    expect(everyone).to_contain_text("muted: your own sound is in it")
    expect(everyone.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")


@pytest.mark.timeout(240)
def test_who_is_not_watched_sends_nothing_until_somebody_asks(alice: Page, room: rtclab.Room) -> None:
    moves(alice, "alice")
    room.architecture = "relay"
    alice.evaluate("document.getElementById('viewer').style.display = 'none'")
    sent = alice.get_by_role("list", name="What is sent")
    expect(sent).to_contain_text("not sent: nobody watches", timeout=LIVE)
    video = "reports.filter((one) => one.kind === 'video')"
    wait_for(alice, "outbound-rtp", f"{video}.every((one) => !one.active)")

    def total() -> float:
        return sum(one["bytesSent"] for one in stats(alice, "outbound-rtp") if one["kind"] == "video")

    def still() -> bool:
        before = total()
        alice.wait_for_timeout(500)
        return total() == before

    until(still, "what is not active is sent all the same")  # the last packets leave a moment later
    before = total()
    for _ in range(10):  # ten of the client's own reports of a second would hide it as well
        alice.wait_for_timeout(100)
    assert total() == before
    carol = room.join("carol")
    assert carol.watch("alice", timeout=20).next_frame(10).std() > 10
    assert total() > before
    assert alice.evaluate("captures") == 1


@pytest.mark.timeout(240)
def test_a_small_tile_gets_the_small_layer_and_the_others_are_not_sent(
    browser: Browser, server: RoomServer
) -> None:
    page = open_page(browser, server.description["url"], KEEP_CONNECTIONS)
    try:
        publish_camera(page, "alice")
        moves(page, "alice")
        page.set_viewport_size({"width": 330, "height": 700})
        sent = "reports.filter((one) => one.rid && one.active).map((one) => one.rid).join()"
        received = "reports.some((one) => one.kind === 'video' && one.frameWidth === {})"
        wait_for(page, "outbound-rtp", f"{sent} === 'q'")
        wait_for(page, "inbound-rtp", received.format(320))
        before = {one["rid"]: one["framesSent"] for one in stats(page, "outbound-rtp") if one.get("rid")}
        more = f"reports.some((one) => one.rid === 'q' && one.framesSent > {before['q'] + 60})"
        wait_for(page, "outbound-rtp", more)
        after = {one["rid"]: one["framesSent"] for one in stats(page, "outbound-rtp") if one.get("rid")}
        # some frames may be under way when their layer is switched off
        assert max(after[rid] - before[rid] for rid in "hf") <= 10, "what nobody needs is not sent"
        page.set_viewport_size({"width": 1280, "height": 900})
        wait_for(page, "inbound-rtp", received.format(1280))
    finally:
        page.context.close()
