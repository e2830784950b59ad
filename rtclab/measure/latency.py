"""How long a frame takes: from being handed to the encoder to being decoded, by the number in the picture.

The numbers of `rtclab.measure.frame_code` are 16 bits wide and tell frames apart that a pipeline has
duplicated, dropped or held back, so neither RTP timestamps nor arrival order have to be believed. With both
clocks the same (``time.monotonic`` of one machine) the error is that of the scheduler. It is called
frame-to-frame latency: camera and screen are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
        Frames that were sent between the first and the last of these and never seen.
    p50_s, p95_s, min_s, max_s : float
        Of the latency in seconds; NaN without frames.
    """

    frames: int
    missing: int
    p50_s: float
    p95_s: float
    min_s: float
    max_s: float


def latency(sent: Mapping[int, float], seen: Iterable[tuple[int, float]]) -> pd.DataFrame:
    """Pair what was sent with what was seen, by frame number.

    Parameters
    ----------
    sent : mapping of int to float
        Frame number to the time in seconds at which it was sent, for instance `TestPattern.sent`.
    seen : iterable of (int, float)
        The number read in each picture (modulo 65536 or not) and when, in seconds on the same clock; in any
        order, duplicates allowed. It belongs to the latest frame of this number that had been sent by then.

    Returns
    -------
    pandas.DataFrame
        One row for each frame from the first to the last one seen, in order of ``frame``: ``sent_s``,
        ``seen_s`` (the first time), ``latency_s`` and ``views``, how often it was seen. Of frames that were
        never seen ``seen_s`` and ``latency_s`` are NaN. What was seen and not sent before is left out: it
        is older, from before numbers began anew.
    """
    numbers_of: dict[int, list[int]] = {}
    for number in sorted(sent):
        numbers_of.setdefault(number % CODES, []).append(number)
    first: dict[int, float] = {}
    views: dict[int, int] = {}
    for code, time_s in seen:
        before = [number for number in numbers_of.get(code % CODES, ()) if sent[number] <= time_s]
        if before:
            number = before[-1]
            first[number] = min(time_s, first.get(number, time_s))
            views[number] = views.get(number, 0) + 1
    begin, end = min(first, default=0), max(first, default=-1)
    numbers = [number for number in sorted(sent) if begin <= number <= end]
    frame = pd.DataFrame(
        {
            "frame": np.array(numbers, np.int64),
            "sent_s": np.array([sent[number] for number in numbers], float),
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
