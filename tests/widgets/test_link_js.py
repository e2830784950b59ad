"""What the stand-alone page reads in its address."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from rtclab.signaling.shares import Shares

LINK = """async (hash) => {
  const { linkOf } = await import("/js/link.js");
  const { token, role, until } = linkOf(hash);
  return [token, role, until && until.getTime() / 1000];
}"""

UNTIL = """async ([until, now]) => {
  const { untilText } = await import("/js/link.js");
  return untilText(new Date(until), new Date(now));
}"""


def read(page: Page, fragment: str) -> Any:
    return page.evaluate(LINK, fragment)


@pytest.mark.parametrize("role", ["viewer", "participant"])
def test_a_share_says_its_role_and_its_end(plain: Page, role: str) -> None:
    ticket = Shares("room").open(role, 60, 1_795_000_000)
    assert read(plain, f"#token={ticket.token}") == [ticket.token, role, ticket.expires_at]


@pytest.mark.parametrize("token", ["secret", "viewer", "viewer.a.b.c.d", "admin.a.1.c.d", "viewer.a.1.c.d.e"])
def test_any_other_token_says_nothing(plain: Page, token: str) -> None:
    assert read(plain, f"#token={token}") == [token, "participant", None]


def test_no_token_is_none(plain: Page) -> None:
    assert read(plain, "") == [None, "participant", None]
    assert read(plain, "#elsewhere") == [None, "participant", None]


def test_the_day_is_said_where_it_is_another(plain: Page) -> None:
    today = plain.evaluate(UNTIL, ["2026-11-22T17:05:00", "2026-11-22T10:00:00"])
    tomorrow = plain.evaluate(UNTIL, ["2026-11-23T17:05:00", "2026-11-22T10:00:00"])
    assert "05" in today
    assert "23" not in today
    assert "23" in tomorrow
    assert tomorrow.endswith(today)
