"""``rtclab bench fanout``: what a packet costs, how many arrive, and how late.

For each number of viewers, and for each system in turn, round by round:

* CPU: processor time of the server's process, user and system, divided by the packets that reached viewers;
* delivered: packets received by all viewers, of those sent times viewers;
* latency: from the publisher's send to the kernel's receive stamp at the viewer's socket, one clock;
* memory: what the server's process has grown by, divided by the viewers;
* packets a system call, where the server can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RtclabError
from .progress import Progress
from .rig import Load, Rig, medians
from .table import Column, table

COLUMNS = (
    Column("system", "system"),
    Column("viewers", "viewers"),
    Column("cpu_us", "CPU us/packet", "{:.2f}"),
    Column("versus", "of rtclab", "{:.1f}x"),
    Column("core", "core", "{:.0%}"),
    Column("rate", "packets/s", "{:,.0f}"),
    Column("ratio", "delivered", "{:.2%}"),
    Column("p50_ms", "p50 ms", "{:.2f}"),
    Column("p99_ms", "p99 ms", "{:.2f}"),
    Column("memory_mb", "MB/viewer", "{:.2f}"),
    Column("per_call", "packets/call", "{:.0f}"),
    Column("join_ms", "join ms", "{:.0f}"),
    Column("load_core", "load's core", "{:.0%}"),
)


def fanout(
    systems: Sequence[str],
    counts: Sequence[int],
    seconds: float,
    rounds: int,
    load: Load,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Measure; each round runs every system once, with the counts of viewers from low to high.

    Returns
    -------
    list of dict
        One for each system and count: the medians of the rounds, and under ``rounds`` each of them. Where
        another system than rtclab could not, ``error`` says why in their place.

    Raises
    ------
    rtclab.errors.RtclabError
        rtclab could not.
    """
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    failed: dict[tuple[str, int], str] = {}
    for number in range(rounds):
        for system in systems:
            where = system
            left = sorted(set(counts))
            try:
                with Rig(system, load) as rig:
                    while left:
                        where = f"{system}, {left[0]} viewers, round {number + 1} of {rounds}"
                        progress.say(f"{where}: joining")
                        joined = rig.join(left[0] - rig.viewers)
                        progress.say(f"{where}: measuring")
                        row = {"system": system, "profile": rig.profile, **rig.measure(seconds)}
                        row["join_ms"] = joined["median_s"] * 1000
                        row["join_failures"] = len(joined["failures"])
                        found.setdefault((system, left.pop(0)), []).append(row)
            except RtclabError as error:
                if system == "rtclab":
                    raise
                progress.say(f"{where}: {error}")
                failed |= {(system, count): str(error) for count in left}
    rows = [_row(found, system, count) for system, count in found]
    rows += [
        {"system": system, "viewers": count, "error": error}
        for (system, count), error in failed.items()
        if (system, count) not in found
    ]
    return sorted(rows, key=lambda row: (row["viewers"], systems.index(row["system"])))


def _row(found: Mapping[tuple[str, int], list[dict[str, Any]]], system: str, count: int) -> dict[str, Any]:
    several = found[system, count]
    row = {**medians(several), "rounds": several}
    ours = medians(found["rtclab", count])["cpu_us"] if ("rtclab", count) in found else None
    if system != "rtclab" and ours and row["cpu_us"]:
        row["versus"] = row["cpu_us"] / ours
    return row


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table, and what could not be measured."""
    present = [column for column in COLUMNS if any(row.get(column.key) is not None for row in rows)]
    errors = [f"{row['system']}, {row['viewers']} viewers: {row['error']}" for row in rows if "error" in row]
    return "\n".join([table(present, rows), *errors])
