"""Whether sound and picture are together: when a beep is heard against when its frame is seen.

A test pattern beeps for 20 ms (1 kHz under a Hann window) with each frame whose number is a multiple of its
frame rate. A matched filter finds the beep to about 0.1 ms: the sound is correlated with the burst in both
phases (sine and cosine, so that the codec's phase does not matter), and the highest point is its onset.
Opus looks 6.5 ms ahead (312 samples, as libopus says itself), which delays every onset by as much; that is
taken off, so that what is left is the way's doing. Limits of ITU-R BT.1359: sound 45 ms early or 125 ms late
is detectable, 90 ms early or 185 ms late no longer acceptable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SAMPLE_RATE = 48_000
BEEP_HZ, BEEP_S = 1000.0, 0.020
OPUS_LOOK_AHEAD_S = 312 / SAMPLE_RATE
LEAST_SHARE = 0.5  # of the loudest beep
LEAST_LEVEL = 0.05  # of full scale: quieter is no beep
LATEST_S = 0.5  # between a frame and its beep


def burst(
    frequency: float = BEEP_HZ, seconds: float = BEEP_S, rate: int = SAMPLE_RATE
) -> NDArray[np.float64]:
    """One beep of amplitude 1: a sine under a Hann window."""
    at, window = _hann(seconds, rate)
    return window * np.sin(2 * math.pi * frequency * at)


def onsets(
    samples: NDArray[Any], rate: int = SAMPLE_RATE, frequency: float = BEEP_HZ, apart_s: float = 0.5
) -> NDArray[np.float64]:
    """Find the beeps in a sound.

    Parameters
    ----------
    samples : numpy.ndarray
        int16 or float in -1..1, (samples,) or (samples, channels).
    rate : int
        Samples per second.
    frequency : float
        Of the beep, in Hz; one 250 Hz away is not heard.
    apart_s : float
        Beeps are at least this far apart; of two that are closer the louder one counts.

    Returns
    -------
    numpy.ndarray
        When each begins, in seconds from the first sample, sorted. Beeps less than half as loud as the
        loudest are left out.
    """
    mono = _mono(samples)
    at, window = _hann(BEEP_S, rate)
    template = window * np.exp(2j * math.pi * frequency * at)
    if len(mono) < len(template):
        return np.zeros(0)
    size = 1 << (len(mono) + len(template) - 1).bit_length()
    spectrum = np.fft.fft(mono, size) * np.conj(np.fft.fft(template, size))
    level = np.abs(np.fft.ifft(spectrum)[: len(mono) - len(template) + 1]) * 2 / float((window**2).sum())
    least = max(LEAST_SHARE * float(level.max()), LEAST_LEVEL)
    found: list[int] = []
    for peak in np.argsort(level)[::-1]:
        if level[peak] < least:
            break
        if all(abs(int(peak) - other) >= apart_s * rate for other in found):
            found.append(int(peak))
    return np.sort(np.array(found, float)) / rate


def skew(
    pictures: Mapping[int, float],
    beeps: Sequence[float] | NDArray[np.float64],
    fps: int,
    *,
    look_ahead_s: float = OPUS_LOOK_AHEAD_S,
    latest_s: float = LATEST_S,
) -> pd.DataFrame:
    """Compare beeps with the frames they belong to.

    Parameters
    ----------
    pictures : mapping of int to float
        Frame number to when it was seen, in seconds.
    beeps : sequence of float
        When each beep began to be heard, in seconds on the same clock (see `onsets`).
    fps : int
        Frames per second of the pattern: it beeps with each multiple of this.
    look_ahead_s : float
        What the audio codec adds by itself; 0 for sound that was not coded with Opus.
    latest_s : float
        A beep further than this from every frame belongs to none.

    Returns
    -------
    pandas.DataFrame
        One row for each beep with a frame: ``frame``, ``picture_s``, ``sound_s`` and ``skew_s``, which is
        positive when the sound comes first (as in ITU-R BT.1359).
    """
    flashes = sorted((time_s, number) for number, time_s in pictures.items() if number % fps == 0)
    rows: list[tuple[int, float, float, float]] = []
    for beep in sorted(float(beep) - look_ahead_s for beep in beeps):
        near = min(flashes, key=lambda flash: abs(flash[0] - beep), default=None)
        if near is not None and abs(near[0] - beep) <= latest_s:
            rows.append((near[1], near[0], beep, near[0] - beep))
    return pd.DataFrame(rows, columns=["frame", "picture_s", "sound_s", "skew_s"])


def _hann(seconds: float, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The times of the samples of a beep, and its window."""
    at = np.arange(round(seconds * rate)) / rate
    return at, 0.5 - 0.5 * np.cos(2 * math.pi * at / seconds)


def _mono(samples: NDArray[Any]) -> NDArray[np.float64]:
    array = np.asarray(samples)
    scale = 1 / 32768 if array.dtype == np.int16 else 1.0
    mono = array.astype(np.float64) * scale
    return mono if mono.ndim == 1 else mono.mean(axis=1)
