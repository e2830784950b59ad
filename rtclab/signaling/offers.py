"""How an offer becomes transports, producers and consumers.

The room answers in full (no trickle), at once with ICE-lite and after gathering with full ICE. An offer with
another DTLS fingerprint comes from a new peer connection and gets a new transport; the same fingerprint with
other ICE credentials is an ICE restart (RFC 8445 section 9). A receiving m-line keeps its SSRC for as long as
it lives: pointed at another track, it goes on with the next sequence numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import NegotiationError
from ..forwarding.columns import Header
from ..forwarding.consumer import Consumer
from ..forwarding.producer import Producer
from ..rtp import extensions
from ..transport.secure import RemoteParameters, SecureTransport
from . import session as events
from .full_ice import FullIceDesk
from .guests import VIEW_ONLY, view_only
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
from .sdp import Codec
from .tunnels import carries

if TYPE_CHECKING:
    from .server import SignalingServer


class OfferDesk:
    """Answers the offers of a room's clients.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.
    video_codecs : sequence of str
        Codec names in the order of preference.
    full : FullIceDesk, optional
        What gathers candidates, if the room uses full ICE.
    """

    def __init__(
        self, server: SignalingServer, video_codecs: Sequence[str], full: FullIceDesk | None = None
    ) -> None:
        self.full = full
        self.server = server
        self.router = server.router
        self.port = server.port
        self.video_codecs = tuple(video_codecs)
        self._track_numbers = itertools.count(1)

    def answer(self, member: Member, event: events.Offered) -> None:
        """Answer an offer, or say why not."""
        try:
            offer = read_offer(event.sdp, event.tracks)
            if offer.remote is None and member.transport is None:
                raise self._nothing_usable(offer)
            if view_only(member) and any(isinstance(section, Publishing) for section in offer.sections):
                raise NegotiationError("not_allowed", VIEW_ONLY)
        except NegotiationError as error:
            member.session.error(event.id, error.code, str(error))
            return
        anew = offer.remote is not None and (
            member.transport is None
            or offer.remote.fingerprints != member.fingerprints
            or member.transport.state == "closed"
        )
        if self.full is not None and not self.full.ready(member, event, offer.remote, anew):
            return
        if anew and member.transport is not None:
            self._give_up_transport(member)
        wanted = {track["mid"]: track for track in event.tracks}
        decisions, rejected = self._decide(member, offer, wanted)
        transport = self._transport_for(member, offer)
        self._close_missing(member, offer, decisions)
        tracks: list[dict[str, Any]] = []
        for section in offer.sections:
            decision = decisions[section.mid]
            entry = wanted.get(section.mid, {})
            if isinstance(section, Publishing) and isinstance(decision, AcceptPublish):
                publication = self._publish(member, section, decision, entry)
                tracks.append({"mid": section.mid, "track": publication.id, "codec": publication.codec.name})
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
            transport.ufrag,
            transport.pwd,
            transport.fingerprint,
            transport.setup,
            transport.candidates(),
            transport.lite,
        )
        member.session.answer(event.id, build_answer(offer, decisions, local), tracks, rejected)
        self._point_subscriptions(member, offer)
        for publication in list(member.publications.values()):
            self.router.review(publication.producer, self.server.clock())

    def _nothing_usable(self, offer: Offer) -> NegotiationError:
        for section in offer.sections:
            if isinstance(section, Unusable) and section.code not in ("inactive", "stopped"):
                return NegotiationError(section.code, f"the offer is refused: {section.message}")
        return NegotiationError(
            "bad_sdp", "the offer is refused: it has no audio or video to send or to receive"
        )

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

    def _codec(self, member: Member, section: Publishing) -> Codec:
        current = member.publications.get(section.mid)
        if current is not None:  # what viewers get already stays, if the client still offers it
            for codec in section.codecs:
                if codec.payload_type == current.codec.payload_type and codec.name == current.codec.name:
                    return codec
        others = [
            set(other.playable)
            for other in self.server.members.values()
            if other is not member and other.playable
        ]
        tunneled = member.tunnel is not None or self.server.tunnels.policy == "websocket"
        preferred = self._preferred(tunneled) if section.kind == "video" else ("opus",)
        return choose_codec(section, preferred, others)

    def _preferred(self, tunneled: bool) -> list[str]:
        """The room's codecs, first those that its architecture can work with."""
        architecture = self.router.architecture
        first = architecture.prefers if architecture is not None else ()
        codecs = [codec for codec in self.video_codecs if carries(codec)] if tunneled else self.video_codecs
        return sorted(codecs, key=lambda codec: bool(first) and codec not in first)

    def _accept_receiving(self, member: Member, section: Receiving, track: str | None) -> Decision:
        subscription = member.subscriptions.get(section.mid)
        publication = self.server.track(track)
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
            f"rtclab-{publication.owner.id}",
            publication.id,
            publication.owner.id,
        )

    def _transport_for(self, member: Member, offer: Offer) -> SecureTransport:
        """The member's transport: new for a new peer connection, restarted for new ICE credentials."""
        transport = member.transport
        if offer.remote is not None:
            remote = RemoteParameters(
                offer.remote.ufrag, offer.remote.pwd, offer.remote.fingerprints, offer.remote.setup
            )
            if transport is None:
                transport = self._open_transport(member)
                transport.connect(remote)
            elif remote.ufrag != member.remote_ufrag:
                transport.restart(remote)
            member.fingerprints, member.remote_ufrag = remote.fingerprints, remote.ufrag
        assert transport is not None  # `answer` has refused an offer that has none and needs one
        client = member.client
        if client is None:
            way = member.tunnel or transport
            client = member.client = self.router.add_client(member.id, way, self.server.clock())
            self.server.tunnels.use(member)
        if member.tunnel is not None:
            client.stand_by(transport)
        for section in offer.sections:
            if isinstance(section, Publishing):
                client.extension_ids.update(section.extensions)
                client.transport_cc = client.transport_cc or section.transport_cc
        for subscription in member.subscriptions.values():
            self.router.add_consumer(client, subscription.consumer)
        return transport

    def _open_transport(self, member: Member) -> SecureTransport:
        full = self.full
        transport = full.take(member) if full is not None else self.port.new_transport()
        transport.on_state = lambda state: self.server.transport_state(member, transport, state)
        member.transport = transport
        return transport

    def _give_up_transport(self, member: Member) -> None:
        """The client has a new peer connection: all its media ends, unless it goes through a tunnel."""
        if member.tunnel is None:
            self.server.close_media(member)
            return
        transport, member.transport = member.transport, None
        if transport is not None:
            transport.close()

    def _close_missing(self, member: Member, offer: Offer, decisions: dict[str, Decision]) -> None:
        """End what the new offer no longer has."""
        client = member.client
        assert client is not None
        now = self.server.clock()
        for mid in list(member.publications):
            if not isinstance(decisions.get(mid), AcceptPublish):
                self.router.unpublish(client, mid, now)
                member.session.forget_encodings(member.publications.pop(mid).id)
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
            self.router.unpublish(client, section.mid, self.server.clock())
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
        producer.source = entry.get("source", section.kind)
        producer.muted = bool(entry.get("muted", False))
        ssrcs = {ssrc: section.rtx_ssrcs.get(ssrc) for ssrc in section.ssrcs}
        self.router.publish(client, section.mid, producer, ssrcs, self.server.clock())
        publication = Publication(producer, member, section.mid, entry.get("source", section.kind), codec)
        member.publications[section.mid] = publication
        return publication

    def _point_subscriptions(self, member: Member, offer: Offer) -> None:
        """Point each receiving m-line at the track it asks for, with the numbers of this negotiation."""
        now = self.server.clock()
        for section in offer.sections:
            subscription = member.subscriptions.get(section.mid)
            if subscription is None:
                continue
            consumer = subscription.consumer
            publication = self.server.track(subscription.track)
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
            codec = publication.codec.name
            consumer.supported = self.server.tunnels.supports(member, codec, payload_type)
            self.router.point(consumer, publication.producer, header, now)
