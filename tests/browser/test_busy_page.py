"""While a cell runs: by the Jupyter server one joins and sees video, by comm one is told what is waited for.

Each such cell runs until the test ends it, by a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Locator, Page, expect

from browser_tools import KEEP_CONNECTIONS, KEEP_SOCKETS, LIVE, moves
from jupyterlab_driver import LabServer, Notebook, start_lab, stop_lab

PUBLISH = """import pathlib, time
import rtclab
room = rtclab.Room()
room.join("bob").publish(rtclab.TestPattern(320, 180, fps=15, sound=False))
def busy(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)"""
SHOW_AND_BLOCK = "viewer = room.viewer()\ndisplay(viewer)\nbusy({name!r})"
# what the kernel's side knows of the page
TELL = "await viewer.connected(20)\n[(one.carrier, one.id) for one in room.participants if one.name != 'bob']"


def viewer_in(notebook: Notebook, cell: int) -> Locator:
    return notebook.outputs(cell).locator("[data-rtclab=viewer]")


def is_busy(notebook: Notebook, cell: int) -> bool:
    return "*" in notebook.cells.nth(cell).locator(".jp-InputPrompt").inner_text()


def test_who_comes_while_a_cell_runs_sees_video(
    jupyter_lab: LabServer, empty_page: Page, lab_page: Callable[[str | Sequence[str]], Notebook]
) -> None:
    empty_page.add_init_script(KEEP_SOCKETS + KEEP_CONNECTIONS)
    notebook = lab_page((PUBLISH, SHOW_AND_BLOCK.format(name="busy-1"), TELL))
    notebook.run(0)
    notebook.start(1)
    viewer = viewer_in(notebook, 1)
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    moves(empty_page, "bob")
    routes = viewer.get_by_role("status", name="Ways to the room")
    expect(routes).to_contain_text("Signaling: Jupyter server")
    assert is_busy(notebook, 1)
    (jupyter_lab.folder / "busy-1").touch()
    notebook.finish(1)
    before = notebook.run(2)
    assert "'server'" in before

    # the server's WebSocket dies and does not come back: the comm takes over, and nobody sees anything of it
    media = "document.querySelector('article video').srcObject.getTracks()[0].id"
    track = empty_page.evaluate(media)
    empty_page.evaluate("refused = true; rtclabSockets.at(-1).close(3000)")
    expect(routes).to_contain_text("Signaling: comm, because the WebSocket", timeout=LIVE)
    moves(empty_page, "bob")
    assert notebook.run(2) == before.replace("server", "comm")
    assert empty_page.evaluate(media) == track
    assert empty_page.evaluate("rtclabConnections.length") == 1


@pytest.fixture
def without_extension(tmp_path: Path) -> Iterator[LabServer]:
    """A JupyterLab whose server knows nothing of rtclab."""
    server, process = start_lab(tmp_path / "notebooks", tmp_path, extension=False)
    yield server
    stop_lab(process)


@pytest.mark.timeout(300)
def test_without_the_extension_a_page_is_told_what_it_waits_for(
    without_extension: LabServer, empty_page: Page
) -> None:
    with pytest.raises(HTTPError, match="404"):
        without_extension.request("GET", "rtclab/rooms")
    cells = (PUBLISH, SHOW_AND_BLOCK.format(name="busy-2"), TELL)
    notebook = Notebook(empty_page, without_extension, without_extension.write_notebook("alone.ipynb", cells))
    notebook.run(0)
    notebook.start(1)
    viewer = viewer_in(notebook, 1)
    expect(viewer).to_contain_text("Signaling: comm, because the kernel has found no", timeout=LIVE)
    expect(viewer).to_contain_text("By comm it hears of this page only between cells", timeout=LIVE)
    assert is_busy(notebook, 1)
    (without_extension.folder / "busy-2").touch()
    notebook.finish(1)
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(viewer.get_by_text("By comm it hears")).to_be_hidden()
    assert "'comm'" in notebook.run(2)
