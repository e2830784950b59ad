"""``rtclab bench switch``: how long a picture stands still when the room's architecture is switched.

Two people publish and one more watches them, through every change from one architecture to another. A gap is
the longest time between two frames of either picture, so a thirtieth of a second is none. Last comes how soon
a relay's publisher, told to stop because nobody watches, is seen again by who asks: from the call to the
decoded picture, the offer and answer included.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .party import ANSWER_S, party
from .processes import Worker
from .progress import Progress
from .table import Column, table

PEOPLE, SIZE, FPS = 2, (320, 180), 30
# Every ordered pair once, in one walk.
TOUR = (
    *("mesh", "relay", "mesh", "sfu", "mesh", "mcu", "relay"),
    *("sfu", "relay", "mcu", "sfu", "mcu", "mesh"),
)

COLUMNS = (
    Column("switch", "switch"),
    Column("median_ms", "median ms", "{:.0f}"),
    Column("worst_ms", "worst ms", "{:.0f}"),
)


def switch(rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """Walk through all changes.

    Returns
    -------
    list of dict
        One for each ordered pair of architectures, and one for the relay's publisher: ``switch`` says which,
        ``median_ms`` and ``worst_ms`` are over all rounds, ``times_s`` has each.
    """
    found: dict[str, list[float]] = {}
    resumed: list[float] = []
    with party(PEOPLE, SIZE, FPS, progress) as (server, people):
        for number in range(rounds):
            progress.say(f"round {number + 1} of {rounds}")
            _go(server, people, TOUR[0])
            for one, other in pairwise(TOUR):
                found.setdefault(f"{one} to {other}", []).append(_go(server, people, other))
            _go(server, people, "relay")
            resumed.append(people.ask("resume", ANSWER_S)["resumed_s"])
    found["asked again in relay"] = resumed
    return [
        {
            "switch": name,
            "median_ms": 1000 * statistics.median(times),
            "worst_ms": 1000 * max(times),
            "times_s": times,
        }
        for name, times in found.items()
    ]


def _go(server: Worker, people: Worker, architecture: str) -> float:
    """Switch, and return the gap in seconds."""
    people.begin("gap", architecture=architecture)
    server.ask("architecture", name=architecture)
    gap_s: float = people.result(ANSWER_S)["gap_s"]
    return gap_s


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    return table(COLUMNS, rows)
