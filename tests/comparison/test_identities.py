"""The identities for more participants, in bytes from the first frame to the last: no clock takes part."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from rtclab.comparison import trial
from rtclab.comparison.figures import WITH_FORMULA, figures
from rtclab.comparison.talker import Talker
from rtclab.comparison.trial import Plan, Recording, Snapshot
from rtclab.forwarding.mcu import Mcu
from rtclab.measure.formulas import ARCHITECTURES
from waiting import until

FRAMES, FPS = 10, 10
EXACT = ("encodes", "decodes", "connections")
ALIKE = 2.0  # a keyframe more or less changes no place


class Actor(Talker):
    """A talker who waits for the curtain, shows so many frames, and stands still until it falls."""

    def __init__(self, place: int, plan: Plan, rises: threading.Event, falls: threading.Event) -> None:
        super().__init__(place, plan.size, plan.fps, sound=False)
        self.still = threading.Event()
        self._rises, self._falls = rises, falls
        self._shown = 0

    def frame(self, number: int) -> NDArray[np.uint8]:
        self._rises.wait()
        if self._shown == FRAMES:
            self.still.set()
            self._falls.wait()
        self._shown += 1
        return super().frame(number)


class Play(trial._Trial):
    """Everybody is there before the first frame, and the counters are read when the last one has arrived."""

    def run(self, say: Callable[[str], None], step: Callable[[], None]) -> Recording:
        rises, falls = threading.Event(), threading.Event()
        actors = [Actor(place, self.plan, rises, falls) for place in range(self.plan.participants)]
        pairs = [(viewer, actor) for viewer in actors for actor in actors if viewer is not actor]
        try:
            for actor in actors:
                self._join(actor)
                self.peers[actor.name].publish(actor)
            self._expect(len(actors))
            self._watch(pairs)
            begin = self._still(0.0)
            for recorder in self.recorders.values():
                recorder.record(1.0)
            rises.set()
            assert all(actor.still.wait(60) for actor in actors)
            until(
                lambda: all(self.recorders[viewer.name].seen.get(actor.stream) for viewer, actor in pairs),
                "somebody does not see somebody",
                60,
            )
            end = self._still(FRAMES / FPS)
            for recorder in self.recorders.values():
                recorder.stop()
                recorder.kept.clear()  # what it looks like is another test's business
        finally:
            rises.set()
            falls.set()
            self.engine.run(self._leave())
        talkers: list[Talker] = [*actors]
        return Recording(self.architecture, self.plan, talkers, self.recorders, self.mixed, 0.0, begin, end)

    def _still(self, at: float) -> Snapshot:
        """The counters when nothing is under way."""
        mixer = self.room._router.architecture
        if isinstance(mixer, Mcu):
            mixer.pictures.watched = False
        found: list[Snapshot] = []

        def arrived() -> bool:
            now = self._snapshot()
            found[:] = [Snapshot(now.peers, at, now.room, at, at, at, at)]
            peers, room = now.peers, now.room
            through = peers["connection"] == "room"
            return (
                _packets(peers[through], "up") == _packets(room, "in")
                and _packets(room, "out") == _packets(peers[through], "down")
                and _packets(peers[~through], "up") == _packets(peers[~through], "down")
            )

        until(arrived, lambda: f"packets are lost:\n{found[0].peers}\n{found[0].room}", 60)
        if isinstance(mixer, Mcu):
            mixer.pictures.watched = True
        return found[0]


def _packets(frame: pd.DataFrame, direction: str) -> int:
    return int(frame[frame["direction"] == direction]["packets"].fillna(0).sum())


@functools.cache
def played(architecture: str, people: int, performance: int = 1) -> tuple[dict[str, Any], pd.DataFrame]:
    """The row of an architecture and those of its participants; each `performance` is a run of its own."""
    plan = Plan(people, FRAMES / FPS, (160, 90), FPS, False, 50_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "_Trial", Play)
        row, participants, _ = figures(trial.run(architecture, plan, lambda said: None, lambda: None))
    return row, participants


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("people", [4, 6])
def test_identities(architecture: str, people: int) -> None:
    row, participants = played(architecture, people)
    for figure in WITH_FORMULA:
        exact = figure in EXACT or (architecture == "mesh" and "server" in figure)
        paper = pytest.approx(row[f"{figure}_formula"], rel=0 if exact else 0.1, abs=1e-9)
        assert row[figure] == paper, figure
    assert row["uplink_bps"] > 0
    for figure in EXACT:
        assert set(participants[figure]) == {row[figure]}


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("server_out_bps", ["mesh", "mcu", "relay sfu"]),
        ("encodes", ["mcu relay sfu", "mesh"]),
        ("decodes", ["mcu", "mesh relay sfu"]),
    ],
)
def test_two_runs_rank_alike(figure: str, expected: list[str]) -> None:
    for performance in (1, 2):
        rows = {name: played(name, 4, performance)[0][figure] for name in ARCHITECTURES}
        assert ranking(rows) == expected, rows


def ranking(values: dict[str, float]) -> list[str]:
    """Names from the least to the most; those close to the one before them share a place."""
    places: list[list[str]] = []
    before = -math.inf
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        if value > ALIKE * before:
            places.append([])
        places[-1].append(name)
        before = value
    return [" ".join(sorted(place)) for place in places]
