"""What compare refuses, before it has started anything."""

from __future__ import annotations

from typing import Any

import pytest

import rtclab
from rtclab.comparison import trial
from rtclab.comparison.progress import Bar
from rtclab.errors import RtclabError


def test_links_are_not_ignored() -> None:
    with pytest.raises(RtclabError, match="leave link=None"):
        rtclab.compare(link="3g")


def test_an_unknown_architecture() -> None:
    with pytest.raises(RtclabError, match=r"no architecture 'star'.*'sfu'"):
        rtclab.compare(["sfu", "star"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"architectures": []}, "at least one"),
        ({"participants": 1}, "from 2 to"),
        ({"participants": 2.5}, "from 2 to"),
        ({"seconds": 0}, "from 1 to 120"),
        ({"seconds": 1e9}, "from 1 to 120"),
        ({"size": (161, 90)}, "even sides"),
        ({"fps": 0}, "fps"),
        ({"mix_bitrate": 49_999}, "bitrate must be .* from 50000 .* mix_bitrate"),
        ({"participants": 10, "size": (1280, 720)}, r"mcu cannot mix that: size must .* \(5120, 2160\)"),
        ({"fps": 61, "seconds": 1}, "mcu cannot mix that: fps must be a whole number from 1 to 60"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rtclab.compare(**wrong)


def test_without_a_mixer_its_limits_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def run(self: Any, *_: object) -> Any:
        begun.append(self.room.architecture)
        raise RtclabError("enough")

    monkeypatch.setattr(trial._Trial, "run", run)
    with pytest.raises(RtclabError, match="enough"):
        rtclab.compare(["relay"], 12, 1, size=(1280, 720), fps=100, mix_bitrate=1, progress=False)
    assert begun == ["relay"]


def test_without_tqdm_there_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with Bar(3, show=True) as bar:
        bar.say("mesh: 4 join")
        bar.step()
    assert "mesh: 4 join" in capsys.readouterr().err


def test_with_tqdm_there_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(2, show=True) as bar:
        bar.say("sfu: measuring")
        bar.step()
        bar.step()
    assert "sfu: measuring: 100%" in capsys.readouterr().err


def test_nothing_is_shown_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(1, show=False) as bar:
        bar.say("mesh")
        bar.step()
    assert capsys.readouterr().err == ""
