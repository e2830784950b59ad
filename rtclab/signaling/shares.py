"""Share links of one room: what a link allows, who may come in by it, and until when.

A token is text that any page can carry in a URL's fragment:

    role . id . end . room . signature      viewer.x7Kd91Qa.1795363200.Zb1cVq0eT5wX.2jHk...

`end` is Unix time in seconds. The signature is HMAC-SHA256 (RFC 2104) of all before it, cut to 128 bits, by
a secret that each room makes for itself and never shows: a token says nothing about any other room and dies
with its own. A room keeps only the shares that are live: whoever comes with a valid signature before the end,
but by a share that is not kept any more, comes by one that was revoked.

Times are Unix seconds, since an end is a date; what is asked how often is counted for each address. So are
those who are connected: a link that gets around must not take all places of a room, or of a Jupyter server.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import math
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from ..errors import RtclabError, ShareRefused
from .carrier import Connect, ConnectGuest
from .messages import ROLES
from .rates import Rates, network_of

MAX_SHARES: Final = 1000  # live at once in one room
MAX_TOKEN: Final = 200  # characters
LONGEST_S: Final = 30 * 86400.0
SIGNATURE_BYTES: Final = 16
MAX_VISITORS: Final = 500  # connected by one share at once, joined or not
MAX_OF_ADDRESS: Final = 200  # and of them from one address, which a whole class may have
CROWDED_S: Final = 10  # after which some may have left

EXPIRED: Final = "this link has expired; ask whoever sent it for a new one"
REVOKED: Final = "this link was revoked; ask whoever sent it for a new one"
FORGED: Final = "this is no link of this room: it is incomplete or was changed; ask for it once more"
ELSEWHERE: Final = "this link belongs to another room; ask for one to this room"
CROWDED: Final = "too many people are here by this link{where}; try again in {wait} s"


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody who comes by a share may do.

    Attributes
    ----------
    role : str
        ``"viewer"``: watch and no more; ``"participant"``: publish, too.
    share : str
        The id of the share.
    at_once : int, optional
        How many may be in the room by it at once.
    network : str
        The key of the address they come from; who comes back from another one is the same guest.
    """

    role: str
    share: str
    at_once: int | None = None
    network: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A share that is live."""

    grant: Grant
    expires_at: float
    token: str


class Shares:
    """The shares of one room; used on the engine's thread.

    Parameters
    ----------
    room : str
        The room's id, of the letters of base64url.

    Attributes
    ----------
    networks : callable
        Gives `Grant.network` of everybody who is connected by a share, joined or not.
    refused : collections.Counter
        How many were refused, by code.
    """

    def __init__(self, room: str) -> None:
        self.room = room
        self.networks: Callable[[str], list[str]] = lambda share: []
        self.refused: Counter[str] = Counter()
        self._secret = secrets.token_bytes(32)
        self._live: dict[str, Ticket] = {}
        # a whole class may come from one address, and come again after a break
        self._admitted = Rates(burst=200, per_s=5)
        self._guesses = Rates(burst=20, per_s=0.2)

    @property
    def live(self) -> list[Ticket]:
        """Every share that was neither revoked nor found expired, oldest first."""
        return list(self._live.values())

    def holds(self, share: str) -> bool:
        """Whether a share is live."""
        return share in self._live

    def open(self, role: str, lasts_s: float, now: float, at_once: int | None = None) -> Ticket:
        """Make a share.

        Raises
        ------
        rtclab.errors.RtclabError
            There are too many.
        ValueError
            An argument is none.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
        if not 0 < lasts_s <= LONGEST_S:
            raise ValueError(f"a share lasts up to {LONGEST_S / 86400:g} days, not {lasts_s:g} s")
        if at_once is not None and (isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1):
            raise ValueError(f"uses must be a whole number above 0, or None for no limit, not {at_once!r}")
        if len(self._live) >= MAX_SHARES:
            raise RtclabError(f"{MAX_SHARES} shares are live, which is all; revoke some of room.shares first")
        grant = Grant(role, secrets.token_urlsafe(6), at_once)
        expires_at = float(math.ceil(now + lasts_s))
        text = f"{role}.{grant.share}.{expires_at:.0f}.{self.room}"
        ticket = Ticket(grant, expires_at, f"{text}.{self._signature(text)}")
        self._live[grant.share] = ticket
        return ticket

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(), hashlib.sha256)[:SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def admit(self, token: str, now: float, address: str = "", visit: bool = False) -> Grant:
        """Let somebody in.

        Parameters
        ----------
        token : str
            What the link carries; nothing about it is trusted.
        now : float
            Unix time in seconds.
        address : str
            Where it comes from: the IP address that HTTP knows.
        visit : bool
            Whether they want to be connected from now on, which not too many are at once.

        Raises
        ------
        rtclab.errors.ShareRefused
            It is forged, expired, revoked or for another room, this address asks too often, or too many are
            here.
        """
        try:
            return self._admit(token, now, network_of(address), visit)
        except ShareRefused as refused:
            self.refused[refused.code] += 1
            raise

    def _admit(self, token: str, now: float, network: str, visit: bool) -> Grant:
        try:
            ticket = self._ticket(token, now)
        except ShareRefused:
            _take(self._guesses, network, now)
            raise
        grant = replace(ticket.grant, network=network)
        _take(self._admitted, f"{grant.share} {network}", now)
        if visit:
            here = self.networks(grant.share)
            if len(here) >= MAX_VISITORS or here.count(network) >= MAX_OF_ADDRESS:
                where = "" if len(here) >= MAX_VISITORS else " from this address"
                raise ShareRefused("share_full", CROWDED.format(where=where, wait=CROWDED_S), CROWDED_S)
        return grant

    def _ticket(self, token: str, now: float) -> Ticket:
        text, _, signature = token.rpartition(".")
        parts = text.split(".")
        if len(token) > MAX_TOKEN or not token.isascii() or len(parts) != 4:
            raise ShareRefused("share_forged", FORGED)
        _, share, end, room = parts
        if not hmac.compare_digest(signature, self._signature(text)):
            code, sentence = ("share_forged", FORGED) if room == self.room else ("share_room", ELSEWHERE)
            raise ShareRefused(code, sentence)
        if now >= int(end):
            raise ShareRefused("share_expired", EXPIRED)
        ticket = self._live.get(share)
        if ticket is None:
            raise ShareRefused("share_revoked", REVOKED)
        return ticket

    def revoke(self, share: str) -> bool:
        """End a share; False when it had ended before."""
        return self._live.pop(share, None) is not None

    def expire(self, now: float) -> list[Ticket]:
        """Forget the shares whose time is over, and return them."""
        over = [ticket for ticket in self._live.values() if now >= ticket.expires_at]
        for ticket in over:
            del self._live[ticket.grant.share]
        return over


def granted(connect: ConnectGuest, grant: Grant | None) -> Connect:
    """A room's `connect` for somebody who comes by a share, if there is a grant."""
    return connect if grant is None else functools.partial(connect, grant=grant)


def _take(rates: Rates, key: str, now: float) -> None:
    wait = math.ceil(rates.wait_s(key, now))
    if wait:
        sentence = f"too many attempts came from this address; try again in {wait} s"
        raise ShareRefused("share_rate", sentence, wait)
