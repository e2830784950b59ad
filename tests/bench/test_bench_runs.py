"""The benchmarks with a few viewers: all packets are counted, samples decrypt, nothing stays behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtclab import apt, cli
from rtclab.bench import fanout, join, latency, rig
from rtclab.bench.busy import BUSY
from rtclab.bench.processes import Worker
from rtclab.bench.progress import Progress
from rtclab.bench.rig import Load, Rig
from rtclab.errors import RtclabError

SMALL = Load(fps=20, packets_per_frame=3)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "SETTLE_S", 0.1)
    monkeypatch.setattr(latency, "ALONE_S", 0.1)


@pytest.fixture
def quiet() -> Iterator[Progress]:
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        yield Progress(nothing)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_every_packet_reaches_every_viewer_and_decrypts() -> None:
    with Rig("rtclab", Load(fps=20, packets_per_frame=3, audio=True)) as room:
        assert room.join(3)["joined"] == 3
        figures = room.measure(1.0)
        pids = [room.server.pid, room._publisher.pid, room._audience.pid]
    assert figures["ratio"] == 1.0
    assert figures["delivered"] > 3 * 20 * 3
    assert figures["decrypted"] > 0
    assert figures["undecryptable"] == 0
    assert figures["cpu_us"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["per_call"] >= 1
    assert room.profile == "AEAD_AES_128_GCM"
    assert all(gone(pid) for pid in pids)


def test_fanout_beside_a_real_janus_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apt.ensure(lambda: shutil.which("janus"), ("janus",)), "apt-get install janus"
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.png"
    command = ["bench", "fanout", "--versus", "janus", "--rounds", "1", "--viewers", "2", "--seconds", "0.5"]
    assert cli.main([*command, "--fps", "20", "--json", str(figures), "--plot", str(picture)]) == 0
    heading, _, *lines, note = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["system", "viewers"]
    assert [re.split(" {2,}", line)[0] for line in lines] == ["rtclab", "janus", "janus tuned"]
    assert note.startswith("janus: the package as configured by default")
    rows = json.loads(figures.read_text("utf-8"))["rows"]
    for row in rows:
        assert row["rounds"][0]["ratio"] == 1.0, row["system"]
        assert row["delivered"] == 10 * 4 * 2
        assert row["decrypted"] > 0
        assert row["join_failures"] == row["undecryptable"] == 0
    assert ["versus" in row for row in rows] == [False, True, True]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_another_server_cannot_do_is_said_and_the_rest_is_kept(
    quiet: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = Rig.join

    def few(self: Rig, count: int, at_once: int = 8) -> dict[str, Any]:
        if self.system == "rtclab":
            return enough(self, count, at_once)
        raise RtclabError("no viewer could join")

    monkeypatch.setattr(Rig, "join", few)
    rows = fanout.fanout(["mediarelay", "rtclab"], [2], 0.3, 1, SMALL, quiet)
    assert [(row["system"], row.get("error")) for row in rows] == [
        *(("mediarelay", "no viewer could join"), ("rtclab", None)),
    ]
    assert fanout.show(rows).endswith("\nmediarelay, 2 viewers: no viewer could join")


def test_who_stops_it_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pids: list[int] = []

    def stopped(self: Rig, count: int, at_once: int = 8) -> None:
        pids.extend([self.server.pid, self._publisher.pid, self._audience.pid])
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Rig, "join", stopped)
    assert cli.main(["bench", "join", "--viewers", "2"]) == 1
    assert "stopped" in capsys.readouterr().err
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


def test_join_counts_everybody(quiet: Progress) -> None:
    (row,) = join.join(["rtclab"], 5, 2, 1, SMALL, quiet)
    assert (row["viewers"], row["failed"], row["at_once"]) == (5, 0, 2)
    assert row["median_ms"] <= row["longest_ms"] <= row["total_s"] * 1000


def test_latency_has_a_row_for_each_cell(quiet: Progress) -> None:
    rows = latency.latency(2, 0.3, 1, SMALL, quiet)
    assert [row["beside"] for row in rows] == ["nothing", *BUSY]
    assert all(row["decrypted"] > 0 for row in rows)
    assert all("slower" in row for row in rows[1:])


def test_mediarelay_sends_pictures_on() -> None:
    with Rig("mediarelay", Load(fps=10, packets_per_frame=2, real=True)) as relay:
        assert relay.join(2)["joined"] == 2
        figures = relay.measure(1.0)
    assert figures["delivered"] > 0
    assert figures["undecryptable"] == 0


def test_a_worker_says_what_went_wrong() -> None:
    with Worker("room_server") as worker, pytest.raises(RtclabError, match="unknown request"):
        worker.ask("dance")


def test_a_worker_that_has_ended_is_noticed() -> None:
    worker = Worker("viewers")
    worker.stop()
    with pytest.raises(RtclabError, match="has ended"):
        worker.ask("figures")
    assert gone(worker.pid)
