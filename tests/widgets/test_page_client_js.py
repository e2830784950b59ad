"""How a stand-alone page comes to its server: one that asks for patience is asked again when it said."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

# A server that refuses every WebSocket, and says why to who asks: `attempts` counts sockets, `told` answers.
SERVER = """async ([status, problem, headers]) => {
  Object.assign(window, { attempts: 0, told: 0, refused: true, said: [] });
  window.WebSocket = class {
    static OPEN = 1;
    constructor() {
      window.attempts += 1;
      queueMicrotask(() => {
        this.readyState = window.refused ? 3 : 1;
        if (window.refused) this.onclose({ code: 1006 });
        else this.onopen();
      });
    }
    send(text) { window.said.push(JSON.parse(text).type); }
    close() {}
  };
  window.fetch = async () => new Response(JSON.stringify(problem), { status, headers });
  const { clientOfServer } = await import("/js/page_client.js");
  const { routeLines } = await import("/js/routes.js");
  window.client = clientOfServer("viewer", null);
  window.lines = () => routeLines(client);
  client.observe((what) => { if (what === "carrier") window.told += 1; });
  client.start();
}"""
BUSY = "too many attempts came from this address; try again in 7 s"
SAID = "Too many attempts came from this address; try again in 7 s. This page does so by itself."


@pytest.fixture
def held(lab: Page) -> Page:
    """The page's time stands still but for `lab.clock.run_for`."""
    lab.clock.install()
    lab.clock.pause_at(lab.evaluate("Date.now() + 1000"))
    return lab


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7), ({}, 5)])
def test_a_server_that_asks_for_patience_is_asked_again_later(
    held: Page, headers: dict[str, str], seconds: int
) -> None:
    held.evaluate(SERVER, [429, {"detail": BUSY, "code": "share_rate"}, headers])
    for attempt in (1, 2):
        held.wait_for_function("(attempt) => told === attempt", arg=attempt)
        assert held.evaluate("lines()[1]") == SAID
        assert held.evaluate("[client.status, client.failure]") == ["joining", None]
        held.clock.run_for(1000 * seconds - 200)
        assert held.evaluate("attempts") == attempt
        held.clock.run_for(300)
    held.wait_for_function("told === 3")
    held.evaluate("refused = false")
    held.clock.run_for(1000 * seconds + 300)
    held.wait_for_function("said.includes('join')")
    assert held.evaluate("lines().length") == 1, "nothing is waited for any more"


def test_patience_has_no_end_while_the_server_asks_for_it(held: Page) -> None:
    held.evaluate(SERVER, [429, {"detail": BUSY, "code": "share_rate"}, {"Retry-After": "60"}])
    for attempt in range(1, 5):
        held.wait_for_function("(attempt) => told === attempt", arg=attempt)
        assert held.evaluate("lines()[1]") == SAID
        held.clock.run_for(60_100)
    assert held.evaluate("client.status") == "joining"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_final(held: Page, status: int) -> None:
    held.evaluate(SERVER, [status, {"detail": "this link has expired", "code": "share_expired"}, {}])
    held.wait_for_function("client.status === 'closed'")
    assert held.evaluate("client.failure") == {"code": "share_expired", "message": "This link has expired."}
    held.clock.run_for(130_000)
    assert held.evaluate("attempts") == 1
