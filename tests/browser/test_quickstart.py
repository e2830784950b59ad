"""What a person does first: run the quickstart in JupyterLab, press Start, and see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from playwright.sync_api import expect

from browser_tools import grab, start_publishing, tile
from jupyterlab_driver import Notebook
from rtclab.measure import read_frame_code

Open = Callable[["str | Sequence[str]"], Notebook]

ROOM, PUBLISHER, VIEWER, ALICE, BOB, YOU = 0, 1, 2, 3, 4, 10


@pytest.mark.timeout(240)
def test_the_quickstart_runs_end_to_end(lab_page: Open) -> None:
    notebook = lab_page("00_quickstart.ipynb")
    for cell in (ROOM, PUBLISHER, VIEWER):
        notebook.run(cell)
    expect(notebook.outputs(VIEWER)).to_contain_text("Waiting for someone to publish")
    start_publishing(notebook, PUBLISHER)

    own = tile(notebook, VIEWER, "you").locator("video")
    expect(own).to_be_visible()
    first, *_, last = grab(own, 10)
    assert first.std() > 10, "the picture is uniform"
    assert np.abs(first.astype(int) - last).mean() > 0.05, "the picture stands still"

    for cell in (ALICE, BOB):
        notebook.run(cell)
    video = tile(notebook, VIEWER, "alice").locator("video")
    codes = [read_frame_code(frame) for frame in grab(video, 40, 160, 90)]
    assert None not in codes, "a number in alice's picture is not readable in the browser"
    numbers = [code.frame for code in codes if code is not None]
    steps = np.diff(numbers)
    assert (steps >= 0).all()
    assert (steps == 1).sum() >= 5, (
        "a busy machine may present every other frame, but never these few in a row"
    )

    notebook.cells.nth(YOU).scroll_into_view_if_needed()
    notebook.run(YOU)
    expect(notebook.outputs(YOU).locator("img").first).to_be_visible()


def test_closing_the_room_is_said_and_the_widgets_stay(lab_page: Open) -> None:
    notebook = lab_page(
        [
            "import rtclab; room = rtclab.Room()",
            "room.publisher('you', 'pattern')",
            "room.viewer()",
            "room.close()",
        ]
    )
    for cell in (ROOM, PUBLISHER, VIEWER):
        notebook.run(cell)
    start_publishing(notebook, PUBLISHER)
    expect(tile(notebook, VIEWER, "you").locator("video")).to_be_visible()
    notebook.run(3)
    for cell in (PUBLISHER, VIEWER):
        expect(notebook.outputs(cell)).to_contain_text("The room was closed")
