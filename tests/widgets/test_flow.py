"""From Start to moving pixels, both widgets in one page, through a room in the page."""

from __future__ import annotations

from playwright.sync_api import Page, expect

SHOW_BOTH = """async () => {
  window.pub = publisherModel({ name: "alice" });
  window.view = viewerModel();
  await display(Publisher, pub);
  await display(Viewer, view);
}"""


def test_a_pattern_travels_from_start_to_a_tile(lab: Page) -> None:
    lab.evaluate(SHOW_BOTH)
    publisher, viewer = lab.locator("[data-rtclab=publisher]"), lab.locator("[data-rtclab=viewer]")
    expect(viewer).to_contain_text("Waiting for someone to publish")
    expect(publisher.get_by_role("button", name="Stop")).to_be_hidden()
    publisher.get_by_role("button", name="Start").click()
    expect(publisher).to_have_attribute("data-status", "live", timeout=15000)
    expect(viewer).to_have_attribute("data-status", "live", timeout=15000)
    tile = viewer.get_by_role("listitem", name="alice")
    expect(tile.locator("video")).to_be_visible()
