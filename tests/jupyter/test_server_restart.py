"""Who watches through a Jupyter server keeps it awake, and watches on when it dies and is started again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

import rtclab
from browser_tools import LIVE
from http_tools import wait_until
from jupyter_tools import JupyterServer
from rtclab.jupyter import uplink


def moves(video: Locator) -> None:
    """Wait for some more frames."""
    shown = "(video) => video.getVideoPlaybackQuality().totalVideoFrames"
    goal = video.evaluate(shown) + 5
    video.page.wait_for_function(
        f"([video, goal]) => ({shown})(video) >= goal", arg=[video.element_handle(), goal], timeout=LIVE
    )


def test_a_viewer_outlives_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_page: Page
) -> None:
    server = JupyterServer(tmp_path)
    monkeypatch.setattr(uplink, "_uplink", None)
    monkeypatch.setenv("JPY_PARENT_PID", str(server.pid))  # as in one of its kernels
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime))
    try:
        with rtclab.Room(transport="websocket") as room:
            wait_until(lambda: room.server_path)
            room.join("bob").publish(rtclab.TestPattern(320, 180, fps=15, sound=False))
            empty_page.goto(room.share().url)
            viewer = empty_page.locator("[data-rtclab=viewer]")
            expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
            video = viewer.locator("video")
            moves(video)
            before = server.last_activity
            moves(video)
            wait_until(lambda: server.last_activity > before)

            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            wait_until(lambda: room.server_path is None)
            server = JupyterServer(tmp_path, port=server.port)
            wait_until(lambda: room.server_path)
            moves(video)
            expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    finally:
        server.stop()
