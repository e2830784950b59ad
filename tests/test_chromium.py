"""Finding Chromium, and when it is installed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rtclab import apt
from rtclab.chromium import ChromiumMissing, ensure_chromium, find_chromium


def on_path(*names: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in names else None


class Machine:
    """A search path that apt-get fills."""

    def __init__(self, gets: str | None) -> None:
        self.gets = gets
        self.has: list[str] = []
        self.commands: list[Sequence[str]] = []

    def which(self, name: str) -> str | None:
        return on_path(*self.has)(name)

    def run(self, command: Sequence[str]) -> None:
        self.commands.append(command)
        if "install" in command and self.gets:
            self.has.append(self.gets)


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt.tempfile, "gettempdir", lambda: str(tmp_path))


def test_the_usual_names_are_found_in_order() -> None:
    assert find_chromium({}, on_path("google-chrome", "chromium")) == "/usr/bin/chromium"
    assert find_chromium({}, on_path("google-chrome")) == "/usr/bin/google-chrome"
    assert find_chromium({}, on_path()) is None


def test_the_named_browser_wins(tmp_path: Path) -> None:
    mine = tmp_path / "my-chrome"
    mine.touch(mode=0o755)
    assert find_chromium({"RTCLAB_CHROMIUM": str(mine)}) == str(mine)


def test_a_wrong_name_is_an_error_and_no_other_browser_is_taken() -> None:
    with pytest.raises(ChromiumMissing, match="RTCLAB_CHROMIUM is '/nowhere/chrome'"):
        ensure_chromium({"RTCLAB_CHROMIUM": "/nowhere/chrome"}, on_path("chromium"), installable=True)


def test_nothing_is_installed_when_it_is_there() -> None:
    machine = Machine(gets="chromium")
    machine.has.append("chromium")
    assert ensure_chromium({}, machine.which, installable=True, run=machine.run) == "/usr/bin/chromium"
    assert machine.commands == []


def test_a_missing_one_is_installed() -> None:
    machine = Machine(gets="chromium")
    assert ensure_chromium({}, machine.which, installable=True, run=machine.run) == "/usr/bin/chromium"
    assert [command[:2] for command in machine.commands] == [("apt-get", "update"), ("apt-get", "install")]


def test_where_it_cannot_be_installed_the_error_says_what_to_do() -> None:
    machine = Machine(gets="chromium")
    with pytest.raises(ChromiumMissing, match="apt-get install chromium"):
        ensure_chromium({}, machine.which, installable=False, run=machine.run)
    assert machine.commands == []


def test_an_installation_that_brings_nothing_is_an_error() -> None:
    machine = Machine(gets=None)
    with pytest.raises(ChromiumMissing, match="no program of that name appeared"):
        ensure_chromium({}, machine.which, installable=True, run=machine.run)


def test_a_command_that_fails_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "apt-get"
    tool.write_text('#!/bin/sh\necho "$DEBIAN_FRONTEND: no space left"\nexit 100\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ChromiumMissing, match="noninteractive: no space left"):
        ensure_chromium({}, on_path("apt-get"), installable=True)


def test_runs_that_start_at_once_install_once() -> None:
    machine = Machine(gets="chromium")
    ready = threading.Barrier(4)
    found: list[str] = []

    def one_run() -> None:
        ready.wait(5)
        found.append(ensure_chromium({}, machine.which, installable=True, run=machine.run))

    threads = [threading.Thread(target=one_run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert found == ["/usr/bin/chromium"] * 4
    assert len(machine.commands) == 2
