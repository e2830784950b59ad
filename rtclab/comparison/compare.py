"""`rtclab.compare`: the same people and the same pictures in each architecture, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..errors import RtclabError
from ..forwarding.architecture import named
from ..measure.formulas import ARCHITECTURES
from ..mixing.limits import check_mix
from . import trial
from .figures import figures
from .progress import Bar
from .result import Comparison
from .talker import NAMES, Talker

MOST_FRAMES = 1800  # whose sending times a test pattern surely keeps


def compare(
    architectures: Sequence[str] = ARCHITECTURES,
    participants: int = 4,
    seconds: float = 10,
    link: Any = None,
    size: tuple[int, int] = (320, 180),
    fps: int = 15,
    progress: bool = True,
    sound: bool = True,
    mix_bitrate: int = 500_000,
) -> Comparison:
    """Measure what each architecture costs its participants and its server.

    Every architecture gets a room of its own, with headless participants on a thread apart from the server's.
    All publish a test pattern with sound and watch everybody. Pictures are recognised by the number in them.
    All of it runs in this process, so figures grow when the machine is busy: compare them with each other.

    Parameters
    ----------
    architectures : sequence of str
        Names of registered architectures, yours too; each is run once, in this order.
    participants : int
        How many, 2 to 12.
    seconds : float
        How long each is measured, after everything flows.
    link : None
        What lies between participants and server; None is this machine's loopback.
    size : tuple of int
        Width and height of each picture in pixels.
    fps : int
        Pictures a second.
    progress : bool
        Whether to show a bar.
    sound : bool
        Whether they are heard, too. Sound is few bits but 50 packets a second and voice, which is most of the
        work here: without it a small machine manages more participants.
    mix_bitrate : int
        Bits a second of the MCU's picture, in which everybody has the size of the other architectures.

    Returns
    -------
    Comparison
        `frame` has one row for each architecture; a notebook shows it as a table, `plot` as a figure.

    Raises
    ------
    ValueError
        A parameter is out of range.
    rtclab.errors.RtclabError
        There is no such architecture, or a link was asked for.
    rtclab.errors.Timeout
        Somebody's picture did not come.

    Notes
    -----
    Each peer sends one layer, so the "sfu" here forwards like the relay; notebook 06_sfu measures layers.

    The server's processor time is that of the process's engine, so close other rooms first.

    Examples
    --------
    >>> rtclab.compare(["mesh", "sfu"], participants=3, seconds=5).plot()      # doctest: +SKIP
    """
    if link is not None:
        raise RtclabError(
            "compare knows no links yet: leave link=None, which measures over this machine's loopback"
        )
    names = [architectures] if isinstance(architectures, str) else list(dict.fromkeys(architectures))
    if not names:
        raise ValueError("architectures must name at least one")
    for name in names:
        named(name)
    if not (isinstance(participants, int) and 2 <= participants <= len(NAMES)):
        raise ValueError(f"participants must be a whole number from 2 to {len(NAMES)}, not {participants!r}")
    Talker(0, size, fps)  # what it refuses is refused now
    if not 1 <= seconds <= MOST_FRAMES / fps:
        raise ValueError(f"seconds must be from 1 to {MOST_FRAMES / fps:g} at {fps} fps, not {seconds!r}")
    plan = trial.Plan(participants, float(seconds), size, fps, sound, mix_bitrate)
    mixing = [name for name in names if named(name).mixed]
    if mixing:
        try:
            check_mix(plan.mix_size, fps, mix_bitrate)
        except ValueError as error:
            raise ValueError(
                f"{', '.join(mixing)} cannot mix that: {error}. Change participants, size, fps or "
                "mix_bitrate, or leave it out"
            ) from None
    rows, people, latencies = [], [], []
    with Bar(len(names) * (math.ceil(seconds) + 2), progress) as bar:
        for name in names:
            recording = trial.run(name, plan, bar.say, bar.step)
            bar.say(f"{name}: comparing pictures")
            row, participant_rows, latency_rows = figures(recording)
            rows.append(row)
            people.append(participant_rows)
            latencies.append(latency_rows)
            bar.step()
        bar.say("compared")
    return Comparison(
        pd.DataFrame(rows).set_index("architecture"),
        pd.concat(people, ignore_index=True),
        pd.concat(latencies, ignore_index=True),
        plan,
    )
