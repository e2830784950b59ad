"""On a real JupyterHub, the kernel behind its proxy: media take UDP where it passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Locator, expect

from browser_tools import KEEP_CONNECTIONS, tile, wait_for
from coded_camera import CODED_CAMERA, watch
from hub_server import Hub
from jupyterlab_driver import Notebook

Open = Callable[["str | Sequence[str]", str], Notebook]

LIVE = 30_000  # ms to wait at most for media on a busy machine
ROOM, PUBLISHER, VIEWER = 0, 1, 2
CELLS = ("import rtclab; room = rtclab.Room()", "room.publisher('you')", "room.viewer()")


def start(notebook: Notebook) -> Locator:
    """Press Start; the viewer's picture of oneself, once it moves."""
    publisher = notebook.outputs(PUBLISHER).locator("[data-rtclab=publisher]")
    publisher.get_by_role("button", name="Start", exact=True).click()
    own = tile(notebook, VIEWER, "you").locator("video")
    expect(own).to_be_visible(timeout=LIVE)
    moves(own, 5)
    return own


def moves(video: Locator, frames: int) -> None:
    """Wait for some more frames."""
    counted = "(video) => video.getVideoPlaybackQuality().totalVideoFrames"
    goal = video.evaluate(counted) + frames
    video.page.wait_for_function(
        f"([video, goal]) => ({counted})(video) >= goal", arg=[video.element_handle(), goal], timeout=LIVE
    )


@pytest.mark.timeout(240)
def test_where_udp_passes_webrtc_is_used(hub: Hub, hub_page: Open) -> None:
    hub.allow_udp(True)
    notebook = hub_page(CELLS, CODED_CAMERA + KEEP_CONNECTIONS)
    for cell in (ROOM, PUBLISHER, VIEWER):
        notebook.run(cell)
    own = start(notebook)
    more = "reports.some((one) => one.kind === 'video' && one.framesDecoded > 20)"
    wait_for(notebook.page, "inbound-rtp", more)
    assert watch(own, 1).numbers
    for cell in (PUBLISHER, VIEWER):
        expect(notebook.outputs(cell)).not_to_contain_text("WebSocket:")
