"""Fixtures of the tests on a hub: one JupyterHub for all, and a page of somebody who has logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from hub_server import Hub


@pytest.fixture(scope="session")
def running_hub(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A JupyterHub, started once."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


@pytest.fixture
def hub(running_hub: Hub) -> Iterator[Hub]:
    """The hub with its line unshaped and without datagrams; kernels end with the test."""
    running_hub.line.shape(None)
    running_hub.allow_udp(False)
    yield running_hub
    running_hub.line.shape(None)
    running_hub.server.shut_down_kernels()


@pytest.fixture
def hub_page(hub: Hub, empty_page: Page) -> Page:
    """A page in which somebody has logged in to the hub."""
    hub.login(empty_page)
    return empty_page
