"""Media over the signaling carrier: which clients use a tunnel, and how theirs moves there and back.

A tunnel is another path of the same session: m-lines, tracks, SSRCs and everything decided about them stay,
only bytes go another way. While a client's tunnel is open its UDP transport feeds nothing, and its end does
no harm. A tunnel belongs to the carrier over which it was opened: after that was lost and the session
resumed, the client opens it again.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from ..forwarding.consumer import Consumer
from ..forwarding.layers import SHORT_S
from ..forwarding.lines import ClientLines
from ..forwarding.stills import Screen, Stills
from ..mixing.inputs import mixable
from ..rtp.frames import CODECS
from ..transport.tunnel import TunnelTransport
from . import session as events
from .carrier import MediaCarrier
from .member import Member

if TYPE_CHECKING:
    from .server import SignalingServer

PATIENCE_S: Final = 0.9  # with an estimate that is made from acknowledgements: it is no guess
ONLY_IMAGES: Final = "pictures only, without sound: this page has no WebCodecs"
POLICIES: Final = ("auto", "webrtc", "websocket")


def carries(codec: str) -> bool:
    """Whether frames of a codec can go through a tunnel."""
    return codec.upper() in CODECS


class TunnelDesk:
    """Opens and closes the tunnels of a room's clients.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.
    seed : int, optional
        Seed of SSRCs and first numbers.

    Attributes
    ----------
    policy : str
        What the room allows: ``"auto"`` both, ``"webrtc"`` only that; with ``"websocket"`` clients shall not
        try WebRTC at all.
    """

    def __init__(self, server: SignalingServer, seed: int | None = None) -> None:
        self.server = server
        self.policy = "auto"
        self._generator = random.Random(seed)
        self._stills: Stills | None = None

    def asked(self, member: Member, event: events.TunnelAsked) -> None:
        """Open or close a member's tunnel, or say why not."""
        if not event.open:
            self._close(member, event.reason)
        else:
            refused = self._refusal(member)
            if refused is not None:
                member.session.error(event.id, *refused)
                return
            self._open(member, event.reason, event.decode == "images")
        images = member.tunnel is not None and member.tunnel.images
        member.session.tunnel(event.id, event.open, ONLY_IMAGES if images else event.reason)
        self.server.on_change()

    def _refusal(self, member: Member) -> tuple[str, str] | None:
        """Code and sentence of why a member may have no tunnel; None if it may."""
        if self.policy == "webrtc":
            return "not_allowed", 'this room sends media by WebRTC only: it was made with transport="webrtc"'
        if not isinstance(member.carrier, MediaCarrier):
            return "not_allowed", f"no media can be sent by {member.carrier.kind}"
        for publication in member.publications.values():
            if not carries(publication.codec.name):
                return (
                    "no_codec",
                    f"{publication.codec.name} cannot be sent without WebRTC, only VP8, H264 and Opus; "
                    'make the room with video_codecs=["VP8", "H264"]',
                )
        return None

    def _open(self, member: Member, reason: str, images: bool) -> None:
        server, carrier = self.server, member.carrier
        assert isinstance(carrier, MediaCarrier)
        member.tunnel_reason = reason
        if member.tunnel is not None:
            member.tunnel.reopen(carrier)
            member.tunnel.images = images
            self._support(member)
        else:
            lines = ClientLines(member.client)
            member.tunnel = TunnelTransport(
                server.port.paths, carrier, lines, server.clock, self._generator, server.port.drained, images
            )
            if member.client is not None:
                self._support(member)
                member.client.patience_s = PATIENCE_S
                server.router.move(member.client, member.tunnel, server.clock())

    def _close(self, member: Member, reason: str) -> None:
        tunnel, member.tunnel = member.tunnel, None
        if tunnel is None:
            return
        member.tunnel_reason = reason
        transport = member.transport
        if member.client is not None and transport is not None:
            self._support(member)
            member.client.patience_s = SHORT_S
            self.server.router.move(member.client, transport, self.server.clock())
            if transport.state in ("failed", "closed"):
                self.server.transport_state(member, transport, transport.state)
        tunnel.close()

    def end(self, member: Member) -> None:
        """Close a member's tunnel together with all of its media."""
        tunnel, member.tunnel = member.tunnel, None
        if tunnel is not None:
            tunnel.close()

    def use(self, member: Member) -> None:
        """Let the tunnel of a member know its client, which came later."""
        if member.tunnel is not None and member.client is not None:
            member.client.patience_s = PATIENCE_S
            member.tunnel.lines = ClientLines(member.client)

    def supports(self, member: Member, codec: str, payload_type: int | None) -> bool:
        """Whether a member can receive a codec, negotiated as `payload_type`, on the way it uses."""
        if member.tunnel is None:
            return bool(payload_type)
        return bool(payload_type) and (mixable("video", codec) if member.tunnel.images else carries(codec))

    def _support(self, member: Member) -> None:
        for subscription in member.subscriptions.values():
            consumer = subscription.consumer
            if consumer.producer is not None:
                codec, payload_type = consumer.producer.codec, consumer.header.payload_type
                consumer.supported = self.supports(member, codec, payload_type)

    def receive(self, member: Member, data: bytes) -> None:
        """Take a binary message of a member's carrier; without a tunnel it leads nowhere."""
        if member.tunnel is not None:
            member.tunnel.receive(data)

    def lost(self, member: Member) -> None:
        """A member's carrier is gone."""
        if member.tunnel is not None:
            member.tunnel.lost()

    def tick(self, now: float) -> None:
        """Do what is due."""
        viewers: dict[Consumer, Screen] = {}
        for member in list(self.server.members.values()) if self.server.port.paths.tunnels else ():
            if member.tunnel is not None:
                member.tunnel.tick(now)
                if member.tunnel.images:
                    viewers |= {one.consumer: member.tunnel for one in member.subscriptions.values()}
        if viewers or self._stills is not None:
            if self._stills is None:
                call_soon = asyncio.get_running_loop().call_soon_threadsafe
                self._stills = Stills(self.server.router, self.server.clock, call_soon)
            self._stills.follow(viewers)

    def close(self) -> None:
        """End what was done for pages that show only images."""
        if self._stills is not None:
            self._stills.close()
            self._stills = None
