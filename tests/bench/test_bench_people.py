"""The benchmarks with people who encode and decode: figures from one short round."""

from __future__ import annotations

import json
from itertools import pairwise, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from rtclab import cli
from rtclab.bench import mix, people, switch
from rtclab.bench.people import WAYS
from rtclab.bench.processes import Worker
from rtclab.errors import RtclabError, Timeout
from rtclab.peers import RemoteTrack


def test_mix_by_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mix, "SETTLE_S", 0.1)
    path = tmp_path / "figures.json"
    command = ["bench", "mix", "--fps", "5", "--seconds", "3", "--rounds", "1", "--json", str(path)]
    assert cli.main(command) == 0
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["architecture", "fps"]
    assert [line.split()[0] for line in lines] == ["sfu", "mcu"]
    sfu, mcu = json.loads(path.read_text("utf-8"))["rows"]
    assert all(row["fps"] > 0 and row["server_core"] > 0 for row in (sfu, mcu))
    assert mcu["later_ms"] == pytest.approx(mcu["p50_ms"] - sfu["p50_ms"])
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in (sfu, mcu))
    assert all(row["frames"] > 0 and row["load_core"] > 0 for row in (sfu, mcu))


def test_a_stretch_without_a_picture_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "WAIT_S", 0.05)
    nobody = people.People()
    nobody._tracks = [cast(RemoteTrack, SimpleNamespace(received=0))]
    with pytest.raises(Timeout, match="no picture comes"):
        nobody.handle({"do": "measure", "seconds": 0.01})


def test_the_tour_goes_through_every_change_once() -> None:
    assert sorted(pairwise(switch.TOUR)) == sorted(permutations(WAYS, 2))


def test_switch_by_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(switch, "TOUR", ("sfu", "mcu", "mesh"))
    path = tmp_path / "figures.json"
    assert cli.main(["bench", "switch", "--rounds", "1", "--json", str(path)]) == 0
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["switch", "median", "ms", "worst", "ms"]
    rows = json.loads(path.read_text("utf-8"))["rows"]
    assert [row["switch"] for row in rows] == ["sfu to mcu", "mcu to mesh", "asked again in relay"]
    assert len(lines) == 3
    for row in rows:
        (time_s,) = row["times_s"]
        assert 1000 * time_s == row["median_ms"] == row["worst_ms"] > 0


def test_people_say_what_went_wrong() -> None:
    with Worker("people") as worker, pytest.raises(RtclabError, match="people: KeyError: 'dance'"):
        worker.ask("dance")
