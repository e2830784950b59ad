"""The sound side of a mixer: every 20 ms one packet for each listener, with everybody's voice but their own.

Those who send no sound hear the same mix, which is encoded once. A delay of the machine of up to 80 ms is
made up for, since a receiver's buffer bridges it; what is later is left out, in the mix as in the RTP time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rtp.assembly import Fragment
from .beat import Beat
from .encoders import AUDIO_CLOCK, BLOCK, SoundEncoder
from .inputs import SoundInput
from .thread import MixerThread
from .voices import Limiter, Voice, add_up, minus

BLOCK_S = 0.02
CATCH_UP = 4


@dataclass(frozen=True)
class SoundFigures:
    """What the sound side has done so far; while nobody listens it does nothing.

    Attributes
    ----------
    blocks, skipped : int
        Blocks of 20 ms mixed, and those left out because the machine was late.
    encoded : int
        Packets encoded.
    late, dropped : int
        How often a voice ran dry while its packets were on their way; samples that were too many.
    broken : int
        Packets that could not be decoded.
    cpu_s : float
        CPU time of the thread in seconds.
    """

    blocks: int
    skipped: int
    encoded: int
    late: int
    dropped: int
    broken: int
    cpu_s: float


class _Speaker:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.input = SoundInput()
        self.voice = Voice()


class _Mix:
    """What one listener, or all who only listen, hear."""

    def __init__(self) -> None:
        self.limiter = Limiter()
        self.encoder = SoundEncoder()


class SoundMixer:
    """Many voices become one mix for each listener.

    Parameters
    ----------
    deliver : callable
        Called on the mixer's thread with a list of (listeners, payload) and the 48 kHz time of the block.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        deliver: Callable[[list[tuple[tuple[str, ...], bytes]], int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliver = deliver
        self._speakers: dict[str, _Speaker] = {}
        self._listeners: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._mixes: dict[str | None, _Mix] = {}  # by listener; None: all who send no sound
        self._clock = clock
        self._beat = Beat(BLOCK_S, clock(), CATCH_UP)
        self._blocks = self._encoded = 0
        self._thread = MixerThread("rtclab-sound", self.step)

    def start(self) -> None:
        """Begin to mix; the first block is due now."""
        self._beat = Beat(BLOCK_S, self._clock(), CATCH_UP)
        self._thread.start()

    def close(self) -> None:
        """End it, without waiting for what is under way."""
        self._thread.close()

    def join(self, timeout: float) -> bool:
        """After `close`, wait at most `timeout` seconds; whether it has ended."""
        return self._thread.join(timeout)

    # -- from any thread --------------------------------------------------------------------------------

    def add(self, id: str, owner: str) -> None:
        """Take in a sound track that `owner`, a listener's name, does not want to hear."""
        with self._lock:
            self._speakers[id] = _Speaker(owner)

    def remove(self, id: str) -> None:
        """Forget a sound track."""
        with self._lock:
            self._speakers.pop(id, None)

    def push(self, id: str, fragments: Sequence[Fragment]) -> None:
        """Put packets of a track down; they are decoded at the next tick."""
        with self._lock:
            speaker = self._speakers.get(id)
        if speaker is not None:
            speaker.input.push(fragments)

    def listen(self, listeners: Iterable[str]) -> None:
        """Mix for these from now on, and for nobody else."""
        self._listeners = tuple(listeners)

    def time(self, now: float) -> int:
        """The 48 kHz time of a moment, as in the packets."""
        return round((now - self._beat.start) * AUDIO_CLOCK)

    def figures(self) -> SoundFigures:
        """What was done so far."""
        with self._lock:
            speakers = list(self._speakers.values())
        return SoundFigures(
            self._blocks,
            self._beat.skipped,
            self._encoded,
            sum(one.voice.late for one in speakers),
            sum(one.voice.dropped for one in speakers),
            sum(one.input.broken for one in speakers),
            self._thread.cpu_s(),
        )

    # -- on the mixer's thread --------------------------------------------------------------------------

    def step(self, now: float) -> float:
        """Decode what has come, and mix the blocks that are due; returns when to come again at the latest.

        `start` has a thread call it.
        """
        with self._lock:
            speakers = dict(self._speakers)
        heard = bool(self._listeners)
        for speaker in speakers.values():
            if not heard:
                speaker.input.skip()
                continue
            for timestamp, samples in speaker.input.decode():
                speaker.voice.put(timestamp, samples)
        while (number := self._beat.take(now)) is not None:
            self._block(speakers, number)
        return self._beat.due

    def _block(self, speakers: dict[str, _Speaker], number: int) -> None:
        blocks = {id: speaker.voice.take() for id, speaker in speakers.items()}
        self._blocks += 1
        if not speakers or not self._listeners:
            return
        total = add_up(blocks.values())
        groups: dict[str | None, list[str]] = {}
        owners = {speaker.owner for speaker in speakers.values()}
        for listener in self._listeners:
            groups.setdefault(listener if listener in owners else None, []).append(listener)
        packets = []
        for group, listeners in groups.items():
            own = [id for id, speaker in speakers.items() if speaker.owner == group]
            mixed = minus(total, blocks, own) if own else total
            packets.append((tuple(listeners), self._encode(group, mixed)))
        self._mixes = {group: mix for group, mix in self._mixes.items() if group in groups}
        if packets:
            self._deliver(packets, number * BLOCK)

    def _encode(self, group: str | None, mixed: NDArray[np.int32]) -> bytes:
        mix = self._mixes.get(group)
        if mix is None:
            mix = self._mixes[group] = _Mix()
        self._encoded += 1
        return mix.encoder.encode(mix.limiter.apply(mixed))
