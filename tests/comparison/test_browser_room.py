"""Figures of a real Chromium that watches a headless participant: its numbers and times fit what was sent."""

from __future__ import annotations

import contextlib
import math
import time

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

import rtclab
from browser_tools import SMALL_CAPTURE, moves, open_page, publish_camera
from http_tools import serving
from rtclab.comparison import browser_figures, page_figures

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


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("architecture", "decodes"), [("mesh", 2), ("sfu", 2), ("mcu", 1)])
def test_what_a_page_sends_and_receives(browser: Browser, architecture: str, decodes: int) -> None:
    """The page of a room is two participants: one publishes, one watches."""

    def as_on_paper(alice: pd.Series, viewer: pd.Series) -> bool:
        return (
            alice["encodes"] == alice["encodes_formula"]
            and viewer["decodes"] == decodes
            and alice["uplink_bps_formula"] > 0
            and viewer["downlink_bps"] > 0
        )

    with rtclab.Room("studio", architecture=architecture) as room, serving(room) as server:
        room.join("carol").publish(rtclab.TestPattern(160, 90, fps=10))
        page = open_page(browser, server.description["url"], SMALL_CAPTURE)
        with contextlib.closing(page.context):
            publish_camera(page, "alice")
            moves(page, "everyone" if architecture == "mcu" else "carol")
            (watching,) = {one.name for one in room.participants} - {"alice", "carol"}
            deadline = time.monotonic() + 2 * PATIENCE_S
            while True:
                frame = page_figures(room, 3).set_index("participant").reindex(["alice", watching])
                alice, viewer = frame.iloc[0], frame.iloc[1]
                if as_on_paper(alice, viewer):
                    break
                assert time.monotonic() < deadline, frame.T.to_string()
                page.wait_for_timeout(250)
    assert alice["uplink_wire_bps"] > alice["uplink_bps"] > 0
    assert viewer["downlink_wire_bps"] > viewer["downlink_bps"]
    assert (viewer["uplink_bps"], viewer["encodes"], alice["decodes"]) == (0, 0, 0)
    if architecture == "mesh":  # carol, whose B it takes, is headless
        assert math.isnan(viewer["decodes_formula"])
    else:
        assert viewer["decodes_formula"] == decodes
        assert viewer["downlink_bps_formula"] > 0
