"""``rtclab bench mix``: what the MCU costs and how late its picture is, beside the SFU with the same people.

Four people publish 640x360, which fill a mix of 1280x720 exactly; one more watches all of them and reads the
numbers in their pictures, in the mix as in the tracks of the SFU. Both architectures take turns in one room,
whose process has a core of its own; encoders and decoders of the people are in another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .party import ANSWER_S, party
from .processes import Worker
from .progress import Progress
from .rig import medians
from .table import Column, table

PEOPLE, SIZE = 4, (640, 360)
SETTLE_S = 2.0

COLUMNS = (
    Column("architecture", "architecture"),
    Column("fps", "fps", "{:.1f}"),
    Column("server_core", "server's core", "{:.0%}"),
    Column("p50_ms", "p50 ms", "{:.0f}"),
    Column("p95_ms", "p95 ms", "{:.0f}"),
    Column("later_ms", "later by ms", "{:.0f}"),
    Column("load_core", "load's core", "{:.0%}"),
)


def mix(fps: int, seconds: float, rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """Measure the SFU and the MCU in alternation.

    Returns
    -------
    list of dict
        One for each: the medians of the rounds, and under ``rounds`` each of them. ``fps`` is that of one
        track, or of the mix, at the viewer; ``server_core`` the share of a core of the room's whole process;
        ``later_ms`` by how much the median latency is above the SFU's of the same round.
    """
    found: dict[str, list[dict[str, Any]]] = {"sfu": [], "mcu": []}
    with party(PEOPLE, SIZE, fps, progress) as (server, people):
        for number in range(rounds):
            for architecture, several in found.items():
                progress.say(f"{architecture}, round {number + 1} of {rounds}")
                server.ask("architecture", name=architecture)
                people.ask("flow", ANSWER_S, architecture=architecture)
                time.sleep(SETTLE_S)
                several.append({"architecture": architecture, **_measure(server, people, seconds)})
    for sfu, mcu in zip(found["sfu"], found["mcu"], strict=True):
        mcu["later_ms"] = mcu["p50_ms"] - sfu["p50_ms"]
    return [{**medians(several), "rounds": several} for several in found.values()]


def _measure(server: Worker, people: Worker, seconds: float) -> dict[str, Any]:
    begin, cpu, load_cpu = time.monotonic(), server.cpu_s(), people.cpu_s()
    told = people.ask("measure", seconds + ANSWER_S, seconds=seconds)
    passed = time.monotonic() - begin
    p50, p95 = (float(value) for value in np.percentile(told["latencies_s"], [50, 95]))
    return {
        "fps": told["fps"],
        "server_core": (server.cpu_s() - cpu) / passed,
        "p50_ms": 1000 * p50,
        "p95_ms": 1000 * p95,
        "load_core": (people.cpu_s() - load_cpu) / passed,
        "frames": len(told["latencies_s"]),
        "unread": told["unread"],
    }


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    return table(COLUMNS, rows)
