"""``rtclab bench join``: how long viewers take to join, and what that costs the server.

A join lasts from a viewer's first signaling message to its SRTP keys: signaling, ICE, DTLS. The publisher
sends meanwhile, so those who have joined are served.
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
    Column("at_once", "at once"),
    Column("median_ms", "median ms", "{:.0f}"),
    Column("longest_ms", "longest ms", "{:.0f}"),
    Column("total_s", "all joined s", "{:.2f}"),
    Column("cpu_ms", "CPU ms/join", "{:.1f}"),
    Column("failed", "failed"),
)


def join(
    systems: Sequence[str], count: int, at_once: int, rounds: int, load: Load, progress: Progress
) -> list[dict[str, Any]]:
    """Measure; the systems alternate.

    Returns
    -------
    list of dict
        One for each system: the medians of the rounds, and under ``rounds`` each of them.
    """
    found: dict[str, list[dict[str, Any]]] = {system: [] for system in systems}
    for number in range(rounds):
        for system in systems:
            progress.say(f"{system}, round {number + 1} of {rounds}: {count} viewers join")
            with Rig(system, load) as rig:
                result = rig.join(count, at_once)
            found[system].append(
                {
                    "system": system,
                    "viewers": result["joined"],
                    "at_once": at_once,
                    "median_ms": result["median_s"] * 1000,
                    "longest_ms": result["longest_s"] * 1000,
                    "total_s": result["total_s"],
                    "cpu_ms": result["cpu_s"] / result["joined"] * 1000,
                    "failed": count - result["joined"],
                    "profile": result["profile"],
                }
            )
    return [{**medians(several), "rounds": several} for several in found.values()]


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    return table(COLUMNS, rows)
