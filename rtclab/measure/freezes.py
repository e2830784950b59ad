"""When a picture stood still, by the rule of W3C webrtc-stats (``freezeCount``, ``pauseCount``).

An interval between two rendered frames is a freeze when it is at least max(3 x average, average + 150 ms),
where the average is that of the last 30 intervals, itself among them; libwebrtc asks for 5 of them first. An
interval of more than 5 s is a pause, no freeze, and not averaged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

WINDOW = 30  # intervals averaged
LEAST = 5
FACTOR, MORE_S = 3.0, 0.150
PAUSE_S = 5.0


@dataclass(frozen=True)
class Freezes:
    """How evenly frames came.

    Attributes
    ----------
    count : int
        Freezes.
    total_s, longest_s : float
        Seconds spent frozen, and those of the longest freeze.
    at : tuple of float
        When each freeze began.
    pauses : int
        Intervals of more than 5 s.
    paused_s : float
        Seconds spent in these.
    frames : int
        Frames there were.
    fps : float
        Mean frame rate from the first to the last frame, or over the span.
    harmonic_fps : float
        Sum of the intervals over the sum of their squares: long intervals weigh more, as for a viewer.
    """

    count: int
    total_s: float
    longest_s: float
    at: tuple[float, ...]
    pauses: int
    paused_s: float
    frames: int
    fps: float
    harmonic_fps: float


def freezes(
    times: Iterable[float], span: tuple[float, float] | None = None, fps: float | None = None
) -> Freezes:
    """Find the freezes in a sequence of frames.

    Parameters
    ----------
    times : iterable of float
        When each new frame was shown, in seconds; sorted here. A frame that repeats the picture before it
        (a mixer does that for a frozen input) does not belong in it.
    span : tuple of (float, float), optional
        From when to when was looked. Times outside are left out, and a picture that stands at either end, or
        all the time, is seen.
    fps : float, optional
        At which rate frames came before these, so that the first intervals can be judged, too.
    """
    ordered = np.sort(np.array(list(times), float))
    bounds = ordered
    if span is not None:
        ordered = ordered[(ordered >= span[0]) & (ordered <= span[1])]
        bounds = np.array([span[0], *ordered, span[1]])
    intervals = np.diff(bounds)
    recent: deque[float] = deque([] if fps is None else [1 / fps] * LEAST, WINDOW)
    frozen: list[tuple[float, float]] = []
    paused: list[float] = []
    for begin, interval in zip(bounds, intervals, strict=False):
        if interval > PAUSE_S:
            paused.append(float(interval))
            continue
        recent.append(float(interval))
        average = sum(recent) / len(recent)
        if len(recent) >= LEAST and interval >= max(FACTOR * average, average + MORE_S):
            frozen.append((float(begin), float(interval)))
    lengths = [length for _, length in frozen]
    total, squares = float(intervals.sum()), float((intervals**2).sum())
    shown = len(intervals) if span is None else len(ordered)  # in a span one interval more than frames
    return Freezes(
        len(frozen),
        float(sum(lengths)),
        max(lengths, default=0.0),
        tuple(begin for begin, _ in frozen),
        len(paused),
        sum(paused),
        len(ordered),
        shown / total if total else float("nan"),
        total / squares if squares else float("nan"),
    )
