"""The same measurement in a room with real browsers: by what their pages tell once a second.

A page reads the number of a picture when the browser presents it (``requestVideoFrameCallback``) and puts it
into its `stats` messages, beside what getStats counts. The room keeps these in its signaling trace.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pandas as pd

from ..measure import latency, summary
from ..room import Room
from ..signaling.trace import TraceEntry

COLUMNS = [
    "viewer",
    "participant",
    "source",
    "via",
    "samples",
    "latency_p50_s",
    "latency_p95_s",
    "freezes",
    "frozen_s",
    "fps",
    "bitrate_bps",
]


def browser_figures(room: Room, sent: Mapping[str, Mapping[int, float]] | None = None) -> pd.DataFrame:
    """Figures of each picture that a browser shows.

    Parameters
    ----------
    room : Room
        A room with viewers.
    sent : mapping of str to mapping of int to float, optional
        Participant's name to when each frame was sent (`TestPattern.sent`), to get their latency.
        They must publish on the machine on which the browser runs, so that clocks agree.

    Returns
    -------
    pandas.DataFrame
        One row for each viewer and video track of which something was told: ``viewer``, ``participant``,
        ``source``, ``via`` (``"room"``, ``"direct"``, ``"mix"``), ``samples`` (numbers read),
        ``latency_p50_s`` and ``latency_p95_s`` (NaN where `sent` says nothing), ``freezes`` and ``frozen_s``
        (as the browser counts them on each connection), ``fps`` and ``bitrate_bps`` (on average). Who has
        left keeps its name while the trace remembers it.

    Notes
    -----
    A mix has no single number, so in an MCU latency is NaN. Browsers give no SSIM or PSNR, no skew of sound
    and picture, and no processor time of the server. What each page sends and receives: `page_figures`.
    """
    return tile_figures(room.signaling, published(room), sent or {}, time.time() - time.monotonic())


def tile_figures(
    entries: Iterable[TraceEntry],
    tracks: dict[str, tuple[str, str]],
    sent: Mapping[str, Mapping[int, float]],
    clock_offset: float,
) -> pd.DataFrame:
    """`browser_figures` of a trace.

    Parameters
    ----------
    entries : iterable of TraceEntry
        What was said.
    tracks : dict of str to (str, str)
        As `published` gives them.
    sent : mapping
        As above.
    clock_offset : float
        Seconds from the clock of `sent` to Unix time.
    """
    entries = list(entries)
    names = names_told(entries) | tracks
    told: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for viewer, _, rows_told in reports(entries):
        for figures in rows_told:
            if figures.get("kind") == "video" and "freezes" in figures:
                told.setdefault((viewer, str(figures.get("track"))), []).append(figures)
    rows = []
    for (viewer, track), several in told.items():
        participant, source = names.get(track, ("everyone", "mix") if track.startswith("mix-") else ("", ""))
        seen = {
            (number, float(figures["frame_time"]) - clock_offset)
            for figures in several
            if isinstance(number := figures.get("frame_number"), int) and "frame_time" in figures
        }
        found = summary(latency(sent.get(participant, {}), seen))
        rows.append(
            {
                "viewer": viewer,
                "participant": participant,
                "source": source,
                "via": several[-1].get("via"),
                "samples": len(seen),
                "latency_p50_s": found.p50_s,
                "latency_p95_s": found.p95_s,
                "freezes": grown(several, "freezes"),
                "frozen_s": grown(several, "frozen_s"),
                "fps": pd.Series([figures.get("fps") for figures in several], dtype=float).mean(),
                "bitrate_bps": pd.Series(
                    [figures.get("bitrate_bps") for figures in several], dtype=float
                ).mean(),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def reports(entries: Iterable[TraceEntry]) -> Iterator[tuple[str, float, list[dict[str, Any]]]]:
    """What pages have told: the participant, when (Unix seconds), and the figures of each track."""
    for entry in entries:
        if entry.type == "stats" and entry.direction == "in":
            told, at = entry.message.get("tracks"), entry.message.get("time")
            if isinstance(told, list) and isinstance(at, (int, float)):
                yield entry.participant or "", at, [row for row in told if isinstance(row, dict)]


def published(room: Room) -> dict[str, tuple[str, str]]:
    """Participant and source of each track that is published now, by its id."""
    return {track.id: (track.participant, track.source) for track in room.tracks}


def names_told(entries: Iterable[TraceEntry]) -> dict[str, tuple[str, str]]:
    """Participant and source of each track that the room has told its clients of, by its id; mixes aside."""
    names = {}
    for entry in entries:
        if entry.type in ("tracks", "welcome") and entry.direction == "out":
            for track in entry.message["tracks"]:
                if track["source"] != "mix":
                    names[track["id"]] = (track["participant"]["name"], track["source"])
    return names


def grown(several: list[dict[str, Any]], counter: str) -> Any:
    """By how much a counter has grown; each connection counts from zero, so only within one of them."""
    return sum(
        max(after.get(counter, 0) - before.get(counter, 0), 0)
        for before, after in pairwise(several)
        if before.get("via") == after.get("via")
    )
