"""Simulcast from Chromium: three layers arrive, and switching between them breaks nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect

from browser_tools import KEEP_CONNECTIONS, start_publishing, stats, tile, wait_for
from jupyterlab_driver import Notebook

Open = Callable[["str | Sequence[str]"], Notebook]

PATIENCE_S = 120

CELLS = [
    "import rtclab; room = rtclab.Room()",
    "room.publisher('you')",
    "room.viewer()",
    """
incoming = room.stats().query("direction == 'in' and kind == 'video'").sort_values("width")
list(zip(incoming.layer, incoming.width.astype(int)))
""",
]

WIDTHS = """
((layers) =>
  layers.length === 3 && Object.fromEntries(layers.map((one) => [one.rid, one.frameWidth]))
)(reports.filter((one) => one.rid && one.frameWidth))
"""


def received(page: Page) -> dict[str, float]:
    """The inbound video report of the viewer."""
    (report,) = [report for report in stats(page, "inbound-rtp") if report["kind"] == "video"]
    return report


@pytest.mark.timeout(240)
def test_three_layers_arrive_and_switching_freezes_nothing(lab_page: Open, empty_page: Page) -> None:
    empty_page.add_init_script(KEEP_CONNECTIONS)
    notebook = lab_page(CELLS)
    for cell in range(3):
        notebook.run(cell)
    start_publishing(notebook, 1)
    page = notebook.page
    # read while all are sent: the room has those stopped that nobody needs for a while
    sizes = wait_for(page, "outbound-rtp", WIDTHS)
    picker = tile(notebook, 2, "you").get_by_label("Layer")
    expect(picker.locator("option")).to_have_count(4)
    assert len(set(sizes.values())) == 3

    # a machine may stall by itself: each layer has to be come to once without any harm
    smooth: set[str] = set()
    deadline = time.monotonic() + PATIENCE_S
    for place, rid in enumerate(itertools.cycle(("q", "f", "h", "q", "h", "f"))):
        before = received(page)
        picker.select_option(rid)
        wait_for(
            page,
            "inbound-rtp",
            f"reports.some((one) => one.kind === 'video' && one.frameWidth === {sizes[rid]})",
        )
        after = received(page)
        assert after["framesDecoded"] > before["framesDecoded"]
        # a picture that cannot be decoded makes Chromium ask for a keyframe
        harm = {name: after[name] - before[name] for name in ("freezeCount", "pliCount", "packetsLost")}
        if place and not any(harm.values()):  # the first frames of a call are no steady state
            smooth.add(rid)
        if smooth == set(sizes):
            break
        assert time.monotonic() < deadline, f"only {smooth} came without harm; the last one: {harm}"
    text = notebook.run(3)
    for rid, width in sizes.items():
        assert f"('{rid}', {width})" in text


@pytest.mark.timeout(240)
def test_an_unimpaired_publisher_reaches_its_full_bitrate(lab_page: Open, empty_page: Page) -> None:
    empty_page.add_init_script(KEEP_CONNECTIONS)
    notebook = lab_page(CELLS)
    for cell in range(3):
        notebook.run(cell)
    start_publishing(notebook, 1)
    wait_for(
        notebook.page, "candidate-pair", "reports.some((one) => one.availableOutgoingBitrate > 2_000_000)"
    )
    wait_for(
        notebook.page,
        "outbound-rtp",
        # a machine may be too slow to encode all of it, but the line is not
        "reports.some((one) => one.rid === 'f' && one.frameWidth"
        " && one.qualityLimitationReason !== 'bandwidth')",
    )
