"""On a real JupyterHub, where only HTTP and WebSocket reach the kernel: the quickstart works and says how."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from playwright.sync_api import Locator, Page, expect

from browser_tools import KEEP_CONNECTIONS, LIVE, tile, wait_for
from coded_camera import CODED_CAMERA, watch
from hub_server import Hub
from jupyterlab_driver import Notebook

Open = Callable[["str | Sequence[str]", str], Notebook]

ROOM, PUBLISHER, VIEWER = 0, 1, 2
SLOW_BPS, SLOW_DELAY_S = 500_000, 0.1
ADAPTED = 60  # pictures in a row that are less than a second old
ADAPTING = 120.0  # s to wait at most for them, or for the whole picture afterwards

CELLS = ("import rtclab; room = rtclab.Room()", "room.publisher('you')", "room.viewer()")
BUSY = (
    "import rtclab; room = rtclab.Room(); alice = room.join('alice')\n"
    "alice.publish(rtclab.TestPattern(320, 180, fps=15))",
    "import pathlib, time\ndisplay(room.viewer())\n"
    "while not pathlib.Path('seen').exists():\n    time.sleep(0.1)",
)


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


def until(page: Page, condition: Callable[[], bool], what: str, limit: float = LIVE / 1000) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(100)


def soon(video: Locator) -> None:
    """Wait until enough different pictures in a row were less than a second old."""
    row = 0

    def enough() -> bool:
        nonlocal row
        for late in watch(video, 2).latency_s:
            row = row + 1 if late < 1.0 else 0
            if row >= ADAPTED:
                return True
        return False

    until(video.page, enough, "the slow line stays behind", ADAPTING)


def rich(page: Page) -> None:
    """Give the camera the detail of a real one."""
    page.evaluate("rtclabCoded.rich = true")


@pytest.mark.timeout(420)
def test_the_quickstart_works_without_udp_and_on_a_slow_line(hub: Hub, hub_page: Open) -> None:
    notebook = hub_page("00_quickstart.ipynb", CODED_CAMERA)
    for cell in (ROOM, PUBLISHER, VIEWER):
        notebook.run(cell)
    own = start(notebook)
    rich(notebook.page)
    for cell in (PUBLISHER, VIEWER):
        expect(notebook.outputs(cell)).to_contain_text("Signaling: Jupyter server")
        expect(notebook.outputs(cell)).to_contain_text("WebSocket")
        expect(notebook.outputs(cell)).to_contain_text("UDP did not get through")
    until(notebook.page, lambda: watch(own, 1).size == (640, 480), "the whole picture does not come")
    moves(own, 20)
    numbers = watch(own, 1).numbers
    assert all(later >= earlier for earlier, later in pairwise(numbers))

    hub.line.shape(SLOW_BPS, SLOW_DELAY_S)
    until(notebook.page, lambda: 0 < watch(own, 1).size[1] < 480, "the picture does not become smaller")
    expect(notebook.outputs(PUBLISHER)).to_contain_text("limited by bandwidth", timeout=LIVE)
    soon(own)
    hub.line.shape(None)
    until(notebook.page, lambda: watch(own, 1).size == (640, 480), "it stays smaller", ADAPTING)
    moves(own, 20)


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


@pytest.mark.timeout(240)
def test_a_viewer_comes_while_a_cell_is_busy(hub: Hub, hub_page: Open) -> None:
    notebook = hub_page(BUSY, "")
    notebook.run(0)
    notebook.start(1)
    alice = notebook.outputs(1).locator("[data-participant=alice] video")
    expect(alice).to_be_visible(timeout=LIVE)
    moves(alice, 10)
    expect(notebook.outputs(1)).to_contain_text("Signaling: Jupyter server")
    (hub.server.folder / "seen").touch()
    notebook.finish(1)
