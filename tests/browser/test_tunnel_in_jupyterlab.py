"""In JupyterLab without UDP: media go by the comm, by the Jupyter server when that is reached, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from playwright.sync_api import Page, expect

from browser_tools import KEEP_SOCKETS, LIVE, moves, start_publishing, tile
from coded_camera import SMALL_CODED_CAMERA, in_order, record, recorded
from jupyterlab_driver import Notebook

CELLS = (
    "import rtclab; room = rtclab.Room(transport='websocket')",
    "publisher = room.publisher('you'); publisher",
    "viewer = room.viewer(); viewer",
    "await viewer.connected(); {(one.carrier, one.transport) for one in room.participants}",
)
_, PUBLISHER, VIEWER, TELL = range(len(CELLS))


def test_by_comm_by_the_server_and_back(
    empty_page: Page, lab_page: Callable[[str | Sequence[str]], Notebook]
) -> None:
    page = empty_page
    page.add_init_script(SMALL_CODED_CAMERA + KEEP_SOCKETS + "window.refused = true;")
    notebook = lab_page(CELLS)

    def expect_ways(signaling: str, media: str) -> None:
        for cell in (PUBLISHER, VIEWER):
            routes = notebook.outputs(cell).get_by_role("status", name="Ways to the room")
            expect(routes).to_contain_text(f"Signaling: {signaling}", timeout=LIVE)
            expect(routes).to_contain_text(f"Media: {media}, because the room was made", timeout=LIVE)

    for cell in (0, PUBLISHER, VIEWER):
        notebook.run(cell)
    start_publishing(notebook, PUBLISHER)
    expect_ways("comm, because the WebSocket", "comm")
    moves(page, "you")
    assert "{('comm', 'comm')}" in notebook.run(TELL)
    record(tile(notebook, VIEWER, "you").locator("video"))
    page.evaluate("refused = false")
    expect_ways("Jupyter server", "WebSocket")
    moves(page, "you")
    assert "{('server', 'websocket')}" in notebook.run(TELL)
    page.evaluate("refused = true; for (const socket of rtclabSockets) socket.close(3000)")
    expect_ways("comm, because", "comm")
    moves(page, "you")
    assert in_order(recorded(page))
