"""Figures of a real Chromium that watches a headless participant: its numbers and times fit what was sent."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

import rtclab
from http_tools import serving
from rtclab.comparison import browser_figures

PATIENCE_S = 30.0


@pytest.mark.parametrize(("architecture", "via"), [("sfu", "room"), ("mesh", "direct")])
def test_latency_in_a_browser(empty_page: Page, architecture: str, via: str) -> None:
    pattern = rtclab.TestPattern(320, 180, fps=15)
    with rtclab.Room("studio", architecture=architecture) as room, serving(room) as server:
        room.join("alice").publish(pattern)
        empty_page.goto(server.description["url"])
        expect(empty_page.locator("article[data-participant=alice] video")).to_be_visible(timeout=20_000)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            frame = browser_figures(room, {"alice": pattern.sent})
            own = frame[frame["participant"] == "alice"]
            if (len(own) and own["samples"].iloc[0] >= 3) or time.monotonic() > deadline:
                break
            empty_page.wait_for_timeout(250)
        row = own.iloc[0]
        assert (row["source"], row["via"]) == ("pattern", via)
        assert row["samples"] >= 3
        assert 0 < row["latency_p50_s"] <= row["latency_p95_s"] < PATIENCE_S
        assert row["freezes"] >= 0
        assert row["bitrate_bps"] > 10_000
