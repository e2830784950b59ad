"""When to ask a publisher for a keyframe: many viewers ask, one request goes out.

Two limits: the source is asked at most every `per_source` seconds, and each requester causes at most one
request every `per_requester` seconds. An ask while a request is under way is merged with it; one that comes
too soon after a keyframe is deferred, and forgotten if a keyframe comes anyway. A request without a
keyframe is repeated every `retry` seconds, five times after the last ask.
"""

from __future__ import annotations

from collections.abc import Hashable

MAX_RETRIES = 5
# Requesters come and go; those whose limit has passed need not be remembered.
_MAX_REQUESTERS = 64


class KeyframeRequests:
    """Keyframe requests to one incoming source.

    Parameters
    ----------
    per_source, per_requester : float, optional
        Least time between two requests to the source, and between two caused by one requester, in seconds.
    retry : float, optional
        Time in seconds after which a request without a keyframe is repeated.

    Attributes
    ----------
    asked, sent, merged : int
        Times somebody asked, requests sent (repetitions included), and asks that sent nothing at once.
    """

    __slots__ = (
        "_deferred",
        "_last_asked",
        "_per_requester",
        "_per_source",
        "_retries",
        "_retry",
        "_sent_at",
        "_waiting",
        "asked",
        "merged",
        "sent",
    )

    def __init__(self, per_source: float = 0.5, per_requester: float = 0.2, retry: float = 1.0) -> None:
        self.asked = 0
        self.sent = 0
        self.merged = 0
        self._per_source = per_source
        self._per_requester = per_requester
        self._retry = retry
        self._sent_at = float("-inf")
        self._waiting = False  # a request is out, its keyframe has not come
        self._retries = 0
        self._deferred: tuple[float, Hashable] | None = None  # when, and for whom
        self._last_asked: dict[Hashable, float] = {}

    def request(self, requester: Hashable, now: float) -> bool:
        """Ask for a keyframe.

        Parameters
        ----------
        requester : hashable
            Who wants it.
        now : float
            The time in seconds.

        Returns
        -------
        bool
            Whether to send a request now.
        """
        self.asked += 1
        allowed = max(
            self._sent_at + self._per_source,
            self._last_asked.get(requester, float("-inf")) + self._per_requester,
        )
        if now >= allowed:
            self._remember(requester, now)
            self._retries = 0
            self._send(now)
            return True
        self.merged += 1
        if self._waiting:
            self._retries = 0
        elif self._deferred is None or allowed < self._deferred[0]:
            self._deferred = allowed, requester
        return False

    def due(self, now: float) -> bool:
        """Whether a deferred or repeated request is to be sent now; if so it counts as sent."""
        when = self.next_due()
        if when is None or now < when:
            return False
        if self._deferred is None:
            self._retries += 1
        else:
            self._remember(self._deferred[1], now)
            self._retries = 0
        self._send(now)
        return True

    def next_due(self) -> float | None:
        """The time at which `due` will say yes, in seconds; None if nothing is planned."""
        if self._deferred is not None:
            return self._deferred[0]
        if self._waiting and self._retries < MAX_RETRIES:
            return max(self._sent_at + self._retry, self._sent_at + self._per_source)
        return None

    def keyframe(self, now: float) -> None:
        """Take note that a keyframe arrived: everyone who asked before has what they want."""
        self._waiting = False
        self._deferred = None
        self._retries = 0

    def _send(self, now: float) -> None:
        self.sent += 1
        self._sent_at = now
        self._waiting = True
        self._deferred = None

    def _remember(self, requester: Hashable, now: float) -> None:
        if len(self._last_asked) >= _MAX_REQUESTERS:
            recent = now - self._per_requester
            self._last_asked = {who: at for who, at in self._last_asked.items() if at > recent}
        self._last_asked[requester] = now
