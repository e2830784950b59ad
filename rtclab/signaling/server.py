"""The room's side of signaling: carriers come in, sessions run, offers become transports, producers and
consumers.

Everything runs on the engine's thread and nothing blocks. For each client there is a `Member`; what its
session makes of a message is an event, and each event has one handler here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import IceServerError, SignalingError
from ..forwarding.architecture import Architecture
from ..forwarding.consumer import Consumer
from ..forwarding.router import Router
from ..transport.full import FullIce
from ..transport.port import UdpPort
from ..transport.secure import SecureTransport
from . import session as events
from .carrier import Carrier
from .full_ice import FullIceDesk
from .guests import Guests
from .ice_config import IceConfig
from .member import Member, Publication
from .offers import OfferDesk
from .shares import Grant, Shares
from .switching import Switching
from .trace import SignalingTrace
from .tunnels import TunnelDesk

logger = logging.getLogger(__name__)

TRACKS_S = 1.0
LEVELS_S = 0.5
LEVEL_STEP_DB = 3
SILENT = ("http",)  # carriers that cannot tell that a client is gone: it lives as long as its transport


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
    ice : IceConfig, optional
        The STUN and TURN servers that clients are told to use; none by default.
    """

    def __init__(
        self,
        room: dict[str, Any],
        port: UdpPort,
        router: Router,
        clock: Callable[[], float],
        video_codecs: Sequence[str],
        ice: IceConfig | None = None,
    ) -> None:
        self.room = room
        self.port = port
        self.router = router
        self.clock = clock
        self.ice = ice or IceConfig()
        self.members: dict[str, Member] = {}
        self.trace = SignalingTrace()
        self.closed = False
        self.on_change: Callable[[], None] = lambda: None
        self._opened = clock()
        self._described: list[dict[str, Any]] = []
        self._told_levels: tuple[dict[str, float], str | None] = {}, None
        self._numbers = itertools.count(1)
        self._guests = itertools.count(1)
        self._full = FullIceDesk(self, FullIce(port)) if self.ice.full else None
        self._desk = OfferDesk(self, video_codecs, self._full)
        self._switching = Switching(self)
        self.tunnels = TunnelDesk(self)
        self.guests = Guests(self, Shares(room["id"]))
        self._next_tracks = self._next_levels = 0.0
        self._asking: set[asyncio.Task[None]] = set()
        router.on_consumer_changed = self._consumer_changed

    def connect(self, carrier: Carrier, grant: Grant | None = None) -> _Endpoint:
        """Take in a new client, by a share if there is a grant; `Connect` of the carrier protocol."""
        endpoint = _Endpoint(self, carrier, grant)
        if grant is not None:
            self.guests.welcome(endpoint)
        return endpoint

    def track(self, track_id: str | None) -> Publication | None:
        """A published track by its id."""
        for member in self.members.values():
            for publication in member.publications.values():
                if publication.id == track_id:
                    return publication
        return self._switching.output(track_id)

    # -- events -----------------------------------------------------------------------------------------

    def joined(self, endpoint: _Endpoint, event: events.Joined) -> None:
        """Give a client its place."""
        if self.closed:
            endpoint.session.error(
                event.id, "room_closed", "the room is closed; run the cell that opens it again"
            )
            return
        if endpoint.grant is not None:
            self.guests.check_join(endpoint.grant, event.role)
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
            endpoint.grant,
        )
        endpoint.member = member
        self.members[member.id] = member
        self._told_levels = {}, None  # the newcomer has not heard them
        self._let_in(endpoint, member, event.id, resumed=False)
        self.on_change()

    def resumed(self, endpoint: _Endpoint, event: events.Resumed) -> None:
        """Give a client that lost its carrier its place back."""
        for member in self.members.values():
            known = member.session.token == event.token and member.grant == endpoint.grant
            if known and not self.closed:
                old = member.carrier
                member.session.resumed(self.clock())
                endpoint.session, endpoint.member = member.session, member
                member.carrier = endpoint.carrier
                if old is not endpoint.carrier:
                    old.close()
                self._let_in(endpoint, member, event.id, resumed=True)
                return
        endpoint.session.error(
            event.id, "unknown_session", "the room does not know this session any more; join anew"
        )

    def _let_in(self, endpoint: _Endpoint, member: Member, re: int, resumed: bool) -> None:
        """Welcome a client, once the ICE servers are known that it is to be told of."""
        if self.ice.fixed is not None:
            self._welcome(member, re, resumed, self.ice.fixed)
            return
        task = asyncio.ensure_future(self._ask_and_let_in(endpoint, member, re, resumed))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_and_let_in(self, endpoint: _Endpoint, member: Member, re: int, resumed: bool) -> None:
        try:
            servers = await self.ice.ask()
        except IceServerError as error:
            logger.warning("%s", error)
            if not resumed:
                member.session.error(re, "ice_servers", str(error))
                self.flush(member)
                if self.members.pop(member.id, None) is not None and endpoint.member is member:
                    endpoint.member = None  # it may try again
                self.on_change()
                return
            servers = member.ice_servers  # better than to lose who was here already
        if member.id in self.members:
            self._welcome(member, re, resumed, servers)
            self.flush(member)

    def _welcome(self, member: Member, re: int, resumed: bool, ice_servers: list[dict[str, Any]]) -> None:
        member.ice_servers = ice_servers
        participant = {"id": member.id, "name": member.name}
        tracks = self._switching.listed(member, self._describe_tracks())
        self._switching.tell_architecture(member)
        member.session.transport = self.tunnels.policy
        member.session.welcome(re, participant, self.room, tracks, ice_servers, resumed, self.ice.policy)

    def offered(self, member: Member, event: events.Offered) -> None:
        """Answer an offer, or say why not."""
        self._desk.answer(member, event)
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
        consumer.selector.picked_temporal = event.temporal
        self.router.decide(consumer, self.clock())
        self._consumer_changed(consumer)

    def view_changed(self, member: Member, event: events.ViewChanged) -> None:
        """Note how large a viewer sees a track."""
        consumer = self._consumer_of(member, event.track)
        if consumer is not None:
            consumer.selector.view_height = event.height or None
            consumer.selector.visible = event.visible
            self.router.decide(consumer, self.clock())

    def peer_addressed(self, member: Member, event: events.PeerAddressed) -> None:
        """Pass on what one client says to another."""
        self.guests.check_peer(member, event)
        self._switching.pass_on(member, event)

    def take_up(self, architecture: Architecture) -> None:
        """Forward by another architecture from now on, and tell everybody."""
        self._switching.take_up(architecture)

    def listing_changed(self) -> None:
        """What the architecture lists has changed."""
        self._switching.news = True
        self.publish_tracks()

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

    # -- the others -------------------------------------------------------------------------------------

    def _describe_tracks(self) -> list[dict[str, Any]]:
        now = self.clock()
        return [
            publication.describe(now)
            for member in self.members.values()
            for publication in member.publications.values()
        ]

    def publish_tracks(self) -> None:
        """Tell everybody what there is to receive, if that has changed since the last time."""
        described = self._describe_tracks()
        self._switching.tell_peers()
        if described == self._described and not self._switching.news:
            return
        self._described = described
        self._switching.news = False
        for member in self.members.values():
            member.session.tracks(self._switching.listed(member, described))
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
        self.trace.record(
            self.clock() - self._opened, direction, member.id if member else None, name, carrier.kind, message
        )

    # -- ends -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due: expire lost clients, refresh what the others are told."""
        self.tunnels.tick(now)
        if now >= self._next_tracks:
            self._next_tracks = now + TRACKS_S
            for member in list(self.members.values()):
                if member.session.expired(now):
                    self.remove(member)
            self.publish_tracks()
        if now >= self._next_levels:
            self._next_levels = now + LEVELS_S
            self._send_levels(now)

    def _send_levels(self, now: float) -> None:
        levels = {
            member.id: float(LEVEL_STEP_DB * round(level / LEVEL_STEP_DB))
            for member in self.members.values()
            if (level := self.router.levels.level(member.id, now)) is not None
        }
        loudest = self.router.levels.loudest(now)
        active = str(loudest) if loudest is not None else None
        if (levels, active) != self._told_levels:
            self._told_levels = levels, active
            for member in self.members.values():
                member.session.levels(levels, active)
                self.flush(member)

    def transport_state(self, member: Member, transport: SecureTransport, state: str) -> None:
        """Follow a transport: start what waits for it, end what ran over it."""
        if member.transport is not transport or member.client is None:
            return
        if member.tunnel is not None:  # then nothing hangs on it
            self.on_change()
            return
        if state == "connected":
            self.router.connected(member.client, self.clock())
        elif state in ("failed", "closed") and member.carrier.kind in SILENT:
            self.remove(member)
        elif state == "failed":  # silent for too long; an ICE restart may still bring it back
            self._stop_media(member)
            self.publish_tracks()
        elif state == "closed":
            self.close_media(member)
            self.publish_tracks()
        self.on_change()

    def _stop_media(self, member: Member) -> None:
        """End what a member publishes and what it is sent; its transport and its m-lines stay."""
        self.router.remove_client(member.id, self.clock())
        self.router.levels.forget(member.id)
        member.client = None
        for publication in member.publications.values():
            member.session.forget_encodings(publication.id)
        member.publications.clear()

    def close_media(self, member: Member) -> None:
        """End a member's transport and all that ran over it."""
        self._stop_media(member)
        self.tunnels.end(member)
        member.subscriptions.clear()
        transport, member.transport = member.transport, None
        if transport is not None:
            transport.on_state = lambda state: None
            transport.close()

    def remove(self, member: Member) -> None:
        """Take a member out of the room."""
        if self.members.pop(member.id, None) is None:
            return
        if self._full is not None:
            self._full.forget(member)
        self.close_media(member)
        member.carrier.close()
        self.publish_tracks()
        self.on_change()

    async def ended(self) -> None:
        """Wait, not for long, until what `close` has ended is given back."""
        if self._full is not None:
            await self._full.full.finished()

    def close(self) -> None:
        """Say good-bye to everybody."""
        self.closed = True
        for task in list(self._asking):
            task.cancel()
        for member in list(self.members.values()):
            member.session.bye(
                "room_closed", "The room was closed. Run the cell that opens it, and this one, again."
            )
            self.flush(member)
            self.remove(member)
        self.tunnels.close()


class _Endpoint:
    """One carrier's way in."""

    def __init__(self, server: SignalingServer, carrier: Carrier, grant: Grant | None) -> None:
        self.server = server
        self.carrier = carrier
        self.grant = grant
        self.session = events.Session()
        self.member: Member | None = None

    def receive(self, message: object) -> None:
        server = self.server
        server.record("in", self.member, self.carrier, message)
        for event in self.session.receive(message, server.clock()):
            try:
                self._handle(event)
            except SignalingError as refused:
                self.session.error(getattr(event, "id", None), refused.code, str(refused))
            except Exception:  # a mistake of the room's must not cost this client its session
                logger.exception("a %s could not be handled", type(event).__name__)
                re = getattr(event, "id", None)
                self.session.error(re, "internal", "the room failed to handle this; its log says why")
        self._flush()

    def _flush(self) -> None:
        if self.member is not None:
            self.server.flush(self.member)
            return
        for reply in self.session.take():
            self.server.record("out", None, self.carrier, reply)
            self.carrier.send(reply)

    def dismiss(self, code: str, sentence: str) -> None:
        """End the visit of somebody who has not joined."""
        self.session.bye(code, sentence)
        self._flush()
        self.carrier.close()

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
        elif isinstance(event, events.CandidateReported):
            if server._full is not None:
                server._full.add_candidate(self.member, event.candidate)
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
        elif isinstance(event, events.PeerAddressed):
            server.peer_addressed(self.member, event)
        elif isinstance(event, events.TunnelAsked):
            server.tunnels.asked(self.member, event)
        elif isinstance(event, events.Left):
            member, self.member = self.member, None
            server.remove(member)

    def receive_media(self, data: bytes) -> None:
        """Take media."""
        if self.member is not None and self.member.carrier is self.carrier:
            self.server.tunnels.receive(self.member, data)

    def lost(self, reason: str) -> None:
        member = self.member
        if member is None or member.carrier is not self.carrier:
            return
        member.session.lost(self.server.clock())
        self.server.tunnels.lost(member)
        if member.session.state == "closed":
            self.server.remove(member)
        self.server.on_change()
