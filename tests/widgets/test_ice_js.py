"""What a page says of a TURN server that gives it no relay, from what its connection tells."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

FAKE = """class FakeConnection extends EventTarget {
  candidate(candidate) { this.dispatchEvent(Object.assign(new Event("icecandidate"), { candidate })); }
  fail(url, errorCode, errorText = "") {
    this.dispatchEvent(Object.assign(new Event("icecandidateerror"), { url, errorCode, errorText }));
  }
}"""
TURN = "turn:turn.example.org?transport=udp"


def problem(page: Page, policy: str, happens: str) -> Any:
    """The problem after some events, and how often it was told that something has changed."""
    return page.evaluate(
        f"""async (policy) => {{
          {FAKE}
          const {{ Gathering }} = await import("/js/ice.js");
          const pc = new FakeConnection();
          let told = 0;
          const gathering = new Gathering(pc, {{ iceTransportPolicy: policy }}, () => (told += 1));
          {happens}
          return [gathering.problem, told];
        }}""",
        policy,
    )


def test_nothing_is_wrong_until_something_fails(plain: Page) -> None:
    assert problem(plain, "all", "") == [None, 0]
    assert problem(plain, "all", "pc.candidate({ type: 'host' }); pc.candidate(null);")[0] is None
    assert problem(plain, "all", "pc.fail('stun:a', 701);") == [None, 0]


def test_a_refusal_and_a_silent_server_are_told_apart(plain: Page) -> None:
    found, told = problem(plain, "relay", f"pc.fail('{TURN}', 401, 'Unauthorized');")
    assert told == 1
    assert f"{TURN} refused the username or the password (401 Unauthorized)." in found["text"]
    assert "ice_transport_policy" in found["text"]
    found, _ = problem(plain, "all", f"pc.fail('{TURN}', 701, 'TURN allocate request timed out.');")
    assert f"{TURN} could not be reached (701 TURN allocate request timed out)." in found["text"]
    assert "Only a direct way is left" in found["text"]


def test_a_relay_makes_good_for_what_failed_before(plain: Page) -> None:
    happens = f"pc.fail('{TURN}', 701); pc.candidate({{ type: 'relay' }});"
    assert problem(plain, "relay", happens)[0] is None


def test_without_any_candidate_there_is_something_to_say(plain: Page) -> None:
    found, told = problem(plain, "relay", "pc.candidate(null);")
    assert told == 1
    assert "no TURN server that it can use" in found["text"]
