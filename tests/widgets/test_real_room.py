"""Both widgets against a real room: media over real UDP through the SFU, only the comm is replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import rtclab
from bridge import Bridge
from browser_tools import LIVE
from rtclab.engine import get_engine


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


@pytest.fixture
def bridge(lab: Page) -> Bridge:
    return Bridge(lab)


def test_a_pattern_of_the_page_comes_back_through_the_room(
    lab: Page, bridge: Bridge, room: rtclab.Room
) -> None:
    publisher, viewer = room.publisher("alice", source="pattern"), room.viewer()
    bridge.show(publisher, "Publisher")
    bridge.show(viewer, "Viewer")
    expect(lab.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "waiting", timeout=LIVE)
    lab.get_by_role("button", name="Start").click()
    tile = lab.get_by_role("listitem", name="alice")
    expect(lab.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "live", timeout=LIVE)
    read = """async (last) => {
      const { readVideoCode } = await import("/js/frame_reader.js");
      const code = readVideoCode(document.querySelector("article video"));
      return code && code.frame > last ? code.frame : null;
    }"""
    first = lab.wait_for_function(read, arg=-1, timeout=LIVE).json_value()
    lab.wait_for_function(read, arg=first, timeout=LIVE)
    get_engine().run(publisher.connected(5))
    get_engine().run(viewer.connected(5))
    assert (publisher.phase, viewer.phase) == ("first frame", "first frame")

    layer = tile.get_by_role("combobox", name="Layer")
    for rid, width in (("q", 320), ("f", 1280)):
        expect(layer.get_by_role("option", name=rid)).to_have_count(1, timeout=LIVE)
        layer.select_option(rid)
        lab.wait_for_function(
            "(width) => document.querySelector('article video').videoWidth === width", arg=width, timeout=LIVE
        )


def test_a_page_that_comes_back_has_its_place_again(lab: Page, bridge: Bridge, room: rtclab.Room) -> None:
    bridge.show(room.viewer(), "Viewer")
    expect(lab.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "waiting", timeout=LIVE)
    lab.evaluate("""async () => {
      const model = new FakeModel(models[0].traits, models[0].room);
      Object.assign(model, { key: models[0].key, room: models[0].room });
      models[0].key = "gone";
      models.push(model);
      const { default: Fresh } = await import("/js/viewer_bundle.js?fresh");
      document.querySelector("[data-rtclab]").remove();
      await display(Fresh, model);
    }""")
    with rtclab_peer(room):
        expect(lab.get_by_role("listitem", name="bob")).to_be_visible(timeout=LIVE)
        expect(lab.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(lab.get_by_role("listitem", name="bob")).to_have_count(0, timeout=LIVE)


def rtclab_peer(room: rtclab.Room) -> rtclab.Peer:
    peer = room.join("bob")
    peer.publish(rtclab.TestPattern(320, 180, fps=15))
    return peer
