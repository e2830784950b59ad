"""What the browser tests share: a page's peer connections, and the pixels of its videos."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Locator, Page, expect

from jupyterlab_driver import Notebook

LIVE = 45_000  # ms to wait at most for media on a busy machine

# Keeps every peer connection of the page where a test can ask it.
KEEP_CONNECTIONS = """
window.rtclabConnections = [];
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...given) {
    super(...given);
    window.rtclabConnections.push(this);
  }
};
"""

# Lets a test end the page's sockets to a room, and refuse new ones.
KEEP_SOCKETS = """
window.rtclabSockets = [];
window.WebSocket = class extends window.WebSocket {
  constructor(url, ...given) {
    const ours = String(url).includes("/signaling");
    super(ours && window.refused ? "ws://127.0.0.1:9/" : url, ...given);
    if (ours) window.rtclabSockets.push(this);
  }
};
"""

# Counts how often the page asks for a camera or a microphone.
COUNT_CAPTURES = """
window.captures = 0;
for (const name of ["getUserMedia", "getDisplayMedia"]) {
  const original = MediaDevices.prototype[name];
  MediaDevices.prototype[name] = function (...given) {
    window.captures += 1;
    return original.apply(this, given);
  };
}
"""

# What sticks out of the page to the left or to the right.
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((element) => {
  if (!element.offsetParent || element.closest("svg")) return false;
  const { left, right } = element.getBoundingClientRect();
  return left < -0.5 || right > innerWidth + 0.5;
}).map((element) => `${element.tagName} ${element.className}`)"""

# A camera that leaves a shared machine time for everything else: width, height, pictures a second.
_CAPTURE = """
{
  const original = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = function (constraints) {
    const video = constraints.video && { width: %d, height: %d, frameRate: %d };
    return original.call(this, { ...constraints, video });
  };
}
"""
SMALL_CAPTURE = _CAPTURE % (640, 360, 15)
SMALLER_CAPTURE = _CAPTURE % (320, 180, 10)  # for pages that encode for each other

# The next frames that a video presents, scaled down, as base64 of RGBA bytes.
GRAB = """async (video, [count, width, height]) => {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const frames = [];
  for (let index = 0; index < count; index += 1) {
    await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    context.drawImage(video, 0, 0, width, height);
    const bytes = context.getImageData(0, 0, width, height).data;
    frames.push(Array.from({length: Math.ceil(bytes.length / 8192)}, (_, part) =>
      String.fromCharCode(...bytes.subarray(part * 8192, (part + 1) * 8192))).join(""));
  }
  return frames.map(btoa);
}"""

STATS = """async (kind) => {
  const found = [];
  for (const [connection, one] of window.rtclabConnections.entries()) {
    if (one.connectionState === "closed") continue;
    for (const report of (await one.getStats()).values()) {
      if (report.type === kind) found.push({connection, ...report});
    }
  }
  return found;
}"""


def grab(video: Locator, count: int, width: int = 320, height: int = 180) -> list[np.ndarray]:
    """The next `count` frames that a ``<video>`` presents, as (height, width, 3) RGB."""
    encoded: Sequence[str] = video.evaluate(GRAB, [count, width, height])
    return [
        np.frombuffer(base64.b64decode(frame), np.uint8).reshape(height, width, 4)[..., :3]
        for frame in encoded
    ]


def stats(page: Page, kind: str) -> list[dict[str, Any]]:
    """Every report of one type (W3C webrtc-stats) of every open connection in the page."""
    reports: list[dict[str, Any]] = page.evaluate(STATS, kind)
    return reports


def wait_for(page: Page, kind: str, condition: str, timeout: float = LIVE / 1000) -> Any:
    """Wait until ``condition``, JavaScript on the list `reports`, is true of the reports of one type.

    Returns
    -------
    Any
        What it was then.
    """
    expression = f"async (kind) => {{ const reports = await ({STATS})(kind); return ({condition}); }}"
    deadline = time.monotonic() + timeout
    while not (value := page.evaluate(expression, kind)):
        assert time.monotonic() < deadline, f"in {timeout:g} s it did not come to {condition}"
        page.wait_for_timeout(100)
    return value


def start_publishing(notebook: Notebook, cell: int, source: str | None = None) -> Locator:
    """Press Start in the publisher that a cell shows, and wait until it is live; returns the widget."""
    widget = notebook.outputs(cell).locator("[data-rtclab=publisher]")
    if source is not None:
        widget.get_by_label("Picture").select_option(label=source)
    widget.get_by_role("button", name="Start", exact=True).click()
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)
    return widget


def open_page(browser: Browser, url: str, script: str, bypass_csp: bool = False) -> Page:
    """A page in a context of its own, which may use the camera; `script` runs before the page's own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=bypass_csp)
    context.grant_permissions(["camera", "microphone"])
    context.add_init_script(script)
    page = context.new_page()
    page.goto(url)
    return page


def publish_camera(page: Page, name: str) -> None:
    """Press Start in the page of ``rtclab serve``, under a name."""
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Picture", exact=True).select_option("camera")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()


def moves(page: Page, participant: str, frames: int = 3) -> None:
    """Wait until the tile of a participant has shown some more frames."""
    counted = "document.querySelector(`article[data-participant=${name}] video`)?.getVideoPlaybackQuality()"
    before = page.evaluate(f"(name) => {counted}?.totalVideoFrames ?? 0", participant)
    page.wait_for_function(
        f"([name, goal]) => {counted}?.totalVideoFrames >= goal",
        arg=[participant, before + frames],
        timeout=LIVE,
        polling=100,
    )


def tile(notebook: Notebook, cell: int, participant: str) -> Locator:
    """The tile of a participant in the viewer that a cell shows."""
    return notebook.outputs(cell).locator(f"[data-rtclab=viewer] [data-participant={participant}]")
