"""The shared browser fixtures do what the tests that use them rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

CAPTURE = """async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  const kinds = stream.getTracks().map((track) => track.kind).sort();
  stream.getTracks().forEach((track) => track.stop());
  return kinds;
}"""

CONNECT = """async () => {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = ({candidate}) => candidate && b.addIceCandidate(candidate);
  b.onicecandidate = ({candidate}) => candidate && a.addIceCandidate(candidate);
  const opened = new Promise((resolve) => { a.createDataChannel("x").onopen = () => resolve("open"); });
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const state = await opened;
  a.close();
  b.close();
  return state;
}"""


def test_page_is_secure_and_has_a_camera(page: Page) -> None:
    assert page.evaluate("isSecureContext")
    assert page.evaluate(CAPTURE) == ["audio", "video"]


def test_peers_connect_over_loopback(page: Page) -> None:
    assert page.evaluate(CONNECT) == "open"


@pytest.fixture(scope="module")
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a fixture wider than one test, after the browser has started."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_asyncio_runs_after_a_browser_test(own_loop: asyncio.AbstractEventLoop) -> None:
    assert asyncio.run(asyncio.sleep(0, "ran")) == "ran"
    assert own_loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"


def test_the_browser_goes_on_after_that(page: Page) -> None:
    assert page.evaluate("6 * 7") == 42


def test_asyncio_runs_until_the_last_test() -> None:
    assert asyncio.run(asyncio.sleep(0, "ran")) == "ran"
