"""How long a frame takes: from being handed to the encoder to being decoded, by the number in the picture.

The numbers of `rtclab.measure.frame_code` are 16 bits wide and tell frames apart that a pipeline has
duplicated, dropped or held back, so neither RTP timestamps nor arrival order have to be believed. With both
clocks the same (``time.monotonic`` of one machine) the error is that of the scheduler. It is called
frame-to-frame latency: camera and screen are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

CODES = 1 << 16  # frame numbers that a picture can tell apart


@dataclass(frozen=True)
class LatencySummary:
    """A distribution of latencies.

    Attributes
    ----------
    frames : int
        Frames that arrived.
    missing : int
        Rows of frames that were never seen.
    p50_s, p95_s, min_s, max_s : float
        Of the latency in seconds; NaN without frames.
    """

    frames: int
    missing: int
    p50_s: float
    p95_s: float
    min_s: float
    max_s: float


def latency(
    sent: Mapping[int, float] | pd.Series[float],
    seen: Iterable[tuple[int, float]] | pd.DataFrame,
    span: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Pair what was sent with what was seen, by frame number.

    Parameters
    ----------
    sent : mapping of int to float, or pandas.Series
        Frame number (the index of a Series) to the time in seconds at which it was sent, for instance
        `TestPattern.sent`.
    seen : iterable of (int, float), array of shape (n, 2), or pandas.DataFrame of two columns
        The number read in each picture (modulo 65536 or not) and when, in seconds on the same clock; in any
        order, duplicates allowed. It belongs to the latest frame of this number that had been sent by then.
    span : tuple of (float, float), optional
        From when to when, in seconds on the same clock, all that was sent has a row, even if nothing was seen
        before or after it. Let it end as long before the last look as a frame may take.

    Returns
    -------
    pandas.DataFrame
        One row for each frame from the first to the last one seen (or sent within `span`, if that is
        earlier or later), in order of ``frame``: ``sent_s``,
        ``seen_s`` (the first time), ``latency_s`` and ``views``, how often it was seen. Of frames that were
        never seen ``seen_s`` and ``latency_s`` are NaN. What was seen and not sent before is left out: it
        is older, from before numbers began anew.

    Raises
    ------
    ValueError
        `seen` is a DataFrame that has not two columns.
    """
    if isinstance(seen, pd.DataFrame):
        if seen.shape[1] != 2:
            raise ValueError(f"seen must have two columns, number and time, not {list(seen.columns)}")
        seen = seen.itertuples(index=False, name=None)
    # copied at once, since a pattern may go on
    copied: dict[Any, Any] = sent.to_dict() if isinstance(sent, pd.Series) else dict(sent)
    times = {int(number): float(time_s) for number, time_s in copied.items()}
    numbers_of: dict[int, list[int]] = {}
    for number in sorted(times):
        numbers_of.setdefault(number % CODES, []).append(number)
    first: dict[int, float] = {}
    views: dict[int, int] = {}
    for code, time_s in seen:
        before = [number for number in numbers_of.get(int(code) % CODES, ()) if times[number] <= time_s]
        if before:
            number = before[-1]
            first[number] = min(time_s, first.get(number, time_s))
            views[number] = views.get(number, 0) + 1
    asked = [] if span is None else [number for number in times if span[0] <= times[number] <= span[1]]
    begin, end = min([*first, *asked], default=0), max([*first, *asked], default=-1)
    numbers = [number for number in sorted(times) if begin <= number <= end]
    frame = pd.DataFrame(
        {
            "frame": np.array(numbers, np.int64),
            "sent_s": np.array([times[number] for number in numbers], float),
            "seen_s": np.array([first.get(number, np.nan) for number in numbers], float),
        }
    )
    frame["latency_s"] = frame["seen_s"] - frame["sent_s"]
    frame["views"] = np.array([views.get(number, 0) for number in numbers], np.int64)
    return frame


def summary(latencies: pd.DataFrame) -> LatencySummary:
    """Median, 95th percentile and extremes of what `latency` returns.

    Parameters
    ----------
    latencies : pandas.DataFrame
        With a column ``latency_s``; several frames of `latency` may be concatenated.
    """
    values = latencies["latency_s"].to_numpy(float)
    arrived = values[~np.isnan(values)]
    missing = len(values) - len(arrived)
    if not len(arrived):
        return LatencySummary(0, missing, *[float("nan")] * 4)
    p50, p95 = (float(value) for value in np.percentile(arrived, [50, 95]))
    return LatencySummary(len(arrived), missing, p50, p95, float(arrived.min()), float(arrived.max()))
