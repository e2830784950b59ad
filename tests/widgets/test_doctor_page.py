"""The doctor's page against the real kernel's side: a call over real UDP, and one that cannot come about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

import rtclab
from bridge import Bridge
from rtclab.diagnosis import doctor as module
from rtclab.diagnosis.doctor import Doctor
from rtclab.engine import get_engine
from rtclab.room import Room
from rtclab.widgets import bundle

DONE = 30_000  # ms to wait at most on a busy machine
NOWHERE = "203.0.113.7"  # RFC 5737: an address for documentation


@pytest.fixture
def report() -> Iterator[Doctor]:
    report = rtclab.doctor()
    yield report
    report.close()


def show(page: Page, report: Doctor) -> None:
    page.evaluate("async () => { window.Doctor = (await import('/js/entry_doctor.js')).default; }")
    Bridge(page).show(report, "Doctor")
    expect(page.locator("[data-rtclab=doctor]")).to_have_attribute("data-status", "done", timeout=DONE)


def test_a_page_beside_its_kernel_needs_nothing_changed(lab: Page, report: Doctor) -> None:
    show(lab, report)
    states = report.results["state"].to_dict()
    assert states.pop("kernel") == "ok"
    states.pop("busy")  # what is held up here is the test's own loop, which also carries the comm
    assert {name for name, state in states.items() if state == "none"} == {"jupyter", "extension", "ice"}
    assert {state for state in states.values() if state != "none"} == {"ok"}
    assert "ICE and DTLS both ways" in str(report.results.loc["udp", "detail"])
    sentence = get_engine().run(report.done(1))
    expect(lab.get_by_role("status").filter(has_text=sentence)).to_be_visible()
    for check, row in report.results.iterrows():
        expect(lab.locator(f"[data-check={check}]")).to_have_attribute("data-state", row["state"])
        expect(lab.locator(f"[data-check={check}]")).to_contain_text(row["detail"])

    lab.get_by_role("button", name="Examine again").click()
    expect(lab.locator("[data-rtclab=doctor]")).to_have_attribute("data-status", "examining")
    expect(lab.locator("[data-rtclab=doctor]")).to_have_attribute("data-status", "done", timeout=DONE)


def test_where_no_datagram_arrives_it_says_so(
    lab: Page, report: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(route: Route) -> None:
        text = (bundle.HERE / "js" / "doctor_ways.js").read_text("utf-8")
        assert "CONNECT_MS = 12_000" in text
        route.fulfill(
            body=text.replace("CONNECT_MS = 12_000", "CONNECT_MS = 1000"), content_type="text/javascript"
        )

    def elsewhere(name: str, **options: Any) -> Room:
        return Room(name, host_candidates=[NOWHERE], **options)

    monkeypatch.setattr(module, "Room", elsewhere)
    lab.route("**/doctor_ways.js", soon)
    lab.context.clear_permissions()
    show(lab, report)
    assert "None of this page's datagrams reached the kernel" in str(report.results.loc["udp", "detail"])
    assert report.verdict is not None
    assert report.verdict.way == "comm"
    assert report.results.loc["udp", "state"] == "fail"
    row = lab.locator("[data-check=udp]")
    expect(row).to_contain_text("fails")
    lab.unroute("**/doctor_ways.js")


def test_a_browser_without_webrtc_is_promised_no_media(lab: Page, report: Doctor) -> None:
    lab.evaluate("() => delete window.RTCPeerConnection")
    show(lab, report)
    assert report.results.loc["udp", "state"] == "fail"
    assert report.verdict is not None
    assert (report.verdict.way, report.verdict.tone) == ("none", "error")
    expect(lab.get_by_role("status").filter(has_text="switch it on")).to_be_visible()
