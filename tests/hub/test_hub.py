"""On a real JupyterHub, where only HTTP and WebSocket reach the kernel: notebooks run and widgets appear."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from hub_server import Hub


@pytest.mark.timeout(240)
def test_a_notebook_runs_and_its_widgets_appear(hub: Hub, hub_page: Page) -> None:
    notebook = hub.open_notebook(hub_page, "00_quickstart.ipynb")
    for cell in (0, 1, 2):
        notebook.run(cell)
    expect(notebook.outputs(1).locator("[data-rtclab=publisher]")).to_be_visible()
    expect(notebook.outputs(2)).to_contain_text("Waiting for someone to publish")
