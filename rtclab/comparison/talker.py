"""Who takes part in a comparison: test patterns that differ in colour, number and pitch, never in effort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..measure.skew import SAMPLE_RATE, burst
from ..peers.pattern import BEEP_LEVEL, TONE_LEVEL, TestPattern

NAMES = (
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
    "mallory",
    "niaj",
)
LOWEST_BEEP_HZ, BEEP_STEP_HZ = 1000.0, 250.0


class Talker(TestPattern):
    """A test pattern whose beep has a pitch of its own, so that it can be told from the others in a mix.

    Parameters
    ----------
    place : int
        Which of `NAMES`.
    size : tuple of int
        Width and height in pixels.
    fps : int
        Frames per second.
    sound : bool
        Whether it can be heard.

    Attributes
    ----------
    name : str
        The participant's name.
    beep_hz : float
        Pitch of the beep.
    """

    def __init__(self, place: int, size: tuple[int, int], fps: int, sound: bool = True) -> None:
        self.name = NAMES[place]
        self.beep_hz = LOWEST_BEEP_HZ + BEEP_STEP_HZ * place
        super().__init__(*size, fps, label=self.name, tone=220.0 + 20 * place, stream=place, sound=sound)
        self._beep = BEEP_LEVEL * burst(self.beep_hz)

    def samples(self, start: int, count: int, channels: int = 1) -> NDArray[np.int16]:
        """Sound from sample `start` on, as `TestPattern.samples`."""
        at = np.arange(start, start + count)
        wave = TONE_LEVEL * np.sin(2 * np.pi * self.tone * at / SAMPLE_RATE)
        into = at % SAMPLE_RATE
        beeping = into < len(self._beep)
        wave[beeping] += self._beep[into[beeping]]
        return np.repeat(np.rint(wave * 32767).astype(np.int16)[:, None], channels, axis=1)
