"""On a hub a share link lets somebody in who has no login there; the picture comes by WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from playwright.sync_api import Browser, expect

from browser_tools import LIVE, grab
from hub_server import USER, Hub
from jupyterlab_driver import Notebook

CELLS = (
    "import rtclab; room = rtclab.Room(); bob = room.join('bob')\n"
    "bob.publish(rtclab.TestPattern(320, 180, fps=15))\n"
    "share = room.share(); share",
    "print(share.url)",
    "print([one.carrier for one in room.participants if one.name in share.people]); share.revoke()",
    "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])",
)


def test_a_link_leads_past_the_login_until_it_is_revoked(
    hub: Hub, hub_page: Callable[[str | Sequence[str], str], Notebook], browser: Browser
) -> None:
    notebook = hub_page(CELLS, "")
    notebook.run(0)
    # by now the card's page has said how people reach the hub
    expect(notebook.outputs(0).get_by_role("link")).to_contain_text(hub.server.url)
    url = notebook.run(1)
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    assert page.url == url, "nobody asks for a login"
    viewer = page.locator("[data-rtclab=viewer]")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    frames = grab(viewer.get_by_role("listitem", name="bob").locator("video"), 6)
    assert len({frame.tobytes() for frame in frames}) > 2, "it moves"
    expect(viewer).to_contain_text("Media: WebSocket, because UDP did not get through")

    assert notebook.run(2) == "['server']"
    expect(viewer).to_have_attribute("data-status", "ended", timeout=LIVE)
    expect(viewer).to_contain_text("This link was revoked; ask whoever sent it for a new one.")
    reply = page.goto(f"{hub.server.url}rtclab/rooms")
    assert reply is not None
    assert reply.status == 403, "all else asks for a login"
    page.goto(url)
    expect(page.locator("[data-rtclab=viewer]")).to_contain_text("This link was revoked", timeout=LIVE)
    context.close()

    # nothing of this stands in a log: of the hub, its proxy and the user's server
    secrets = [url.partition("#token=")[2], notebook.run(3), hub.server.token]
    assert all(len(secret) >= 32 for secret in secrets)
    log = hub.log
    for said in (f"/user/{USER}/rtclab/share/", "jupyterhub.proxy", "configproxy", "jupyterhub.singleuser"):
        assert said.lower() in log.lower(), said
    for secret in secrets:
        assert secret not in log
