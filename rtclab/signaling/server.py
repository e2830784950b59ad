"""The room's side of signaling: carriers come in, sessions run, offers become transports, producers and
consumers.

Everything runs on the engine's thread and nothing blocks. For each client there is a `Member`; what its
session makes of a message is an event, and each event has one handler here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import NegotiationError
from ..forwarding.columns import Header
from ..forwarding.consumer import Consumer
from ..forwarding.producer import Producer
from ..forwarding.router import Router
from ..rtp import extensions
from ..transport.port import UdpPort
from ..transport.transport import RemoteParameters, Transport
from . import session as events
from .carrier import Carrier
from .member import Member, Publication, Subscription
from .negotiation import (
    AcceptPublish,
    AcceptReceive,
    Decision,
    Inactive,
    LocalFields,
    Offer,
    Publishing,
    Receiving,
    Reject,
    Unusable,
    build_answer,
    choose_codec,
    payload_type_for,
    read_offer,
)
from .trace import SignalingTrace

TRACKS_S = 1.0
LEVELS_S = 0.5
DEAD_STATES = ("failed", "closed")


class SignalingServer:
    """All clients of one room.

    Parameters
    ----------
    room : dict
        What clients are told of the room: ``id``, ``name``, ``architecture``.
    port : UdpPort
        Where transports are opened.
    router : Router
        The media plane.
    clock : callable
        Monotonic time in seconds.
    video_codecs : sequence of str
        Codec names in the order of preference.
    ice_servers : sequence of dict
        What clients are told to use (W3C RTCIceServer).
    """

    def __init__(
        self,
        room: dict[str, Any],
        port: UdpPort,
        router: Router,
        clock: Callable[[], float],
        video_codecs: Sequence[str],
        ice_servers: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.room = room
        self.port = port
        self.router = router
        self.clock = clock
        self.video_codecs = tuple(video_codecs)
        self.ice_servers = list(ice_servers)
        self.members: dict[str, Member] = {}
        self.trace = SignalingTrace()
        self.closed = False
        self.on_change: Callable[[], None] = lambda: None
        self._numbers = itertools.count(1)
        self._track_numbers = itertools.count(1)
        self._guests = itertools.count(1)
        self._next_tracks = self._next_levels = 0.0
        router.on_consumer_changed = self._consumer_changed

    def connect(self, carrier: Carrier) -> _Endpoint:
        """Take in a new client; `Connect` of the carrier protocol."""
        return _Endpoint(self, carrier)

    def track(self, track_id: str | None) -> Publication | None:
        """A published track by its id."""
        for member in self.members.values():
            for publication in member.publications.values():
                if publication.id == track_id:
                    return publication
        return None

    # -- events -----------------------------------------------------------------------------------------

    def joined(self, endpoint: _Endpoint, event: events.Joined) -> None:
        """Give a client its place."""
        if self.closed:
            endpoint.session.error(
                event.id, "room_closed", "the room is closed; run the cell that opens it again"
            )
            return
        taken = {member.name for member in self.members.values()}
        name = event.name
        if name is None:
            stem = "guest" if event.role == "participant" else "viewer"
            name = next(free for number in self._guests if (free := f"{stem}-{number}") not in taken)
        elif name in taken:
            endpoint.session.error(
                event.id, "name_taken", f"somebody called {name!r} is in the room; choose another name"
            )
            return
        member = Member(
            f"p{next(self._numbers)}",
            name,
            event.role,
            event.agent,
            endpoint.session,
            endpoint.carrier,
            self.clock(),
        )
        endpoint.member = member
        self.members[member.id] = member
        self._welcome(member, event.id, resumed=False)
        self.on_change()

    def resumed(self, endpoint: _Endpoint, event: events.Resumed) -> None:
        """Give a client that lost its carrier its place back."""
        for member in self.members.values():
            if member.session.token == event.token and not self.closed:
                old = member.carrier
                member.session.resumed(self.clock())
                endpoint.session, endpoint.member = member.session, member
                member.carrier = endpoint.carrier
                if old is not endpoint.carrier:
                    old.close()
                self._welcome(member, event.id, resumed=True)
                return
        endpoint.session.error(
            event.id, "unknown_session", "the room does not know this session any more; join anew"
        )

    def _welcome(self, member: Member, re: int, resumed: bool) -> None:
        participant = {"id": member.id, "name": member.name}
        member.session.welcome(
            re, participant, self.room, self._tracks_for(member), self.ice_servers, resumed
        )

    def offered(self, member: Member, event: events.Offered) -> None:
        """Answer an offer, or say why not."""
        try:
            offer = read_offer(event.sdp, event.tracks)
            wanted = {track["mid"]: track for track in event.tracks}
            decisions, rejected = self._decide(member, offer, wanted)
            if offer.remote is None and member.transport is None:
                refused = (
                    rejected[0] if rejected else {"code": "bad_sdp", "message": "nothing in it can be used"}
                )
                raise NegotiationError(refused["code"], f"the offer is refused: {refused['message']}")
        except NegotiationError as error:
            member.session.error(event.id, error.code, str(error))
            return
        transport = self._transport_for(member, offer)
        self._close_missing(member, offer, decisions)
        tracks: list[dict[str, Any]] = []
        for section in offer.sections:
            decision = decisions[section.mid]
            entry = wanted.get(section.mid, {})
            if isinstance(section, Publishing) and isinstance(decision, AcceptPublish):
                publication = self._publish(member, section, decision, entry)
                tracks.append({"mid": section.mid, "track": publication.id})
            elif isinstance(decision, (AcceptReceive, Inactive)) and section.mid in member.subscriptions:
                subscription = member.subscriptions[section.mid]
                tracks.append(
                    {
                        "mid": section.mid,
                        "track": subscription.track,
                        "ssrc": subscription.consumer.header.ssrc,
                    }
                )
        local = LocalFields(
            transport.ufrag, transport.pwd, transport.fingerprint, transport.setup, self.port.candidates()
        )
        member.session.answer(event.id, build_answer(offer, decisions, local), tracks, rejected)
        self._point_subscriptions(member, offer)
        self.publish_tracks()
        self.on_change()

    def layer_picked(self, member: Member, event: events.LayerPicked) -> None:
        """Let a viewer have the layer it asks for."""
        consumer = self._consumer_of(member, event.track)
        if consumer is None or consumer.producer is None:
            member.session.error(
                event.id, "unknown_track", f"this client does not receive a track {event.track!r}"
            )
            return
        if event.rid != "auto" and consumer.producer.by_rid(event.rid) is None:
            member.session.error(event.id, "unknown_layer", f"the track has no layer {event.rid!r}")
            return
        consumer.selector.picked = event.rid
        consumer.limit_temporal(event.temporal)
        self.router.decide(consumer, self.clock())
        self._consumer_changed(consumer)

    def view_changed(self, member: Member, event: events.ViewChanged) -> None:
        """Note how large a viewer sees a track."""
        consumer = self._consumer_of(member, event.track)
        if consumer is not None:
            consumer.selector.view_height = event.height or None
            consumer.selector.visible = event.visible
            self.router.decide(consumer, self.clock())

    def mute_changed(self, member: Member, event: events.MuteChanged) -> None:
        """Note that a member muted one of its tracks, and tell the others."""
        for publication in member.publications.values():
            if publication.id == event.track:
                publication.producer.muted = event.muted
                self.publish_tracks()

    def phase_reported(self, member: Member, event: events.PhaseReported) -> None:
        """Note how far a client says it is."""
        member.phase = event.phase
        member.phases[event.phase] = event.elapsed_s
        self.on_change()

    def stats_reported(self, member: Member, event: events.StatsReported) -> None:
        """Keep the newest figures of a client for `Room.stats`."""
        member.client_stats = {str(track.get("track")): track for track in event.tracks}

    # -- negotiation ------------------------------------------------------------------------------------

    def _decide(
        self, member: Member, offer: Offer, wanted: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, Decision], list[dict[str, Any]]]:
        """Accept or reject each m-line; nothing is changed yet but receiving m-lines that open."""
        decisions: dict[str, Decision] = {}
        rejected: list[dict[str, Any]] = []
        receiving = [section for section in offer.sections if isinstance(section, Receiving)]
        if receiving:
            member.playable = frozenset(
                codec.name.upper() for section in receiving for codec in section.codecs
            )
        for section in offer.sections:
            entry = wanted.get(section.mid, {})
            if isinstance(section, Publishing):
                try:
                    codec = self._codec(member, section)
                except NegotiationError as error:
                    decisions[section.mid] = Reject()
                    rejected.append({"mid": section.mid, "code": error.code, "message": str(error)})
                else:
                    decisions[section.mid] = AcceptPublish(codec, section.rtx.get(codec.payload_type))
            elif isinstance(section, Receiving):
                decisions[section.mid] = self._accept_receiving(member, section, entry.get("track"))
            elif isinstance(section, Unusable):
                decisions[section.mid] = Inactive() if section.code == "inactive" else Reject()
                if section.code not in ("inactive", "stopped"):
                    rejected.append({"mid": section.mid, "code": section.code, "message": section.message})
            else:
                decisions[section.mid] = Reject()
        return decisions, rejected

    def _codec(self, member: Member, section: Publishing) -> Any:
        current = member.publications.get(section.mid)
        if current is not None:  # what viewers get already stays, if the client still offers it
            for codec in section.codecs:
                if codec.payload_type == current.codec.payload_type and codec.name == current.codec.name:
                    return codec
        others = [
            set(other.playable) for other in self.members.values() if other is not member and other.playable
        ]
        preferred = self.video_codecs if section.kind == "video" else ("opus",)
        return choose_codec(section, preferred, others)

    def _accept_receiving(self, member: Member, section: Receiving, track: str | None) -> Decision:
        subscription = member.subscriptions.get(section.mid)
        publication = self.track(track)
        if subscription is None:
            if publication is None:
                return Inactive()
            header = Header(0, self.router.new_ssrc(), None, self.router.new_ssrc())
            client = member.client
            consumer = Consumer(member.id, section.mid, header, client.transport.row if client else 0)
            subscription = Subscription(consumer, section.mid, section.kind)
            member.subscriptions[section.mid] = subscription
        subscription.track = publication.id if publication is not None else None
        if publication is None:
            return Inactive()
        header = subscription.consumer.header
        return AcceptReceive(
            header.ssrc,
            header.rtx_ssrc if section.kind == "video" else None,
            f"rtclab-{publication.member.id}",
            publication.id,
            publication.member.id,
        )

    def _transport_for(self, member: Member, offer: Offer) -> Transport:
        """The member's transport: new for a new peer connection, restarted for new ICE credentials."""
        transport = member.transport
        if offer.remote is None:  # nothing in it needs a transport: the one that is there stays
            assert transport is not None
            return transport
        remote = RemoteParameters(
            offer.remote.ufrag, offer.remote.pwd, tuple(offer.remote.fingerprints), offer.remote.setup
        )
        if transport is not None and (
            remote.fingerprints != member.fingerprints or transport.state in DEAD_STATES
        ):
            self._close_media(member, keep=offer)
            transport = None
        if transport is None:
            transport = self.port.new_transport()
            transport.on_state = lambda state: self._transport_state(member, transport, state)
            member.transport = transport
            member.client = self.router.add_client(member.id, transport)
            transport.connect(remote)
        elif remote.ufrag != member.remote_ufrag:
            transport.restart(remote)
        member.fingerprints, member.remote_ufrag = remote.fingerprints, remote.ufrag
        client = member.client
        assert client is not None
        for section in offer.sections:
            if isinstance(section, Publishing):
                client.extension_ids.update(section.extensions)
                client.transport_cc = client.transport_cc or section.transport_cc
        for subscription in member.subscriptions.values():
            consumer = subscription.consumer
            consumer.path = transport.row
            client.consumers[consumer.header.ssrc] = consumer
        return transport

    def _transport_state(self, member: Member, transport: Transport, state: str) -> None:
        if member.transport is not transport or member.client is None:
            return
        if state == "connected":
            self.router.connected(member.client, self.clock())
        elif state in DEAD_STATES:
            self._close_media(member)
            self.publish_tracks()
        self.on_change()

    def _close_missing(self, member: Member, offer: Offer, decisions: dict[str, Decision]) -> None:
        """End what the new offer no longer has."""
        client = member.client
        assert client is not None
        now = self.clock()
        for mid in list(member.publications):
            if not isinstance(decisions.get(mid), AcceptPublish):
                self.router.unpublish(client, mid, now)
                del member.publications[mid]
        for mid, subscription in list(member.subscriptions.items()):
            if not isinstance(decisions.get(mid), (AcceptReceive, Inactive)):
                self.router.remove_consumer(client, subscription.consumer)
                del member.subscriptions[mid]

    def _publish(
        self, member: Member, section: Publishing, decision: AcceptPublish, entry: dict[str, Any]
    ) -> Publication:
        client = member.client
        assert client is not None
        current = member.publications.get(section.mid)
        if current is not None and current.codec.payload_type == decision.codec.payload_type:
            current.source = entry.get("source", current.source)
            current.producer.muted = bool(entry.get("muted", current.producer.muted))
            return current
        if current is not None:
            self.router.unpublish(client, section.mid, self.clock())
        codec = decision.codec
        producer = Producer(
            f"t{next(self._track_numbers)}",
            section.kind,
            codec.name,
            codec.clock_rate,
            codec.payload_type,
            decision.rtx,
            tuple(section.rids),
            self.router.batch,
        )
        producer.muted = bool(entry.get("muted", False))
        ssrcs = {ssrc: section.rtx_ssrcs.get(ssrc) for ssrc in section.ssrcs}
        self.router.publish(client, section.mid, producer, ssrcs)
        publication = Publication(producer, member, section.mid, entry.get("source", section.kind), codec)
        member.publications[section.mid] = publication
        return publication

    def _point_subscriptions(self, member: Member, offer: Offer) -> None:
        """Point each receiving m-line at the track it asks for, with the numbers of this negotiation."""
        now = self.clock()
        for section in offer.sections:
            subscription = member.subscriptions.get(section.mid)
            if subscription is None:
                continue
            consumer = subscription.consumer
            publication = self.track(subscription.track)
            if publication is None or not isinstance(section, Receiving):
                subscription.track = None
                self.router.point(consumer, None, consumer.header, now)
                continue
            payload_type, rtx_payload_type = payload_type_for(publication.codec, section)
            header = Header(
                payload_type or 0,
                consumer.header.ssrc,
                rtx_payload_type,
                consumer.header.rtx_ssrc,
                section.mid.encode(),
                section.extensions.get(extensions.MID),
                section.extensions.get(extensions.ABS_SEND_TIME),
            )
            consumer.supported = payload_type is not None
            self.router.point(consumer, publication.producer, header, now)

    # -- the others -------------------------------------------------------------------------------------

    def _tracks_for(self, member: Member) -> list[dict[str, Any]]:
        now = self.clock()
        return [
            publication.describe(now)
            for other in self.members.values()
            if other is not member
            for publication in other.publications.values()
        ]

    def publish_tracks(self) -> None:
        """Tell everybody what there is to receive; who knows it already hears nothing."""
        for member in self.members.values():
            member.session.tracks(self._tracks_for(member))
            self.flush(member)

    def _consumer_of(self, member: Member, track: str) -> Consumer | None:
        for subscription in member.subscriptions.values():
            if subscription.track == track:
                return subscription.consumer
        return None

    def _consumer_changed(self, consumer: Consumer) -> None:
        member = self.members.get(consumer.client_id)
        subscription = member.subscriptions.get(consumer.mid) if member is not None else None
        if member is None or subscription is None or subscription.track is None:
            return
        reason = consumer.reason.value if consumer.reason is not None else None
        rid, target = consumer.current_rid, consumer.target_rid
        member.session.consumer(subscription.track, rid, target, consumer.temporal, reason)
        self.flush(member)

    def flush(self, member: Member) -> None:
        """Send what a member's session has to say."""
        for message in member.session.take():
            self.record("out", member, member.carrier, message)
            member.carrier.send(message)

    def record(self, direction: str, member: Member | None, carrier: Carrier, message: object) -> None:
        """Note a message in the room's trace."""
        name = member.name if member is not None else None
        self.trace.record(self.clock(), direction, member.id if member else None, name, carrier.kind, message)

    # -- ends -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due: expire lost clients, refresh what the others are told."""
        for member in list(self.members.values()):
            if member.session.expired(now):
                self.remove(member)
        if now >= self._next_tracks:
            self._next_tracks = now + TRACKS_S
            self.publish_tracks()
        if now >= self._next_levels:
            self._next_levels = now + LEVELS_S
            self._send_levels(now)

    def _send_levels(self, now: float) -> None:
        levels = {
            member.id: float(round(level))
            for member in self.members.values()
            if (level := self.router.levels.level(member.id, now)) is not None
        }
        if levels:
            loudest = self.router.levels.loudest(now)
            active = str(loudest) if loudest is not None else None
            for member in self.members.values():
                member.session.levels(levels, active)
                self.flush(member)

    def _close_media(self, member: Member, keep: Offer | None = None) -> None:
        """End a member's transport and all that ran over it."""
        transport, member.transport, member.client = member.transport, None, None
        self.router.remove_client(member.id, self.clock())
        member.publications.clear()
        if keep is None:
            member.subscriptions.clear()
        if transport is not None:
            transport.on_state = lambda state: None
            transport.close()

    def remove(self, member: Member) -> None:
        """Take a member out of the room."""
        if self.members.pop(member.id, None) is None:
            return
        self._close_media(member)
        member.carrier.close()
        self.publish_tracks()
        self.on_change()

    def close(self) -> None:
        """Say good-bye to everybody."""
        self.closed = True
        for member in list(self.members.values()):
            member.session.bye("room_closed", "the room was closed")
            self.flush(member)
            self.remove(member)


class _Endpoint:
    """One carrier's way in."""

    def __init__(self, server: SignalingServer, carrier: Carrier) -> None:
        self.server = server
        self.carrier = carrier
        self.session = events.Session()
        self.member: Member | None = None

    def receive(self, message: object) -> None:
        server = self.server
        server.record("in", self.member, self.carrier, message)
        for event in self.session.receive(message, server.clock()):
            self._handle(event)
        if self.member is not None:
            server.flush(self.member)
        else:
            for reply in self.session.take():
                server.record("out", None, self.carrier, reply)
                self.carrier.send(reply)

    def _handle(self, event: events.Event) -> None:
        server = self.server
        if isinstance(event, events.Joined):
            server.joined(self, event)
        elif isinstance(event, events.Resumed):
            server.resumed(self, event)
        elif self.member is None:
            return
        elif isinstance(event, events.Offered):
            server.offered(self.member, event)
        elif isinstance(event, events.LayerPicked):
            server.layer_picked(self.member, event)
        elif isinstance(event, events.ViewChanged):
            server.view_changed(self.member, event)
        elif isinstance(event, events.MuteChanged):
            server.mute_changed(self.member, event)
        elif isinstance(event, events.PhaseReported):
            server.phase_reported(self.member, event)
        elif isinstance(event, events.StatsReported):
            server.stats_reported(self.member, event)
        elif isinstance(event, events.Left):
            member, self.member = self.member, None
            server.remove(member)

    def lost(self, reason: str) -> None:
        member = self.member
        if member is None or member.carrier is not self.carrier:
            return
        member.session.lost(self.server.clock())
        if member.session.state == "closed":
            self.server.remove(member)
        self.server.on_change()
