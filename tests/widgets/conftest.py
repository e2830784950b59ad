"""A blank page with the widgets' modules and a room inside the page, in place of a notebook and a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from rtclab.widgets import bundle

HERE = Path(__file__).parent

SETUP = """async () => {
  const load = async (path) => import(path);
  const [room, publisher, viewer] = await Promise.all(
    ["fake_room.js", "publisher_bundle.js", "viewer_bundle.js"].map((name) => load(`/js/${name}`)));
  Object.assign(window, room, { Publisher: publisher.default, Viewer: viewer.default });
  window.room = new FakeRoom();
  const style = document.createElement("style");
  style.textContent = await (await fetch("/js/style.css")).text();
  document.head.append(style);
  const { room: inside } = window;
  const sends = { source: "pattern", simulcast: true };
  window.publisherModel = (traits) => new FakeModel({ ...sends, ...traits }, inside);
  window.viewerModel = (traits) => new FakeModel({ of: "", ...traits }, inside);
}"""


def serve_module(route: Route) -> None:
    name = route.request.url.rsplit("/", 1)[-1].split("?")[0]
    made: dict[str, Callable[[], str]] = {
        "publisher_bundle.js": lambda: bundle.module("entry_publisher.js"),
        "viewer_bundle.js": lambda: bundle.module("entry_viewer.js"),
        "style.css": bundle.style,
        "fake_room.js": lambda: (HERE / name).read_text("utf-8"),
    }
    text = made[name]() if name in made else (bundle.HERE / "js" / name).read_text("utf-8")
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    route.fulfill(body=text, content_type=kind)


@pytest.fixture
def lab(page: Page) -> Iterator[Page]:
    """A page with `Publisher`, `Viewer` (the anywidget modules), `room`, `display` and the fake models."""
    page.context.grant_permissions(["camera", "microphone"])
    page.route("**/js/**", serve_module)
    page.evaluate(SETUP)
    yield page
    page.unroute("**/js/**")


@pytest.fixture(scope="module")
def plain(browser: Browser, blank_url: str) -> Iterator[Page]:
    """One page for the tests of a file, for modules that keep no state."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(blank_url)
    page.route("**/js/**", serve_module)
    yield page
    context.close()
