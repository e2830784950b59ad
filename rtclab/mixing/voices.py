"""Many voices become what each listener hears: everybody but themselves (mix-minus), and never clipped.

A `Voice` turns packets that come when they like into 20 ms blocks at the mixer's pace. It plays on when two
blocks are there; running dry it fades out, and later in again; a voice that was late waits for more next
time. A sender's clock that runs fast or slow shows in how much is always left over: then 5 samples in 1000
are taken more or less for a while (linear interpolation, 9 cents), else samples pass unchanged.

The mix is a sum of integers, so a listener's own voice is taken out to the last bit. A `Limiter` lowers the
gain at once when the sum grows too loud and raises it slowly; what is left above the knee is bent, not cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..rtp.sequence import difference

RATE = 48_000
BLOCK = 960
FADE = 240  # samples of 5 ms
FIRST_TARGET, HIGHEST_TARGET = 2 * BLOCK, 8 * BLOCK
MOST = RATE // 2  # samples that may wait
LONGEST_FILL = RATE // 10  # samples that lost packets are bridged for
WINDOW = 25  # blocks over which the least left over is looked at
STEP = 5  # samples in a block
CALM_BLOCKS = 500  # blocks without being late after which a voice waits for less again
KNEE, CEILING = 26_000.0, 32_000.0
RELEASE = 0.06  # of the way back in a block
SILENCE: NDArray[np.int16] = np.zeros((BLOCK, 2), np.int16)
SILENCE.setflags(write=False)

_RISE = np.linspace(0, 1, FADE, dtype=np.float32)[:, None]


class Voice:
    """One sender's sound on its way into the mix.

    Attributes
    ----------
    level : int
        Samples that wait.
    late, stale, dropped : int
        How often it ran dry while packets were on their way; packets that came after their turn; samples
        dropped because too many waited.
    """

    def __init__(self) -> None:
        self.level = 0
        self.late = self.stale = self.dropped = 0
        self._chunks: deque[NDArray[np.int16]] = deque()
        self._next: int | None = None  # RTP time that should come next
        self._target = FIRST_TARGET
        self._playing = False
        self._dry = False
        self._tail: NDArray[np.int16] = SILENCE[:FADE]
        self._rising = True  # fade in what is put next: before it was something else, or nothing
        self._left = MOST
        self._blocks = 0
        self._calm = 0
        self._step = 0

    def put(self, timestamp: int, samples: NDArray[np.int16]) -> None:
        """Take in one packet.

        Parameters
        ----------
        timestamp : int
            RTP time of its first sample.
        samples : numpy.ndarray
            (samples, 2) int16.
        """
        gap = 0 if self._next is None else difference(timestamp, self._next, 32)
        if -MOST < gap < 0:
            self.stale += 1
            return
        if 0 < gap <= LONGEST_FILL and self.level:
            self._append(np.zeros((gap, 2), np.int16), fade_before=True)
            self._rising = True
        elif gap:
            self._rising = True
        if self._dry and gap == 0:
            self.late += 1
            self._calm = 0
            self._target = min(self._target + BLOCK, HIGHEST_TARGET)
        self._dry = False
        if self._rising and len(samples) >= FADE:
            samples = samples.copy()
            samples[:FADE] = samples[:FADE] * _RISE
            self._rising = False
        self._append(samples)
        self._next = (timestamp + len(samples)) & 0xFFFFFFFF
        if self.level > MOST:
            self._skip(self.level - self._target)

    def take(self) -> NDArray[np.int16]:
        """The next (960, 2) int16; `SILENCE` itself when there is nothing to hear."""
        if not self._playing:
            if self.level < self._target:
                return SILENCE
            self._playing = True
            self._begin_window()
        self._watch()
        need = BLOCK + self._step
        if self.level < need:
            return self._run_dry()
        block = self._remove(need)
        if self._step:
            at = np.linspace(0, need - 1, BLOCK)
            block = np.stack([np.interp(at, np.arange(need), side) for side in block.T], 1).astype(np.int16)
        self._tail = block[-FADE:]
        self._left = min(self._left, self.level)
        return block

    def _run_dry(self) -> NDArray[np.int16]:
        """Play what is there, then its mirror image, fading."""
        rest = self._remove(self.level)
        known = np.concatenate([self._tail, rest])
        mirror = (known[: -FADE - 1 : -1] * _RISE[::-1]).astype(np.int16)
        block = np.concatenate([rest, mirror, SILENCE])[:BLOCK]
        self._playing = False
        self._dry = True
        self._rising = True
        self._tail = block[-FADE:]
        return block

    def _watch(self) -> None:
        """Every half second: is more left over than is needed, or too little?"""
        self._blocks += 1
        self._calm += 1
        if self._calm >= CALM_BLOCKS:
            self._calm = 0
            self._target = max(self._target - BLOCK // 2, FIRST_TARGET)
        if self._blocks < WINDOW:
            return
        # One packet must be left: as the clocks drift apart, each in turn comes just after its tick. While
        # only some do, one window has a whole packet more than another, which is no drift.
        least_left, most_left = self._target - BLOCK, self._target + BLOCK // 4
        if self._left > most_left + 2 * BLOCK:
            self._skip(BLOCK)
            self._step = 0
        elif self._left > most_left:
            self._step = STEP
        elif self._left < least_left:
            self._step = -STEP
        else:
            self._step = 0
        self._begin_window()

    def _begin_window(self) -> None:
        self._blocks = 0
        self._left = MOST

    def _skip(self, count: int) -> None:
        """Drop the oldest samples, and blend over to what follows them."""
        gone = self._remove(min(count, self.level - FADE))
        self.dropped += len(gone)
        here = self._remove(FADE)
        blended = (gone[:FADE] * _RISE[::-1] + here * _RISE).astype(np.int16)
        self._chunks.appendleft(blended)
        self.level += FADE

    def _append(self, samples: NDArray[np.int16], fade_before: bool = False) -> None:
        if fade_before and self._chunks and len(samples) >= FADE:
            mirror = self._chunks[-1][: -FADE - 1 : -1]
            samples[: len(mirror)] = mirror * _RISE[::-1][: len(mirror)]
        self._chunks.append(samples)
        self.level += len(samples)

    def _remove(self, count: int) -> NDArray[np.int16]:
        self.level -= count
        parts = []
        while count > 0:
            chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            parts.append(chunk)
            count -= len(chunk)
        return np.concatenate(parts) if parts else SILENCE[:0]


class Limiter:
    """Keeps one listener's mix below full scale."""

    def __init__(self) -> None:
        self.gain = 1.0

    def apply(self, mixed: NDArray[np.int32]) -> NDArray[np.int16]:
        """Turn a sum into samples.

        Parameters
        ----------
        mixed : numpy.ndarray
            (960, 2) int32, at any level.

        Returns
        -------
        numpy.ndarray
            (960, 2) int16 below full scale; unchanged while the sum stays below the knee.
        """
        peak = float(np.abs(mixed).max())
        wanted = min(1.0, KNEE / peak) if peak else 1.0
        before = self.gain
        if before == wanted == 1.0:
            return mixed.astype(np.int16)
        # down within 5 ms, up over a third of a second
        self.gain = wanted if wanted < before else min(before + (wanted - before) * RELEASE, wanted)
        if self.gain > 0.999:
            self.gain = 1.0
        ramp = np.full((len(mixed), 1), self.gain, np.float32)
        over = FADE if self.gain < before else len(mixed)
        ramp[:over, 0] = np.linspace(before, self.gain, over, dtype=np.float32)
        return _bend(mixed * ramp).astype(np.int16)


def _bend(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring what is above the knee smoothly below the ceiling."""
    above = np.abs(samples) - KNEE
    if float(above.max()) <= 0:
        return samples
    room = CEILING - KNEE
    bent = np.sign(samples) * (KNEE + room * np.tanh(np.maximum(above, 0) / room))
    return np.where(above > 0, bent, samples)


def add_up(blocks: Iterable[NDArray[np.int16]]) -> NDArray[np.int32]:
    """The sum of blocks, (960, 2) int32."""
    total = np.zeros((BLOCK, 2), np.int32)
    for block in blocks:
        total += block
    return total


def minus(
    total: NDArray[np.int32], blocks: Mapping[str, NDArray[np.int16]], own: Iterable[str]
) -> NDArray[np.int32]:
    """What a listener hears: the sum of all `blocks` without the listener's `own` ones."""
    rest = total.copy()
    for voice in own:
        rest -= blocks[voice]
    return rest
