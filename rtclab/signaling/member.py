"""One client of a room: its signaling session, its carrier, and what it sends and gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..forwarding.client import Client
from ..forwarding.consumer import Consumer
from ..forwarding.producer import Producer
from ..transport.secure import SecureTransport
from ..transport.tunnel import TunnelTransport
from .carrier import Carrier
from .sdp import Codec
from .session import Session
from .shares import Grant


@dataclass(frozen=True)
class Owner:
    """Whose a track is, where that is no member: the room, which mixes."""

    id: str
    name: str


@dataclass
class Publication:
    """A track that a member publishes, or the room, as clients are told of it."""

    producer: Producer
    owner: Member | Owner
    mid: str
    source: str
    codec: Codec

    @property
    def id(self) -> str:
        """The track's id, unique in the room."""
        return self.producer.id

    def describe(self, now: float) -> dict[str, Any]:
        """The `Track` of the message schema."""
        layers = [
            {
                "rid": stream.rid,
                "width": stream.width,
                "height": stream.height,
                "bitrate_bps": _coarse(stream.bitrate_bps),
                "active": stream.alive(now),
            }
            for stream in self.producer.by_size()
        ]
        return {
            "id": self.id,
            "participant": {"id": self.owner.id, "name": self.owner.name},
            "kind": self.producer.kind,
            "source": self.source,
            "muted": self.producer.muted,
            "codec": self.codec.name,
            "parameters": dict(self.codec.parameters),
            "layers": layers,
        }


@dataclass
class Subscription:
    """An m-line on which a member receives, and the track it asked for there."""

    consumer: Consumer
    mid: str
    kind: str
    track: str | None = None


@dataclass
class Member:
    """A client from its join to its end."""

    id: str
    name: str
    role: str
    agent: str
    session: Session
    carrier: Carrier
    joined_at: float
    grant: Grant | None = None
    ice_servers: list[dict[str, Any]] = field(default_factory=list)
    transport: SecureTransport | None = None
    client: Client | None = None
    tunnel: TunnelTransport | None = None
    tunnel_reason: str = ""
    fingerprints: tuple[tuple[str, str], ...] = ()
    remote_ufrag: str = ""
    publications: dict[str, Publication] = field(default_factory=dict)  # by mid
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by mid
    playable: frozenset[str] = frozenset()
    phase: str = "signaling"
    phases: dict[str, float] = field(default_factory=dict)
    client_stats: dict[str, dict[str, Any]] = field(default_factory=dict)  # by track

    @property
    def state(self) -> str:
        """``"joined"``, ``"lost"``, or what the transport says once there is one."""
        if self.session.state != "joined":
            return self.session.state
        if self.tunnel is not None:
            return self.tunnel.state
        return self.transport.state if self.transport is not None else "joined"

    @property
    def way(self) -> str:
        """How its media travels: ``"webrtc"``, or through a tunnel: ``"websocket"`` or ``"comm"``."""
        if self.tunnel is None:
            return "webrtc"
        return "comm" if self.carrier.kind == "comm" else "websocket"


def _coarse(bitrate: float) -> int:
    """A bitrate in steps of a quarter, so that a list of tracks is not news each second."""
    step = 50_000
    while step * 1.25 <= bitrate:
        step = int(step * 1.25)
    return step if bitrate >= 10_000 else 0
