"""How one source is received: extended sequence numbers, loss, jitter and reports.

RFC 3550 sections 6.4, A.1, A.3 and A.8. A packet up to 3000 ahead of the highest one is in order, one up to
1500 behind is late. Anything else is a jump and refused, unless the next packet follows it: then the source
has restarted, and counting goes on from there.
"""

from __future__ import annotations

from .rtcp import ReportBlock, middle_32
from .sequence import difference

_MAX_DROPOUT = 3000
_MAX_MISORDER = 1500
# Extended numbers begin one cycle up, so that packets from before the first one are not negative.
_ORIGIN = 1 << 16
# A timestamp this far off is a jump of the sender's clock, not jitter.
_MAX_TRANSIT_S = 5.0


class Reception:
    """Reception state of one SSRC.

    Parameters
    ----------
    clock_rate : int
        RTP clock in Hz.

    Attributes
    ----------
    highest : int or None
        Highest extended sequence number; None before the first packet. The low 16 bits are as sent.
    received : int
        Packets accepted, late ones and duplicates included.
    resynced : bool
        Whether the last packet was taken as a restart of the source: packets missing before it will not come.
    """

    __slots__ = (
        "_arrival",
        "_base",
        "_jitter",
        "_prior_expected",
        "_prior_received",
        "_report",
        "_restart",
        "_timestamp",
        "clock_rate",
        "highest",
        "received",
        "resynced",
    )

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.highest: int | None = None
        self.received = 0
        self.resynced = False
        self._base = 0
        self._restart = -1
        self._jitter = 0.0
        self._timestamp = 0
        self._arrival = 0.0
        self._prior_expected = 0
        self._prior_received = 0
        self._report: tuple[int, int, float] | None = None

    @property
    def expected(self) -> int:
        """Packets that should have come: from the first to the highest one, jumps left out."""
        return 0 if self.highest is None else self.highest - self._base + 1

    @property
    def lost(self) -> int:
        """Expected minus received packets; negative with duplicates."""
        return self.expected - self.received

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter in seconds."""
        return self._jitter / self.clock_rate

    def receive(self, sequence: int, timestamp: int, now: float) -> int | None:
        """Count one packet.

        Parameters
        ----------
        sequence, timestamp : int
            Its 16-bit sequence number and 32-bit RTP time.
        now : float
            Its arrival, in seconds.

        Returns
        -------
        int or None
            Its extended sequence number, at most 1500 behind the highest one; None if it was refused.
        """
        self.resynced = False
        highest = self.highest
        if highest is None:
            self.highest = self._base = extended = sequence + _ORIGIN
            self._timestamp, self._arrival = timestamp, now
            self.received = 1
            return extended
        ahead = (sequence - highest) & 0xFFFF
        if ahead < _MAX_DROPOUT:
            extended = highest + ahead
            if ahead:
                self.highest = extended
                if timestamp != self._timestamp:
                    self._measure_jitter(timestamp, now)
        elif ahead > 0x10000 - _MAX_MISORDER:
            extended = highest + ahead - 0x10000
        elif sequence == self._restart:
            extended = self.highest = highest + ahead
            self._base += ahead - 1
            self._timestamp, self._arrival = timestamp, now
            self._restart = -1
            self.resynced = True
        else:
            self._restart = (sequence + 1) & 0xFFFF
            return None
        self.received += 1
        return extended

    def _measure_jitter(self, timestamp: int, now: float) -> None:
        # Once for each frame: its packets share a timestamp, so their spacing is pacing, not jitter.
        transit = (now - self._arrival) * self.clock_rate - difference(timestamp, self._timestamp, 32)
        if abs(transit) < _MAX_TRANSIT_S * self.clock_rate:
            self._jitter += (abs(transit) - self._jitter) / 16
        self._timestamp, self._arrival = timestamp, now

    def sender_report(self, ntp: int, rtp: int, now: float) -> None:
        """Remember a sender report: its 64-bit NTP and 32-bit RTP time, and its arrival in seconds."""
        self._report = ntp, rtp, now

    def rtp_at(self, ntp: int) -> int | None:
        """Map a 64-bit NTP time of the sender to its 32-bit RTP time; None before the first sender report."""
        if self._report is None:
            return None
        reported_ntp, rtp, _ = self._report
        return (rtp + (difference(ntp, reported_ntp, 64) * self.clock_rate + (1 << 31) >> 32)) & 0xFFFFFFFF

    def ntp_at(self, rtp: int) -> int | None:
        """Map a 32-bit RTP time of the sender to its 64-bit NTP time; None before the first sender report."""
        if self._report is None:
            return None
        reported_ntp, reported_rtp, _ = self._report
        return reported_ntp + (difference(rtp, reported_rtp, 32) << 32) // self.clock_rate

    def report(self, ssrc: int, now: float) -> ReportBlock:
        """Make the report block on source `ssrc`; its fraction lost is that since the last call."""
        expected = self.expected - self._prior_expected
        lost = expected - (self.received - self._prior_received)
        self._prior_expected, self._prior_received = self.expected, self.received
        fraction = min(256 * lost // expected, 255) if expected > 0 and lost > 0 else 0
        lsr = dlsr = 0
        if self._report is not None:
            ntp, _, arrival = self._report
            lsr = middle_32(ntp)
            dlsr = min(max(int((now - arrival) * 65536), 0), 0xFFFFFFFF)
        return ReportBlock(
            ssrc,
            fraction,
            min(max(self.lost, -0x800000), 0x7FFFFF),
            0 if self.highest is None else (self.highest - _ORIGIN) & 0xFFFFFFFF,
            min(int(self._jitter), 0xFFFFFFFF),
            lsr,
            dlsr,
        )
