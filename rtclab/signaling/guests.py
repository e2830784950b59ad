"""Those who come to a room by a share: what they may not do, and how their visit ends.

What a share allows is checked where it would be done: when somebody joins, resumes, offers, or speaks to
another client of a mesh. When the share ends, so does each of its sessions, with a `bye` that says why.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

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


class Guests:
    """The part of a room's signaling that knows of shares.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.
    shares : Shares
        The room's shares.
    """

    def __init__(self, server: SignalingServer, shares: Shares) -> None:
        self.server = server
        self.shares = shares
        self._here: weakref.WeakSet[_Endpoint] = weakref.WeakSet()  # each is held by its carrier

    def welcome(self, guest: _Endpoint) -> None:
        """Note who has come by a share, joined or not."""
        self._here.add(guest)

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
        """End what has expired; `now` is Unix time in seconds."""
        for ticket in self.shares.expire(now):
            self._dismiss(ticket.grant.share, EXPIRED)

    def _dismiss(self, share: str, why: str) -> None:
        sentence = f"{why[0].upper()}{why[1:]}."
        for member in self.members(share):
            member.session.bye(ENDED, sentence)
            self.server.flush(member)
            self.server.remove(member)
        for guest in [one for one in self._here if one.grant is not None and one.grant.share == share]:
            self._here.discard(guest)
            guest.dismiss(ENDED, sentence)


def view_only(member: Member) -> bool:
    """Whether a member came by a share that lets it watch and no more."""
    return member.grant is not None and member.grant.role == "viewer"
