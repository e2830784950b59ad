"""A mesh in Chromium: two tabs, or a tab and a headless peer, connect to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import (
    KEEP_CONNECTIONS,
    LIVE,
    SMALLER_CAPTURE,
    moves,
    open_page,
    publish_camera,
    stats,
    wait_for,
)
from http_tools import serving
from room_tools import frame_numbers
from rtclab.serve import RoomServer

# which of a page's connections go to the room, and how many others are connected
TO_ROOM = "rtclabConnections.map((one) => Boolean(one.remoteDescription?.sdp.includes('a=ice-lite')))"
DIRECT = f"rtclabConnections.filter((one, i) => one.connectionState === 'connected' && !{TO_ROOM}[i]).length"


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio", architecture="mesh") as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room) as server:
        yield server


@pytest.fixture
def tab(browser: Browser, server: RoomServer) -> Iterator[Callable[[str], Page]]:
    """Open the room's page in a context of its own, and publish the fake camera."""
    contexts = []

    def open_tab(name: str) -> Page:
        page = open_page(browser, server.description["url"], KEEP_CONNECTIONS + SMALLER_CAPTURE)
        contexts.append(page.context)
        publish_camera(page, name)
        return page

    yield open_tab
    for context in contexts:
        context.close()


@pytest.mark.timeout(240)
def test_two_tabs_see_each_other_and_the_room_carries_nothing(
    tab: Callable[[str], Page], room: rtclab.Room
) -> None:
    alice, bob = tab("alice"), tab("bob")
    for page in (alice, bob):
        for name in ("alice", "bob"):
            moves(page, name)
        expect(page.locator("[data-rtclab=viewer] .rtclab-status-detail")).to_contain_text(
            "mesh: directly to 2 others"
        )
        lines = page.get_by_role("list", name="What is sent").get_by_role("listitem")
        expect(lines).to_have_count(3)  # the other tab's publisher and both viewers
        expect(lines.filter(has_text="connecting")).to_have_count(0, timeout=LIVE)
        expect(page.get_by_role("listitem", name="alice").locator(".rtclab-figures")).to_contain_text(
            "direct", timeout=LIVE
        )
        sent = [one for one in stats(page, "outbound-rtp") if one["kind"] == "video"]
        to_room = page.evaluate(TO_ROOM)
        assert not any(one["active"] for one in sent if to_room[one["connection"]])
        assert sum(one["active"] for one in sent) == 3
        # the viewer is sent both, the publisher the other one: in a mesh everyone sends to everyone
        heard = "reports.filter((one) => one.kind === 'audio' && one.packetsReceived > 20).length === 3"
        wait_for(page, "inbound-rtp", heard)
    carried = room.stats().query("kind == 'video'").packets.sum()
    moves(alice, "bob")
    moves(bob, "alice")
    assert room.stats().query("kind == 'video'").packets.sum() == carried, "nothing goes through the room"

    bob.context.close()
    expect(alice.get_by_role("listitem", name="bob")).to_have_count(0, timeout=LIVE)
    moves(alice, "alice")
    alice.wait_for_function(f"{DIRECT} === 2", timeout=LIVE)  # its own publisher and viewer


@pytest.mark.timeout(240)
def test_a_tab_and_a_headless_peer_see_each_other(tab: Callable[[str], Page], room: rtclab.Room) -> None:
    carol = room.join("carol")
    carol.publish(rtclab.TestPattern(160, 90, fps=10))
    alice = tab("alice")
    moves(alice, "carol")
    expect(alice.get_by_role("listitem", name="carol").locator(".rtclab-figures")).to_contain_text(
        "direct", timeout=LIVE
    )
    watched = carol.watch("alice", timeout=20)
    first = watched.next_frame(10)
    assert watched.via == "direct"
    assert first.std() > 10
    later = [watched.next_frame(10) for _ in range(10)]
    assert any((one != later[0]).any() for one in later if one.shape == later[0].shape), "the picture moves"
    carol.leave()
    expect(alice.get_by_role("listitem", name="carol")).to_have_count(0, timeout=LIVE)


@pytest.mark.timeout(240)
def test_the_kernel_hears_which_frame_was_shown(tab: Callable[[str], Page], room: rtclab.Room) -> None:
    carol = room.join("carol")
    carol.publish(rtclab.TestPattern(320, 180, fps=10))
    dave = room.join("dave")
    assert frame_numbers(dave.watch("carol", timeout=20), 3)
    alice = tab("alice")
    moves(alice, "carol")
    said = """async () => {
      while (!window.told?.frame_number) await new Promise((done) => setTimeout(done, 50));
      return window.told;
    }"""
    alice.evaluate("""() => {
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (text) {
        const message = JSON.parse(text);
        if (message.type === "stats") {
          const found = message.tracks.find(({ frame_number }) => frame_number);
          if (found) window.told = { ...found, time: message.time };
        }
        return send.call(this, text);
      };
    }""")
    told = alice.evaluate(said)
    assert told["via"] == "direct"
    assert told["bytes"] > 0
    assert 0 <= told["time"] - told["frame_time"] < 60, "both are Unix seconds"
