"""The report of ``rtclab doctor``, its checks of this machine, and its exit code."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rtclab.chromium import ChromiumMissing
from rtclab.cli import main
from rtclab.diagnosis import machine
from rtclab.diagnosis.findings import Check, Finding, Report


def test_this_machine_passes() -> None:
    report = machine.examine()
    assert [check for check in report.checks if check.state == "fail"] == []
    assert report.ok


def test_the_table_is_aligned_and_ends_with_one_sentence() -> None:
    report = Report((Check("UDP", "ok", "both ways"), Check("Chromium", "warn", "not found")))
    assert repr(report).splitlines()[2:] == [
        "ok    UDP       both ways",
        "warn  Chromium  not found",
        "",
        "Media will travel by WebRTC over UDP to pages that reach this machine, and to others through the "
        "WebSocket of their Jupyter server; what could be better stands beside Chromium.",
    ]


@pytest.mark.parametrize(
    ("warned", "words"),
    [
        (None, "; nothing needs to change."),
        ("Addresses", "to pages on this machine, "),
        ("Server extension", "by comm, which stands still while a cell runs; what could be better"),
        ("Jupyter servers", "by comm, which stands still while a cell runs; what could be better"),
    ],
)
def test_the_sentence_says_how_media_will_travel(warned: str | None, words: str) -> None:
    checks = [Check(name, "warn" if name == warned else "ok", "as it is") for name in machine.CHECKS]
    assert words in Report(tuple(checks)).sentence


def test_what_only_a_page_can_tell_is_no_limit() -> None:
    report = Report((Check("Your page", *machine.CHECKS["Your page"]()),))
    assert report.checks[0].state == "none"
    assert "rtclab.doctor()" in report.checks[0].detail
    assert report.sentence.endswith("nothing needs to change.")


def test_a_failure_is_named() -> None:
    report = Report((Check("UDP", "fail", "blocked"), Check("Chromium", "warn", "not found")))
    assert not report.ok
    assert report.summary == "rtclab cannot work here until this is put right: UDP."


def test_a_check_that_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise ImportError("no such library")

    monkeypatch.setattr(machine, "CHECKS", {"SRTP": broken})
    assert machine.examine().checks == (Check("SRTP", "fail", "ImportError: no such library"),)


def test_no_ipv6_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def ipv4_only(family: socket.AddressFamily, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("Address family not supported")
        return real(family, *rest)

    monkeypatch.setattr(machine.socket, "socket", ipv4_only)
    assert machine._ipv6()[0] == "warn"
    assert machine._ipv4()[0] == "ok"


def test_a_system_without_gso_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "UDP_SEGMENT", 9999)
    assert machine._batches()[0] == "warn"


def test_a_small_socket_buffer_is_said_with_what_makes_it_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtclab.transport.sockets.enlarge_buffers", lambda sock: 212_992)
    state, detail = machine._buffers()
    assert state == "ok"
    assert detail.startswith("208 KiB wait to be sent at most: ")
    assert "about 41 viewers" in detail
    assert "sysctl -w net.core.wmem_max=4194304" in detail


def test_a_missing_package_is_named() -> None:
    state, detail = machine._versions(("numpy", "no-such-package"), "fail", "reinstall rtclab")
    assert (state, detail) == ("fail", "missing: no-such-package; reinstall rtclab")


def test_the_command_prints_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding: Finding = ("ok", "fine")
    monkeypatch.setattr(machine, "CHECKS", {"Python": lambda: finding})
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("; nothing needs to change.\n")
    finding = ("fail", "too old")
    assert main(["doctor"]) == 1


def test_chromium_is_installed_on_demand_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def ensure() -> str:
        asked.append(True)
        raise ChromiumMissing("not as this user")

    monkeypatch.setattr(machine, "CHECKS", {"Python": lambda: ("ok", "fine")})
    monkeypatch.setattr(machine, "ensure_chromium", ensure)
    main(["doctor"])
    assert not asked
    main(["doctor", "--install-chromium"])
    assert asked
    assert "not as this user" in capsys.readouterr().err
