"""How much may be under way in a tunnel, and what its path carries: TCP never loses, so by acknowledgements.

A queue somewhere on the path shows as delay: the age of the oldest frame not acknowledged, above the smallest
round trip lately. More than 0.4 s is too much; while a keyframe is the oldest, 0.7 s, for it is several times
as large and to drop what follows would only cost the next one. What follows a keyframe is bounded in bytes
too, since a burst is all sent before any time has passed. Then pictures are left out up to the next keyframe,
which is asked for when nothing waits any more. Sound is small and goes on for longer. When nothing is
acknowledged for 4 s although frames are under way, nothing is sent until something is.

The estimate of the path's bandwidth is what the acknowledgements of the last second say, less a tenth, while
there is a queue; without one it may only rise. It becomes REMB (draft-alvestrand-rmcat-remb).

The rules are those of selkies and jupyter_rfb for the same job: sent minus acknowledged, the round trip taken
off, a stall after 4 s, and a keyframe to go on with.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

LIMIT_S = 0.4
KEYFRAME_LIMIT_S = 0.7
SOUND_LIMIT_S = 0.8
QUEUE_S = 0.15  # from here on there is a queue
STALLED_S = 4.0
FIRST_ROUND_TRIP_S = 0.3  # before the first acknowledgement
WINDOW_BYTES = 64 * 1024  # of pictures after a keyframe, at least
MAX_UNSENT = 512 * 1024  # bytes in the carrier
RATE_S = 1.0
ROUND_TRIP_S = 15.0  # half of how long the smallest round trip counts
MIN_ESTIMATE_BPS = 30_000


class _UnderWay(NamedTuple):
    number: int
    at: float
    size: int
    keyframe: bool


class Flow:
    """Back-pressure of one direction.

    Attributes
    ----------
    rtt_s : float or None
        Round trip of the newest acknowledgement that tells.
    waiting_s : float
        Media that the other side has taken in and not decoded yet.
    rate_bps : float
        What was acknowledged in the last second.
    estimate_bps : int or None
        What the path carries; None as long as there was never a queue.
    acked : int
        Number of the newest frame that was taken in.
    """

    def __init__(self) -> None:
        self.rtt_s: float | None = None
        self.waiting_s = 0.0
        self.rate_bps = 0.0
        self.estimate_bps: int | None = None
        self.acked = 0
        self._under_way: deque[_UnderWay] = deque()
        self._pictures = 0  # bytes of them under way that are no keyframes
        self._smallest: list[float | None] = [None, None]
        self._smallest_since = -1e9
        self._arrived: deque[tuple[float, int]] = deque()  # when, bytes
        self._last_ack = 0.0

    @property
    def under_way(self) -> int:
        """Frames sent and not acknowledged."""
        return len(self._under_way)

    def sent(self, number: int, size: int, now: float, keyframe: bool = False, audio: bool = False) -> None:
        """Note a frame of `size` bytes, numbered one up from the one before."""
        if not self._under_way:
            self._last_ack = now  # the time in which nothing was under way is no stall
        self._under_way.append(_UnderWay(number, now, size, keyframe or audio))
        if not keyframe and not audio:
            self._pictures += size

    def ack(self, number: int, waiting_ms: int, now: float) -> None:
        """Take an acknowledgement; one for a frame that was never sent, or not any more, only tells that the
        other side is there."""
        self.waiting_s = min(waiting_ms, 60_000) / 1000
        self._last_ack = now
        queue = self._under_way
        if not queue or not queue[0].number <= number <= queue[-1].number:
            return
        size = 0
        frame = queue[0]
        while queue and queue[0].number <= number:
            frame = queue.popleft()
            size += frame.size
            if not frame.keyframe:
                self._pictures -= frame.size
        self.acked = number
        self._take_round_trip(now - frame.at, now)
        self._arrived.append((now, size))
        self._estimate(now)

    def _take_round_trip(self, seconds: float, now: float) -> None:
        self.rtt_s = seconds
        if now - self._smallest_since > ROUND_TRIP_S:
            self._smallest_since = now
            self._smallest = [self._smallest[1], None]
        newest = self._smallest[1]
        self._smallest[1] = seconds if newest is None else min(newest, seconds)

    @property
    def smallest_rtt_s(self) -> float:
        """The smallest round trip lately."""
        return min([one for one in self._smallest if one is not None], default=FIRST_ROUND_TRIP_S)

    def delay(self, now: float) -> float:
        """Age of the oldest frame under way above the smallest round trip, in seconds."""
        if not self._under_way:
            return 0.0
        return max(now - self._under_way[0].at - self.smallest_rtt_s, 0.0)

    def _estimate(self, now: float) -> None:
        while self._arrived and self._arrived[0][0] <= now - RATE_S:
            self._arrived.popleft()
        self.rate_bps = sum(size for _, size in self._arrived) * 8 / RATE_S
        assert self.rtt_s is not None
        if max(self.rtt_s - self.smallest_rtt_s, self.delay(now)) > QUEUE_S:
            known = self.rate_bps if self.estimate_bps is None else min(self.estimate_bps, self.rate_bps)
            self.estimate_bps = max(int(known * 0.9), MIN_ESTIMATE_BPS)
        elif self.estimate_bps is not None:
            self.estimate_bps = max(self.estimate_bps, int(self.rate_bps * 1.5))

    @property
    def window(self) -> float:
        """How many bytes of pictures, keyframes not counted, may be under way."""
        carried = max(self.rate_bps, self.estimate_bps or 0)
        return max(WINDOW_BYTES, carried * (self.smallest_rtt_s + LIMIT_S) / 8)

    # -- what may be sent -------------------------------------------------------------------------------

    def stalled(self, now: float) -> bool:
        """Whether nothing was heard for so long that nothing more shall be sent."""
        return bool(self._under_way) and now - self._last_ack > STALLED_S

    def behind(self, now: float, unsent: int) -> bool:
        """Whether too much is under way for another picture; `unsent` bytes wait in the carrier."""
        if not self._under_way:
            return unsent > MAX_UNSENT or self.waiting_s > LIMIT_S
        limit = KEYFRAME_LIMIT_S if self._under_way[0].keyframe else LIMIT_S
        return (
            self.delay(now) > limit
            or self._pictures > self.window
            or unsent > MAX_UNSENT
            or self.waiting_s > LIMIT_S
        )

    def clear(self, now: float, unsent: int) -> bool:
        """Whether the path is free for a keyframe after pictures were left out."""
        return not self.behind(now, unsent) and self.delay(now) < QUEUE_S

    def sound_too_late(self, now: float, unsent: int) -> bool:
        """Whether even sound has to wait."""
        return self.delay(now) > SOUND_LIMIT_S or unsent > MAX_UNSENT
