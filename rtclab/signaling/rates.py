"""How often each address may ask: a token bucket for each, in a table of bounded size.

A bucket holds `burst` tokens and gains `per_s` a second; each attempt takes one. Buckets that have not been
asked for longest are forgotten first, which gives their addresses a full one: the table bounds memory, and an
attacker with more addresses than it has rows is not what it is against.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

MAX_KEYS: Final = 4096
V6_PREFIX: Final = 64  # what one customer gets at least: single addresses of it are free


class Rates:
    """Token buckets by key.

    Parameters
    ----------
    burst : float
        Attempts at once.
    per_s : float
        Attempts a second in the long run.
    size : int
        Keys that are remembered.
    """

    def __init__(self, burst: float, per_s: float, size: int = MAX_KEYS) -> None:
        self.burst = burst
        self.per_s = per_s
        self.size = size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: str, now: float) -> float:
        """Take a token; 0, or without one the seconds until there is one again."""
        level, since = self._buckets.get(key, (self.burst, now))
        level = min(self.burst, level + max(0.0, now - since) * self.per_s)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self.size:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self.per_s


def network_of(address: str) -> str:
    """The key of an address: an IPv4 address is its own, of an IPv6 address only the network counts."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, V6_PREFIX), strict=False))
    return str(parsed)
