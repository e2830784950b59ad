"""``rtclab bench latency``: how late packets are while the room's process does something else.

The room lives in a notebook's kernel, so what counts is the latency beside a busy cell: plain Python, NumPy,
and one long C call that holds the GIL. The cell's work is also timed before anybody watches: what it loses to
the room is compared with the processor time the room used. Both share one core: the load has the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .busy import BUSY
from .progress import Progress
from .rig import Load, Rig, medians
from .table import Column, table

COLUMNS = (
    Column("beside", "beside"),
    Column("viewers", "viewers"),
    Column("p50_ms", "p50 ms", "{:.2f}"),
    Column("p99_ms", "p99 ms", "{:.2f}"),
    Column("max_ms", "max ms", "{:.1f}"),
    Column("ratio", "delivered", "{:.2%}"),
    Column("slower", "cell slower by", "{:.1%}"),
    Column("room_core", "room's core", "{:.1%}"),
)
ALONE_S = 2.0


def latency(count: int, seconds: float, rounds: int, load: Load, progress: Progress) -> list[dict[str, Any]]:
    """Measure idle and beside each kind of busy cell.

    Returns
    -------
    list of dict
        One for ``"nothing"`` and for each kind of `BUSY`; ``room_core`` is the share of a core that the room
        used while nothing ran beside it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        with Rig("rtclab", load) as rig:
            alone = {}
            for kind in BUSY:  # nobody watches yet
                progress.say(f"round {number + 1} of {rounds}: {kind} work alone")
                alone[kind] = rig.busy(kind, ALONE_S)
            progress.say(f"round {number + 1} of {rounds}: {count} viewers join")
            rig.join(count)
            progress.say(f"round {number + 1} of {rounds}: idle")
            idle = {"beside": "nothing", **rig.measure(seconds)}
            idle["room_core"] = idle["core"]
            found.setdefault("nothing", []).append(idle)
            for kind in BUSY:
                progress.say(f"round {number + 1} of {rounds}: beside {kind} work")
                speeds: list[float] = []

                def work(kind: str = kind, speeds: list[float] = speeds) -> None:
                    speeds.append(rig.busy(kind, seconds))

                row = {"beside": kind, **rig.measure(seconds, work)}
                row["slower"] = 1 - speeds[0] / alone[kind]
                row["room_core"] = idle["room_core"]
                found.setdefault(kind, []).append(row)
    return [{**medians(several), "rounds": several} for several in found.values()]


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    return table(COLUMNS, rows)
