"""Fixtures that tests of every folder share: a Chromium with a fake camera, pages in it, and a JupyterLab.

Playwright's synchronous interface leaves its loop marked as running on the main thread, where `asyncio.run`
would then refuse to start. So the mark is set for tests that use the browser only; these hand coroutines to
`rtclab.engine`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright
from xdist.scheduler import LoadScopeScheduling

from browser_tools import LIVE
from http_tools import answering
from jupyterlab_driver import LabServer, Notebook, start_lab, stop_lab
from rtclab import apt
from rtclab.bench.coturn import Coturn
from rtclab.chromium import ensure_chromium

# how long an example takes says more about the machine than about the code
hypothesis.settings.register_profile("rtclab", deadline=None)
hypothesis.settings.load_profile("rtclab")

expect.set_options(timeout=LIVE)  # as Playwright has it, a page has five seconds for everything

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
]

# Groups of tests that share a process, and so never disturb each other; the longest come first.
BROWSER, NOTEBOOKS, JUPYTER = "browser", "notebooks", "jupyter"

NOTEBOOK_S = 600

PLAYWRIGHT_LOOP = pytest.StashKey[asyncio.AbstractEventLoop]()

log = logging.getLogger("page")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite, most of which waits for media; none for a part of it."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give out whole groups of tests."""
    return _Groups(config, log)


class _Groups(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(self.config.rootpath / nodeid.partition("::")[0])


@cache
def group_of(path: Path) -> str:
    """Which tests share a process: those with a browser, the notebooks, those of a server; else a file."""
    if path.suffix == ".ipynb":
        return NOTEBOOKS
    if "playwright" in path.read_text("utf-8"):
        return BROWSER
    return JUPYTER if path.parent.name == JUPYTER else path.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first; let a notebook take longer than a test."""
    groups = dict.fromkeys((BROWSER, NOTEBOOKS, *(group_of(item.path) for item in items)))
    places = {group: place for place, group in enumerate(groups)}
    items.sort(key=lambda item: places[group_of(item.path)])
    for item in items:
        if group_of(item.path) == NOTEBOOKS:  # which has a limit for each of its cells
            item.add_marker(pytest.mark.timeout(NOTEBOOK_S))


def _mark_loop(item: pytest.Item) -> None:
    loop = item.config.stash.get(PLAYWRIGHT_LOOP, None)
    if loop is not None:
        asyncio._set_running_loop(loop if "browser" in getattr(item, "fixturenames", ()) else None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of `item`, of any scope, are made."""
    _mark_loop(item)
    if item.path.suffix == ".ipynb":  # a notebook may leave out what needs it, a test may not
        ensure_coturn()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Before the fixtures of `item` are ended."""
    _mark_loop(item)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of Chromium; as root on Debian it is installed first if the machine has none."""
    return ensure_chromium()


@pytest.fixture(scope="session")
def browser(chromium_path: str, pytestconfig: pytest.Config) -> Iterator[Browser]:
    """A headless Chromium with a fake camera and microphone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        loop = pytestconfig.stash[PLAYWRIGHT_LOOP] = asyncio.get_running_loop()
        yield browser
        asyncio._set_running_loop(loop)
        browser.close()
    del pytestconfig.stash[PLAYWRIGHT_LOOP]


@pytest.fixture(scope="session")
def coturn() -> Iterator[Coturn]:
    """A TURN server on the loopback interface."""
    ensure_coturn()
    with Coturn() as server:
        yield server


@cache
def ensure_coturn() -> str | None:
    """Path of coturn; as root on Debian it is installed first if there is none."""
    return apt.ensure(lambda: shutil.which("turnserver"), ("coturn",))


class _BlankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>rtclab</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is about the test."""


@pytest.fixture(scope="session")
def blank_url() -> Iterator[str]:
    """Address of an empty page on this machine: a secure context, so that it may use the camera."""
    with answering(_BlankPage) as address:
        yield f"http://{address}/"


@pytest.fixture
def tabs() -> Iterator[list[Page]]:
    """Pages that a test has opened; they are closed after it."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.context.close()


@pytest.fixture
def empty_page(browser: Browser) -> Iterator[Page]:
    """A page of its own, at about:blank; what it logs is shown when the test fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", _log_console)
    page.on("pageerror", _log_error)
    yield page
    context.close()


@pytest.fixture
def page(empty_page: Page, blank_url: str) -> Page:
    """A page of its own, at `blank_url`."""
    empty_page.goto(blank_url)
    return empty_page


@pytest.fixture(scope="session")
def jupyter_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A real JupyterLab, started by ``rtclab lab`` on a copy of the notebooks."""
    server, process = start_lab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter"))
    yield server
    stop_lab(process)


@pytest.fixture
def lab_page(jupyter_lab: LabServer, empty_page: Page) -> Iterator[Callable[[str | Sequence[str]], Notebook]]:
    """Open a notebook in JupyterLab: ``lab_page("00_quickstart.ipynb")``, or a list of code cells."""

    def open_notebook(notebook: str | Sequence[str]) -> Notebook:
        if not isinstance(notebook, str):
            notebook = jupyter_lab.write_notebook(f"test-{uuid.uuid4().hex[:8]}.ipynb", notebook)
        return Notebook(empty_page, jupyter_lab, notebook)

    yield open_notebook
    jupyter_lab.shut_down_kernels()


def _log_console(message: ConsoleMessage) -> None:
    log.warning("%s: %s", message.type, message.text)


def _log_error(error: Error) -> None:
    log.error("%s", error.stack or error.message)
