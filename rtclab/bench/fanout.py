"""``rtclab bench fanout``: what a packet costs, how many arrive, and how late.

For each number of viewers, and for each system in turn, round by round:

* CPU: processor time of the server's process, user and system, divided by the packets that reached viewers;
* delivered: packets received by all viewers, of those sent times viewers;
* latency: from the publisher's send to the kernel's receive stamp at the viewer's socket, one clock;
* memory: what the server's process has grown by, divided by the viewers;
* packets a system call, where the server can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
        One for each system and count: the medians of the rounds, and under ``rounds`` each of them.
    """
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for system in systems:
            with Rig(system, load) as rig:
                for count in sorted(set(counts)):
                    where = f"{system}, {count} viewers, round {number + 1} of {rounds}"
                    progress.say(f"{where}: joining")
                    joined = rig.join(count - rig.viewers)
                    progress.say(f"{where}: measuring")
                    row = {"system": system, "profile": rig.profile, **rig.measure(seconds)}
                    row["join_ms"] = joined["median_s"] * 1000
                    row["join_failures"] = len(joined["failures"])
                    found.setdefault((system, count), []).append(row)
    rows = []
    for (system, count), several in found.items():
        row = {**medians(several), "rounds": several}
        ours = found.get(("rtclab", count))
        if system != "rtclab" and ours:
            row["versus"] = row["cpu_us"] / medians(ours)["cpu_us"]
        rows.append(row)
    return sorted(rows, key=lambda row: (row["viewers"], systems.index(row["system"])))


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    present = [column for column in COLUMNS if any(row.get(column.key) is not None for row in rows)]
    return table(present, rows)
