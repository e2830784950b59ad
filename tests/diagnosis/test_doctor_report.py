"""The kernel's side of `rtclab.doctor`: what a page says is noted, and without one the report ends, too."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rtclab
from rtclab.diagnosis import doctor as module
from rtclab.diagnosis import machine
from rtclab.diagnosis.doctor import CHECKS, Doctor
from rtclab.engine import get_engine
from rtclab.errors import Closed, Timeout

PAGE_CHECKS = [name for name, (_, where) in CHECKS.items() if where == "page"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CHECKS", {"Python": lambda: ("ok", "fine")})


NUMBERS = itertools.count(1)


@pytest.fixture
def report() -> Iterator[Doctor]:
    report = rtclab.doctor()
    yield report
    report.close()


def say(report: Doctor, what: str, page: str = "page-1", **fields: Any) -> None:
    report._handle_custom_msg({"doctor": page, "say": what, "n": next(NUMBERS), **fields}, [])


def done(report: Doctor, timeout: float = 10.0) -> str:
    return get_engine().run(report.done(timeout))


def found(report: Doctor, check: str, column: str = "state") -> str:
    return str(report.results.loc[check, column])


def find_everything(report: Doctor, page: str = "page-1", **other: str) -> None:
    for name in PAGE_CHECKS:
        say(report, "result", page, check=name, state=other.get(name, "ok"), detail=f"of {page}")


def test_without_a_page_it_ends_after_a_bounded_wait() -> None:
    report = rtclab.doctor(page_timeout=0.05)
    assert "No page has shown this widget" in done(report)
    assert set(report.results.loc[PAGE_CHECKS, "state"]) == {"none"}
    assert found(report, "kernel") == "ok"
    assert found(report, "versions", "detail").startswith("ipykernel")
    report.close()


def test_what_a_page_finds_is_noted_and_summed_up(report: Doctor) -> None:
    say(report, "begin", browser="Lynx 2.8")
    find_everything(report, camera="warn")
    assert done(report).startswith("Media will travel by WebRTC over UDP")
    assert report.verdict is not None
    assert report.verdict.way == "webrtc"
    assert [found(report, "camera", column) for column in ("where", "state", "detail")] == [
        "page",
        "warn",
        "of page-1",
    ]
    assert "Lynx 2.8" in found(report, "versions", "detail")
    assert "Camera, microphone" in repr(report)
    assert repr(report).endswith(report.verdict.sentence)


def test_a_check_that_is_made_again_changes_the_sentence(report: Doctor) -> None:
    say(report, "begin")
    find_everything(report, camera="fail")
    assert "to publish a camera" in done(report)
    say(report, "result", check="camera", state="ok", detail="")
    assert "to publish a camera" not in done(report)


def test_the_page_that_began_last_is_listened_to(report: Doctor) -> None:
    say(report, "begin", "page-1")
    say(report, "begin", "page-2")
    find_everything(report, "page-1")
    assert set(report.results.loc[PAGE_CHECKS, "state"]) == {"waiting"}
    find_everything(report, "page-2")
    done(report)
    assert set(report.results.loc[PAGE_CHECKS, "detail"]) == {"of page-2"}


def test_what_is_told_late_changes_nothing(report: Doctor) -> None:
    say(report, "begin")
    late = next(NUMBERS)
    find_everything(report)
    say(report, "result", n=late, check="udp", state="running", detail="")
    done(report)
    assert found(report, "udp") == "ok"


def test_pages_may_say_anything(report: Doctor) -> None:
    say(report, "begin", browser=["no", "text"])
    for fields in (
        {},
        {"check": "kernel", "state": "fail"},
        {"check": "udp", "state": "great"},
        {"check": 7},
    ):
        say(report, "result", **fields)
    say(report, "result", check="udp", state="fail", detail={"a": "x" * 5000})
    contents: list[Any] = [None, [], {"doctor": 5}, {"client": "c", "message": {"type": "ping"}}]
    for content in contents:
        report._handle_custom_msg(content, [])
    assert found(report, "kernel") != "fail"
    assert found(report, "udp") == "fail"
    assert len(found(report, "udp", "detail")) <= 1000


def test_pings_are_answered_and_the_loop_is_held_up(report: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(report, "send", sent.append)
    monkeypatch.setattr(module, "BUSY_S", 0.2)
    say(report, "begin")
    say(report, "ping", n=7)
    assert {"doctor": "page-1", "say": "pong", "n": 7} in sent
    say(report, "busy")
    assert {"doctor": "page-1", "say": "busy", "seconds": 0} in sent, "there is no cell's loop here"

    async def hold_up() -> float:
        report._cell_loop = get_engine().loop
        say(report, "busy")
        begun = time.monotonic()
        await module.asyncio.sleep(0)
        await module.asyncio.sleep(0)
        return time.monotonic() - begun

    assert get_engine().run(hold_up()) >= 0.2
    assert {"doctor": "page-1", "say": "busy", "seconds": 0.2} in sent


def test_a_page_that_stops_is_named(report: Doctor) -> None:
    say(report, "begin")
    for name in PAGE_CHECKS[: PAGE_CHECKS.index("udp")]:
        say(report, "result", check=name, state="ok", detail="")
    say(report, "result", check="udp", state="running", detail="")
    with pytest.raises(Timeout, match="WebRTC over UDP hangs"):
        done(report, 0.3)


def test_who_waits_for_a_closed_report_is_told(report: Doctor) -> None:
    waiting = get_engine().submit(report.done(10))
    report.close()
    with pytest.raises(Closed):
        waiting.result(5)
    report.close()
