"""The widgets through the life of a notebook: a cell run again, a busy kernel, a reload, a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, expect

from browser_tools import LIVE, moves
from jupyterlab_driver import LabServer, Notebook

CELLS = (
    "import rtclab\nroom = rtclab.Room()\n"
    "bob = room.join('bob')\nbob.publish(rtclab.TestPattern(320, 180, fps=15))",
    "room.viewer()",
    "room.publisher('alice', source='pattern')",
    "import pathlib, time\nwhile not pathlib.Path('enough').exists():\n    time.sleep(0.01)",
)


def viewer(notebook: Notebook) -> Locator:
    return notebook.page.locator("[data-rtclab=viewer]")


def test_from_the_first_cell_to_a_restarted_kernel(
    jupyter_lab: LabServer, lab_page: Callable[[str | Sequence[str]], Notebook]
) -> None:
    notebook = lab_page(CELLS)
    for cell in (0, 1, 2):
        notebook.run(cell)
    expect(viewer(notebook)).to_have_attribute("data-status", "live", timeout=LIVE)
    notebook.page.get_by_role("button", name="Start", exact=True).click()
    alice = notebook.page.get_by_role("listitem", name="alice")
    expect(alice).to_be_visible(timeout=LIVE)

    # the cell that displays is run again: the new viewer takes the old one's place
    notebook.run(1)
    expect(viewer(notebook)).to_have_count(1)
    expect(viewer(notebook)).to_have_attribute("data-status", "live", timeout=LIVE)

    # while a cell blocks the kernel the picture moves on
    notebook.start(3)
    expect(notebook.cells.nth(3).locator(".jp-InputPrompt")).to_have_text("[*]:")
    moves(notebook.page, "bob")
    (jupyter_lab.folder / "enough").touch()
    notebook.finish(3)

    notebook.save()
    notebook.open()
    expect(viewer(notebook)).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(notebook.page.get_by_role("listitem", name="bob")).to_be_visible()
    start = notebook.page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_enabled()
    start.click()
    expect(alice).to_be_visible(timeout=LIVE)

    notebook.restart_kernel()
    expect(viewer(notebook)).to_contain_text("The kernel is gone or was restarted.", timeout=LIVE)
    expect(notebook.page.locator("[data-rtclab=publisher]")).to_contain_text(
        "The kernel is gone or was restarted."
    )
