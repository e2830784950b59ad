"""Who is speaking, and how loud: audio levels from the RTP header extension (RFC 6464), nothing decoded.

Two smoothed levels for each participant: a quick one to show, which rises fast and falls slowly, and a slow
one that decides who is the active speaker. The active speaker stays until another is clearly louder or they
have been silent for a while, so that the view does not jump at every cough.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import TypeVar

# Below this level nobody is the active speaker: room noise is about -60 dBov, quiet speech -45.
SPEECH_DBOV = -50.0
# What another participant must be louder by to take over.
MARGIN_DB = 6.0
# How long the active speaker may be silent before nobody is.
HOLD_S = 1.5
# No packet for so long (discontinuous transmission sends one each 0.4 s): no level.
STALE_S = 1.5

# How quiet a silence is makes no difference to how soon the next word counts.
_FLOOR_DBOV = -70.0
_ATTACK_S, _RELEASE_S, _SPEAKER_S = 0.05, 0.25, 0.5

_Key = TypeVar("_Key", bound=Hashable)


class _Voice:
    __slots__ = ("heard", "says_voice", "shown", "speaking")

    def __init__(self, dbov: float, now: float) -> None:
        self.heard = now
        self.shown = dbov
        self.speaking = _FLOOR_DBOV
        self.says_voice = False


class AudioLevels:
    """Levels of all participants of a room."""

    __slots__ = ("_active", "_active_spoke", "_turn", "_turns", "_voices")

    def __init__(self) -> None:
        self._voices: dict[Hashable, _Voice] = {}
        self._active: Hashable | None = None
        self._active_spoke = 0.0
        self._turn = 0
        self._turns: dict[Hashable, int] = {}  # the last time each became the active speaker

    def receive(self, key: Hashable, dbov: float, voice: bool, now: float) -> None:
        """Take in the level of one packet.

        Parameters
        ----------
        key : hashable
            The participant.
        dbov : float
            Level in dBov, 0 (loudest) to -127 (silence).
        voice : bool
            Whether the sender says it is a voice; believed only of senders that say so at times.
        now : float
            Arrival, in seconds.
        """
        heard = self._voices.get(key)
        if heard is None:
            heard = self._voices[key] = _Voice(dbov, now)
        elapsed = min(max(now - heard.heard, 0.0), STALE_S)
        heard.heard = now
        heard.says_voice |= voice
        time = _ATTACK_S if dbov > heard.shown else _RELEASE_S
        heard.shown -= (dbov - heard.shown) * math.expm1(-elapsed / time)
        spoken = max(dbov, _FLOOR_DBOV) if voice or not heard.says_voice else _FLOOR_DBOV
        heard.speaking -= (spoken - heard.speaking) * math.expm1(-elapsed / _SPEAKER_S)

    def forget(self, key: Hashable) -> None:
        """Drop a participant who left."""
        self._voices.pop(key, None)
        self._turns.pop(key, None)
        if self._active == key:
            self._active = None

    def level(self, key: Hashable, now: float) -> float | None:
        """The participant's level in dBov; None if unknown or not heard of for 1.5 s."""
        heard = self._voices.get(key)
        if heard is None or now - heard.heard > STALE_S:
            return None
        return heard.shown

    def loudest(self, now: float) -> Hashable | None:
        """The active speaker, None when nobody speaks; changes only when called, so call it often."""
        speaking = {
            key: heard.speaking
            for key, heard in self._voices.items()
            if heard.speaking > SPEECH_DBOV and now - heard.heard <= STALE_S
        }
        if self._active in speaking:
            self._active_spoke = now
        silent = now - self._active_spoke > HOLD_S
        if speaking:
            best = max(speaking, key=speaking.__getitem__)
            current = speaking.get(self._active, _FLOOR_DBOV)
            if self._active is None or silent or speaking[best] > current + MARGIN_DB:
                if best != self._active:
                    self._turn += 1
                    self._turns[best] = self._turn
                self._active = best
                self._active_spoke = now
        elif silent:
            self._active = None
        return self._active

    def by_turn(self, keys: Iterable[_Key]) -> list[_Key]:
        """Sort participants by when they last became the active speaker, the latest first; those who never
        were keep their order behind."""
        return sorted(keys, key=lambda key: -self._turns.get(key, 0))
