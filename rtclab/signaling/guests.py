"""Those who come to a room by a share: what they may not do, and how their visit ends.

What a share allows is checked where it would be done: when somebody joins, resumes, offers, or speaks to
another client of a mesh. When the share ends, so does each of its sessions, with a `bye` that says why. Who
is connected and does not join is sent away, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from ..errors import SignalingError
from . import session as events
from .sdp import parse
from .shares import EXPIRED, REVOKED, Grant, Shares

if TYPE_CHECKING:
    from .member import Member
    from .server import SignalingServer, _Endpoint

VIEW_ONLY: Final = "this link is for watching only; ask for one that lets you publish"
ENDED: Final = "share_ended"  # code of the bye
NOT_SENDING: Final = ("recvonly", "inactive")
JOIN_S: Final = 10.0  # that somebody may be connected without having joined
SWEEP_S: Final = 1.0
IDLE: Final = f"nobody joined by this connection within {JOIN_S:g} s"


class Guests:
    """The part of a room's signaling that knows of shares.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.
    shares : Shares
        The room's shares.

    Attributes
    ----------
    dismissed : collections.Counter
        Visits that the room has ended, by the code of the bye.
    """

    def __init__(self, server: SignalingServer, shares: Shares) -> None:
        self.server = server
        self.shares = shares
        self.dismissed: Counter[str] = Counter()
        # each is held by its carrier; since when it has not been in the room, as far as that was seen
        self._here: WeakKeyDictionary[_Endpoint, float | None] = WeakKeyDictionary()
        self._next_sweep = 0.0
        shares.networks = lambda share: [guest.grant.network for guest in self._of(share) if guest.grant]

    def welcome(self, guest: _Endpoint) -> None:
        """Note who has come by a share, joined or not."""
        self._here[guest] = None

    def _of(self, share: str) -> list[_Endpoint]:
        return [guest for guest in self._here if guest.grant is not None and guest.grant.share == share]

    def members(self, share: str) -> list[Member]:
        """Who is in the room by a share."""
        return [
            member
            for member in self.server.members.values()
            if member.grant is not None and member.grant.share == share
        ]

    # -- what they may not do ---------------------------------------------------------------------------

    def check_join(self, grant: Grant, role: str) -> None:
        """Let somebody join, in place of one who was lost when no other place is left.

        Raises
        ------
        rtclab.errors.SignalingError
            With the code `not_allowed`.
        """
        if not self.shares.holds(grant.share):  # it ended while somebody was on the way
            raise SignalingError("not_allowed", REVOKED)
        if grant.role == "viewer" and role != "viewer":
            raise SignalingError("not_allowed", VIEW_ONLY)
        if grant.at_once is None:
            return
        here = self.members(grant.share)
        lost = [member for member in here if member.session.state == "lost"]
        if len(here) - len(lost) >= grant.at_once:
            people = "one person" if grant.at_once == 1 else f"{grant.at_once} people"
            raise SignalingError("not_allowed", f"this link is for {people} at once; try again later")
        for member in lost[: max(0, len(here) + 1 - grant.at_once)]:
            self.server.remove(member)

    def check_peer(self, member: Member, event: events.PeerAddressed) -> None:
        """Let a member of a mesh speak to another; a viewer's description must not send.

        Raises
        ------
        rtclab.errors.SignalingError
            With the code `not_allowed`, or what is wrong with the description.
        """
        if not view_only(member):
            return
        description: dict[str, Any] | None = event.content["description"]
        sends = bool(event.content["tracks"])
        if description is not None:
            media = parse(description["sdp"]).media
            sends = sends or any(line.direction not in NOT_SENDING and not line.rejected for line in media)
        if sends:
            raise SignalingError("not_allowed", VIEW_ONLY)

    # -- the end ----------------------------------------------------------------------------------------

    def revoke(self, share: str) -> None:
        """End a share and every visit by it."""
        if self.shares.revoke(share):
            self._dismiss(share, REVOKED)

    def tick(self, now: float) -> None:
        """End what has expired, and who does not join; `now` is Unix time in seconds."""
        for ticket in self.shares.expire(now):
            self._dismiss(ticket.grant.share, EXPIRED)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        for guest, outside in list(self._here.items()):
            if guest.member is not None or outside is None:
                self._here[guest] = now if guest.member is None else None
            elif now - outside >= JOIN_S:
                self._end(guest, "not_joined", IDLE)

    def _dismiss(self, share: str, why: str) -> None:
        for member in self.members(share):
            member.session.bye(ENDED, _sentence(why))
            self.server.flush(member)
            self.server.remove(member)
            self.dismissed[ENDED] += 1
        for guest in self._of(share):
            self._end(guest, ENDED, why)

    def _end(self, guest: _Endpoint, code: str, why: str) -> None:
        del self._here[guest]
        guest.dismiss(code, _sentence(why))
        self.dismissed[code] += guest.member is None


def _sentence(why: str) -> str:
    return f"{why[0].upper()}{why[1:]}."


def view_only(member: Member) -> bool:
    """Whether a member came by a share that lets it watch and no more."""
    return member.grant is not None and member.grant.role == "viewer"
