"""How much may be under way in a tunnel, and what its path carries: TCP never loses, so by acknowledgements.

A queue somewhere on the path shows as delay: the age of the oldest frame not acknowledged, above the smallest
round trip lately. More than 0.4 s is too much; while a keyframe is the oldest, 0.7 s, for it is several times
as large and to drop what follows would only cost the next one. Both are bounded in bytes too, by what the
path has carried, since a burst is all sent before any time has passed. Beyond that pictures are left out up
to the next keyframe, which is asked for when nothing waits any more. Sound is small and goes on for longer;
sent when no picture is under way any more, it tells the round trip anew. When nothing is acknowledged for
4 s although frames are under way, nothing is sent until something is.

While a frame is under way the path is busy. So what was acknowledged from the last acknowledgement before it
was sent to its own, over that time or the one in which that was sent, whichever is longer, is a sample of the
rate (draft-cheng-iccrg-delivery-rate-estimation). With a queue the best of the last samples, less a tenth, is
the estimate of the bandwidth; without one it may only rise. It becomes REMB (draft-alvestrand-rmcat-remb).

A page that stands still for a moment is no slow path: as long as no more is under way than the path is known
to carry in a fraction of the time, pictures wait longer. Nor is a room: the time in which nothing ran here
does not count.

The rules are those of selkies and jupyter_rfb for the same job: sent minus acknowledged, the round trip taken
off, a stall after 4 s, and a keyframe to go on with.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

LIMIT_S = 0.4
PATIENT_S = 0.8  # with little under way
STOOD_S = 0.3  # without a call for so long nothing ran here: ticks come more often
KEYFRAME_LIMIT_S = 0.7
SOUND_LIMIT_S = 0.8
QUEUE_S = 0.22  # from here on there is a queue; half of it may be patience of who acknowledges
STALLED_S = 4.0
MAX_ROUND_TRIP_S = 0.3  # at most this counts as the path's own until sound alone has shown it
WINDOW_BYTES = 20 * 1024  # of pictures after a keyframe, at least
TRUSTED_S = 10.0  # how long after a queue the best rate counts as all that the path carries
MAX_UNSENT = 512 * 1024  # bytes in the carrier
BEST_S, NEWEST_S = 1.5, 0.4  # how long a sample of the rate counts: as the best, as one of now
ROUND_TRIP_S = 15.0  # half of how long the smallest round trip counts
MIN_ESTIMATE_BPS = 30_000


class _UnderWay(NamedTuple):
    number: int
    at: float
    size: int
    picture: bool  # and no keyframe
    audio: bool
    delivered: int  # bytes acknowledged before it was sent, when, and when the last of them were sent
    delivered_at: float
    delivered_sent_at: float
    stood: bool = False  # something stood still meanwhile: its round trip tells nothing


class Flow:
    """Back-pressure of one direction.

    Attributes
    ----------
    rtt_s : float or None
        Round trip of the newest acknowledgement that tells.
    waiting_s : float
        Media that the other side has taken in and not decoded yet.
    rate_bps : float
        What is delivered now, the best of the newest samples.
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
        self._bytes = self._pictures = 0  # under way, in all and of pictures
        self._delivered = 0
        self._delivered_at = self._delivered_sent_at = 0.0
        self._queued_at = -1e9
        self._video_acked_at = 0.0
        self._videos = 0  # pictures and keyframes under way
        self._best_bps = 0.0
        self._samples: deque[tuple[float, float]] = deque()
        self._smallest: list[float | None] = [None, None]
        self._smallest_since = -1e9
        self._shown = False  # whether sound alone has
        self._last_ack = 0.0
        self._seen_at = 1e9

    @property
    def under_way(self) -> int:
        """Frames sent and not acknowledged."""
        return len(self._under_way)

    def sent(self, number: int, size: int, now: float, keyframe: bool = False, audio: bool = False) -> None:
        """Note a frame of `size` bytes, numbered one up from the one before."""
        self.seen(now)
        if not self._under_way:
            self._delivered_at = self._delivered_sent_at = now
            self._last_ack = now  # the time in which nothing was under way is no stall
        picture = not keyframe and not audio
        self._under_way.append(
            _UnderWay(
                number,
                now,
                size,
                picture,
                audio,
                self._delivered,
                self._delivered_at,
                self._delivered_sent_at,
            )
        )
        self._bytes += size
        self._pictures += picture * size
        self._videos += not audio

    def seen(self, now: float) -> None:
        """Note that the room runs; to be called a few times a second."""
        stood = now - self._seen_at
        if stood > STOOD_S:
            self._under_way = deque(one._replace(at=one.at + stood, stood=True) for one in self._under_way)
        self._seen_at = now

    def ack(self, number: int, waiting_ms: int, now: float) -> None:
        """Take an acknowledgement; one for a frame that was never sent, or not any more, only tells that the
        other side is there."""
        self.seen(now)
        self.waiting_s = min(waiting_ms, 60_000) / 1000
        self._last_ack = now
        queue = self._under_way
        if not queue or not queue[0].number <= number <= queue[-1].number:
            return
        frame = queue[0]
        while queue and queue[0].number <= number:
            frame = queue.popleft()
            self._delivered += frame.size
            self._bytes -= frame.size
            self._pictures -= frame.picture * frame.size
            self._videos -= not frame.audio
            if not frame.audio:
                self._video_acked_at = now
        self.acked = number
        if not frame.stood:
            self._take_round_trip(frame.at, now)
        self._delivered_at, self._delivered_sent_at = now, frame.at
        took = max(now - frame.delivered_at, frame.at - frame.delivered_sent_at, 1e-3)
        self._take_rate((self._delivered - frame.delivered) * 8 / took, now)

    def _take_round_trip(self, sent: float, now: float) -> None:
        self.rtt_s = seconds = now - sent
        if not self._videos and sent > self._video_acked_at:
            self._smallest = [seconds, seconds]
            self._shown = True
            self._smallest_since = now
        if now - self._smallest_since > ROUND_TRIP_S:
            self._smallest_since = now
            self._smallest = [self._smallest[1], None]
        newest = self._smallest[1]
        self._smallest[1] = seconds if newest is None else min(newest, seconds)

    @property
    def smallest_rtt_s(self) -> float:
        """The smallest round trip lately."""
        known = [one for one in self._smallest if one is not None]
        return min(known) if self._shown else min([*known, MAX_ROUND_TRIP_S])

    def delay(self, now: float) -> float:
        """Age of the oldest frame under way above the smallest round trip, in seconds."""
        if not self._under_way:
            return 0.0
        return max(now - self._under_way[0].at - self.smallest_rtt_s, 0.0)

    def _take_rate(self, sample: float, now: float) -> None:
        self._samples.append((now, sample))
        while self._samples[0][0] <= now - BEST_S:
            self._samples.popleft()
        best = max(rate for _, rate in self._samples)
        self.rate_bps = max(rate for at, rate in self._samples if at > now - NEWEST_S)
        if self._queue(now):
            self._queued_at = now
            self._best_bps = min(self._best_bps, best)
            known = max(int(best * 0.9), MIN_ESTIMATE_BPS)
            self.estimate_bps = known if self.estimate_bps is None else min(self.estimate_bps, known)
        else:
            self._best_bps = max(self._best_bps, best)
            if self.estimate_bps is not None:
                self.estimate_bps = max(self.estimate_bps, int(best * 1.5))

    def _queue(self, now: float) -> bool:
        """Whether something on the path waits."""
        newest = self.smallest_rtt_s if self.rtt_s is None else self.rtt_s
        return max(newest - self.smallest_rtt_s, self.delay(now)) > QUEUE_S

    def _full(self, now: float) -> bool:
        """Whether as many bytes are under way as the path can have carried in time."""
        queue = self._queue(now)
        rate, round_trip = self.rate_bps if queue else self._best_bps, self.smallest_rtt_s
        if self._pictures > max(WINDOW_BYTES, rate * (round_trip + LIMIT_S) / 8):
            return True
        limited = queue or now - self._queued_at < TRUSTED_S
        return limited and self._bytes > max(WINDOW_BYTES, rate * (round_trip + KEYFRAME_LIMIT_S) / 8)

    # -- what may be sent -------------------------------------------------------------------------------

    def stalled(self, now: float) -> bool:
        """Whether nothing was heard for so long that nothing more shall be sent."""
        return bool(self._under_way) and now - self._last_ack > STALLED_S

    def behind(self, now: float, unsent: int) -> bool:
        """Whether too much is under way for another picture; `unsent` bytes wait in the carrier."""
        if not self._under_way:
            return unsent > MAX_UNSENT or self.waiting_s > LIMIT_S
        limit = LIMIT_S if self._under_way[0].picture else KEYFRAME_LIMIT_S
        if self._bytes * 8 < (self.estimate_bps or self._best_bps) * LIMIT_S / 2:
            limit = PATIENT_S
        return self.delay(now) > limit or self._full(now) or unsent > MAX_UNSENT or self.waiting_s > LIMIT_S

    def clear(self, now: float, unsent: int) -> bool:
        """Whether to ask for a keyframe after pictures were left out: nothing waits any more."""
        return not self.behind(now, unsent) and self.delay(now) < QUEUE_S

    def takes_keyframe(self, now: float, unsent: int) -> bool:
        """Whether a keyframe that is there may go: with no picture under way what waits is sound."""
        return not self.behind(now, unsent) and (not self._videos or self.delay(now) < QUEUE_S)

    def sound_too_late(self, now: float, unsent: int) -> bool:
        """Whether even sound has to wait."""
        return self.delay(now) > SOUND_LIMIT_S or unsent > MAX_UNSENT
