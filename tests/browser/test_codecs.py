"""Every codec passes through unchanged: Chromium publishes, Chromium plays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page

from browser_tools import KEEP_CONNECTIONS, grab, start_publishing, tile, wait_for
from jupyterlab_driver import Notebook

Open = Callable[["str | Sequence[str]"], Notebook]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("codec", ["H264", "VP9", "AV1"])
def test_a_codec_passes_through(lab_page: Open, empty_page: Page, codec: str) -> None:
    empty_page.add_init_script(KEEP_CONNECTIONS)
    notebook = lab_page(
        [
            f"import rtclab; room = rtclab.Room(video_codecs=['{codec}'])",
            "room.publisher('you', simulcast=False)",
            "room.viewer()",
        ]
    )
    for cell in range(3):
        notebook.run(cell)
    start_publishing(notebook, 1)
    wait_for(notebook.page, "codec", f"reports.some((one) => one.mimeType === 'video/{codec}')")
    wait_for(
        notebook.page, "inbound-rtp", "reports.some((one) => one.kind === 'video' && one.framesDecoded > 30)"
    )
    assert grab(tile(notebook, 2, "you").locator("video"), 1)[0].std() > 10
