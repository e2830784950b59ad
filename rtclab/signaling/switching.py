"""What the clients are told of the room's architecture: how it forwards, what to send, whom to connect to.

A publication keeps its id whatever the architecture. What changes is the list of tracks (the others', or
those that the room mixes), the publishers' `encodings`, and in a mesh the list of peers, whose messages to
one another pass through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..forwarding.architecture import Architecture, Output
from ..forwarding.producer import Producer
from . import session as events
from .description import Codec
from .member import Member, Owner, Publication

if TYPE_CHECKING:
    from .server import SignalingServer

MIXER = Owner("room", "everyone")
ALONE = ("http",)  # carriers of clients that cannot connect to one another
NO_ROLLBACK = ("in-process",)  # carriers of clients that cannot take an offer back
_H264 = {"packetization-mode": "1", "profile-level-id": "42e01f", "level-asymmetry-allowed": "1"}


class Switching:
    """The part of a room's signaling that depends on its architecture.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.

    Attributes
    ----------
    news : bool
        Whether what is listed may have changed since the clients were told.
    """

    def __init__(self, server: SignalingServer) -> None:
        self.server = server
        self.router = server.router
        self.news = False
        self.router.on_upstream_changed = self._upstream_changed

    @property
    def _architecture(self) -> Architecture | None:
        return self.router.architecture

    def take_up(self, architecture: Architecture) -> None:
        """Forward by `architecture` and tell everybody."""
        server = self.server
        server.room["architecture"] = architecture.name
        self.router.take_up(architecture, server.clock())
        for member in server.members.values():
            self.tell_architecture(member)
        self.news = True
        server.publish_tracks()
        for member in server.members.values():
            self._attach_to_outputs(member)
            server.flush(member)

    def _attach_to_outputs(self, member: Member) -> None:
        """An output of the former architecture ended; one of the same id goes on on the same m-lines."""
        for subscription in member.subscriptions.values():
            consumer = subscription.consumer
            producer = self.router.outputs.get(subscription.track) if subscription.track is not None else None
            if producer is not None and consumer.producer is None:
                self.router.point(consumer, producer, consumer.header, self.server.clock())

    # -- what there is to receive -----------------------------------------------------------------------

    def output(self, track_id: str | None) -> Publication | None:
        """A track that the room makes, by its id."""
        producer = self.router.outputs.get(track_id) if track_id is not None else None
        return self._publication(producer) if producer is not None else None

    def _publication(self, producer: Producer) -> Publication:
        codec = Codec(
            producer.payload_type,
            producer.codec,
            producer.clock_rate,
            2 if producer.kind == "audio" else 1,
            dict(_H264) if producer.codec == "H264" else {},
        )
        return Publication(producer, MIXER, "", "mix", codec)

    def listed(self, member: Member, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What a member may receive, of the `described` tracks of all members."""
        architecture = self._architecture
        outputs = architecture.lists(member.id) if architecture is not None else None
        if outputs is None:
            return [track for track in described if track["participant"]["id"] != member.id]
        return [self._describe(output) for output in outputs if output.listener in (None, member.id)]

    def _describe(self, output: Output) -> dict[str, Any]:
        described = self._publication(output.producer).describe(self.server.clock())
        if output.of is not None:
            members = self.server.members
            described["of"] = sorted(members[id].name for id in output.of if id in members)
        return described

    # -- what to send -----------------------------------------------------------------------------------

    def _upstream_changed(self, producer: Producer) -> None:
        """Tell the publisher of a track what to send of it."""
        client = self.router.publisher.get(producer.id)
        member = self.server.members.get(client.id) if client is not None else None
        if member is None:
            return
        upstream = producer.upstream
        rids: list[str] | None = None
        if upstream.streams and len(upstream.streams) < len(producer.streams):
            rids = [str(producer.streams[index].rid) for index in sorted(upstream.streams)]
        reason = upstream.reason.value if upstream.reason is not None else None
        member.session.encodings(producer.id, rids, bool(upstream.streams), reason, upstream.bitrate)
        self.server.flush(member)

    # -- whom to connect to -----------------------------------------------------------------------------

    def tell_architecture(self, member: Member) -> None:
        """Tell a member how the room forwards."""
        architecture = self._architecture
        if architecture is None:
            return
        peers = self._peers(member) if architecture.direct else []
        member.session.architecture(architecture.name, architecture.direct, architecture.mixed, peers)

    def tell_peers(self) -> None:
        """In a mesh, tell everybody whom to connect to, where that has changed."""
        if self._architecture is not None and self._architecture.direct:
            for member in self.server.members.values():
                self.tell_architecture(member)
                self.server.flush(member)

    def _peers(self, member: Member) -> list[dict[str, Any]]:
        """Those with whom there is something to send or to receive."""
        if not _connects(member):
            return []
        return [
            {"id": other.id, "name": other.name, "polite": _polite(member, other)}
            for other in self.server.members.values()
            if other is not member and _connects(other) and (member.publications or other.publications)
        ]

    def pass_on(self, member: Member, event: events.PeerAddressed) -> None:
        """Pass on what one client says to another."""
        if self._architecture is None or not self._architecture.direct:
            member.session.error(None, "not_allowed", "clients talk to each other only in a mesh")
            return
        other = self.server.members.get(event.to)
        if other is None or other is member or not _connects(other):
            member.session.error(None, "unknown_peer", f"there is no client {event.to!r} to connect to")
            return
        other.session.peer(member.id, event.content)
        self.server.flush(other)


def _connects(member: Member) -> bool:
    # who uses a tunnel cannot reach the room by UDP, but perhaps the others
    ended = member.transport is not None and member.transport.state in ("failed", "closed")
    gone = ended and member.tunnel is None
    return member.carrier.kind not in ALONE and member.session.state in ("joined", "lost") and not gone


def _polite(member: Member, other: Member) -> bool:
    """Whether `member` is the one of the pair that gives way (W3C webrtc-pc section 10.7)."""
    mine, theirs = (one.carrier.kind in NO_ROLLBACK for one in (member, other))
    if mine != theirs:
        return theirs
    return (member.joined_at, member.id) > (other.joined_at, other.id)
