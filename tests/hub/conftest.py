"""Fixtures of the tests on a hub: one JupyterHub for all, and pages of somebody who has logged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from playwright.sync_api import Browser, StorageState

from hub_server import Hub
from jupyterlab_driver import Notebook


@pytest.fixture(scope="session")
def running_hub(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A JupyterHub, started once."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def logged_in(running_hub: Hub, browser: Browser) -> StorageState:
    """The cookies of somebody who has logged in by the hub's form."""
    context = browser.new_context()
    running_hub.login(context.new_page())
    cookies = context.storage_state()
    context.close()
    return cookies


@pytest.fixture
def hub(running_hub: Hub) -> Iterator[Hub]:
    """The hub; its line is unshaped and loses datagrams. Kernels end with the test."""
    running_hub.line.shape(None)
    running_hub.allow_udp(False)
    yield running_hub
    running_hub.line.shape(None)
    running_hub.server.shut_down_kernels()


@pytest.fixture
def hub_page(
    hub: Hub, logged_in: StorageState, browser: Browser
) -> Iterator[Callable[[str | Sequence[str], str], Notebook]]:
    """Open a notebook on the hub, or a list of code cells; a script runs before those of the page."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, storage_state=logged_in)

    def open_notebook(notebook: str | Sequence[str], script: str) -> Notebook:
        context.add_init_script(script)
        return hub.open_notebook(context.new_page(), notebook)

    yield open_notebook
    context.close()
