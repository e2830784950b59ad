"""A share link through the Jupyter server in a Chromium that has no login there."""

from __future__ import annotations

from playwright.sync_api import Page, Request, Response, expect

import rtclab
from browser_tools import LIVE, grab
from jupyter_tools import TOKEN, JupyterServer


def test_somebody_without_a_login_watches(
    jupyter: JupyterServer, room: rtclab.Room, empty_page: Page
) -> None:
    page = empty_page
    seen: list[str] = []

    def note_request(request: Request) -> None:
        seen.extend([request.url, str(request.headers)])

    def note_response(response: Response) -> None:
        seen.append(str(response.headers))

    page.on("request", note_request)
    page.on("response", note_response)
    page.on("websocket", lambda socket: seen.append(socket.url))
    page.on("console", lambda message: seen.append(message.text))
    room.join("bob").publish(rtclab.TestPattern(320, 180, fps=15))
    share = room.share()
    page.goto(share.url)
    viewer = page.locator("[data-rtclab=viewer]")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    frames = grab(viewer.get_by_role("listitem", name="bob").locator("video"), 6)
    assert len({frame.tobytes() for frame in frames}) > 2, "it moves"
    assert [one.carrier for one in room.participants if one.name in share.people] == ["server"]

    share.revoke()
    expect(viewer).to_have_attribute("data-status", "ended", timeout=LIVE)
    page.reload()
    expect(viewer).to_contain_text("This link was revoked", timeout=LIVE)
    expect(viewer).to_have_attribute("data-status", "ended")
    everything = "\n".join([*seen, page.content(), jupyter.log])
    assert "rtclab/share/" in everything
    assert TOKEN not in everything
    assert share.url.partition("#token=")[2] not in jupyter.log
    assert "Content Security Policy" not in everything
