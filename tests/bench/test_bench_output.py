"""What ``rtclab bench`` prints, writes and refuses."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from rtclab import cli
from rtclab.bench import fanout, janus, latency
from rtclab.bench.command import counts, report
from rtclab.bench.plot import plot
from rtclab.bench.progress import Progress
from rtclab.bench.rig import Load, medians
from rtclab.bench.table import Column, table

ROW = {
    "system": "rtclab",
    "viewers": 20,
    "cpu_us": 6.5,
    "core": 0.016,
    "rate": 2400.0,
    "ratio": 1.0,
    "p50_ms": 0.4,
    "p99_ms": 1.2,
    "memory_mb": 0.2,
    "join_ms": 12.0,
    "load_core": 0.01,
    "per_call": 74.0,
}
OTHER = {**ROW, "system": "janus", "cpu_us": 23.4, "versus": 3.6, "p99_ms": None, "per_call": None}


def test_a_table_is_aligned() -> None:
    columns = (Column("name", "name"), Column("value", "figure", "{:.1f}"))
    text = table(columns, [{"name": "a", "value": 1.25}, {"name": "long name", "value": None}])
    assert text.splitlines() == [
        "name       figure",
        "---------  ------",
        "a             1.2",
        "long name       -",
    ]


def test_the_table_of_fanout_shows_both_systems() -> None:
    lines = fanout.show([ROW, OTHER]).splitlines()
    assert len(lines) == 4
    assert "of rtclab" in lines[0]
    assert "3.6x" in lines[3]
    assert len({len(line) for line in lines[1:2]}) == 1


def test_columns_that_nobody_has_are_left_out() -> None:
    assert "of rtclab" not in fanout.show([ROW])


def test_medians_are_taken_of_numbers_only() -> None:
    merged = medians([{**ROW, "cpu_us": value} for value in (3.0, 9.0, 4.0)])
    assert merged["cpu_us"] == 4.0
    assert merged["system"] == "rtclab"
    assert isinstance(medians([ROW, ROW])["viewers"], int)
    assert medians([OTHER, ROW])["p99_ms"] is None


def test_the_report_is_json() -> None:
    written = json.loads(json.dumps(report("fanout", [ROW], Load(audio=True))))
    assert written["rows"] == [ROW]
    assert written["load"]["audio"] is True
    assert written["python"]


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    busy = {"beside": "nothing", "p50_ms": 0.4, "p99_ms": 1.0}
    joined = {"system": "rtclab", "median_ms": 20.0, "cpu_ms": 3.0}
    failed = {"system": "janus", "viewers": 200, "error": "no viewer could join"}
    for command, rows in (("fanout", [ROW, OTHER, failed]), ("latency", [busy]), ("join", [joined])):
        path = tmp_path / f"{command}.png"
        plot(command, rows, path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_table_of_latency_has_a_line_for_each_cell() -> None:
    row = {"beside": "python", "viewers": 5, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "ratio": 1.0}
    assert "python" in latency.show([{**row, "slower": 0.05, "room_core": 0.04}])


def test_progress_is_one_line_for_each_step() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.say("joining")
        progress.say("measuring")
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1] for line in lines] == ["joining", "measuring"]


def test_numbers_of_viewers() -> None:
    assert counts("20,100") == [20, 100]
    for text in ("", "a", "0", "5,-1"):
        with pytest.raises(argparse.ArgumentTypeError):
            counts(text)


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_file_that_cannot_be_written_is_said_before_anything_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "missing" / "figures", tmp_path):
        with pytest.raises(SystemExit) as refused:
            cli.main(["bench", "fanout", option, str(path)])
        assert refused.value.code == 2
        assert "cannot be written" in capsys.readouterr().err


def test_nothing_delivered_has_no_cost_to_compare() -> None:
    for ours, other in ((None, 3.0), (3.0, None)):
        found = {("rtclab", 5): [{**ROW, "cpu_us": ours}], ("janus", 5): [{**OTHER, "cpu_us": other}]}
        del found["janus", 5][0]["versus"]
        assert "versus" not in fanout._row(found, "janus", 5)


def test_a_missing_janus_is_said_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(janus.shutil, "which", lambda name: None)
    assert cli.main(["bench", "fanout", "--versus", "janus"]) == 1
    assert "apt-get install janus" in capsys.readouterr().err


def test_janus_is_configured_for_this_run_only(tmp_path: Path) -> None:
    janus.write_config(tmp_path, 4321, tuned=False)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"janus.jcfg", "janus.transport.http.jcfg", "janus.plugin.videoroom.jcfg"}
    general = (tmp_path / "janus.jcfg").read_text("utf-8")
    assert str(tmp_path) in general
    assert "event_loops" not in general
    assert "libjanus_videoroom.so" not in general
    assert "port = 4321" in (tmp_path / "janus.transport.http.jcfg").read_text("utf-8")
    assert f"room-{janus.ROOM}:" in (tmp_path / "janus.plugin.videoroom.jcfg").read_text("utf-8")


def test_a_tuned_janus_has_event_loops(tmp_path: Path) -> None:
    janus.write_config(tmp_path, 4321, tuned=True)
    assert "event_loops = 2" in (tmp_path / "janus.jcfg").read_text("utf-8")
