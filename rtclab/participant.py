"""Who is in the room and what they publish, as a snapshot a notebook can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .forwarding.router import Router
    from .signaling.member import Member, Publication


@dataclass(frozen=True)
class Layer:
    """One encoding of a track.

    Attributes
    ----------
    rid : str or None
        RTP stream id (RFC 8851); None without simulcast.
    width, height : int or None
        Picture size in pixels, known from the first keyframe on.
    fps : float
        Frames per second that arrive.
    bitrate_bps : float
        Payload bits per second that arrive.
    active : bool
        Whether packets came lately.
    """

    rid: str | None
    width: int | None
    height: int | None
    fps: float
    bitrate_bps: float
    active: bool

    def __repr__(self) -> str:
        size = f"{self.width}x{self.height}" if self.width else "size unknown"
        state = f"{self.fps:.0f} fps, {self.bitrate_bps / 1000:.0f} kbit/s" if self.active else "not sent"
        return f"<Layer {self.rid or 'only'} {size} {state}>"


@dataclass(frozen=True)
class Track:
    """A published track at the moment it was asked for.

    Attributes
    ----------
    id : str
        Unique in the room.
    participant : str
        Name of its publisher.
    kind : str
        ``"audio"`` or ``"video"``.
    source : str
        What it shows: ``"camera"``, ``"microphone"``, ``"screen"``, ``"pattern"``, ...
    codec : str
        For instance ``"VP8"``.
    muted : bool
        Whether its publisher has muted it.
    layers : tuple of Layer
        From the smallest to the largest.
    viewers : int
        How many receive it.
    sending : tuple
        Rids of the layers that its publisher shall send; None stands for the only one of a track without
        simulcast.
    reason : str or None
        Why that is not everything: ``"direct"``, ``"not_watched"``, ``"layer_not_needed"``, ``"mixed"``.
    """

    id: str
    participant: str
    kind: str
    source: str
    codec: str
    muted: bool
    layers: tuple[Layer, ...]
    viewers: int
    sending: tuple[str | None, ...]
    reason: str | None

    def __repr__(self) -> str:
        muted = ", muted" if self.muted else ""
        layers = f", {len(self.layers)} layers" if len(self.layers) > 1 else ""
        name = f"{self.participant}/{self.source}"
        return f"<Track {self.id} {name} {self.codec}{layers}{muted}, {self.viewers} viewers>"


@dataclass(frozen=True)
class Participant:
    """Somebody in the room at the moment it was asked for.

    Attributes
    ----------
    id, name : str
        Unique in the room.
    role : str
        ``"participant"`` or ``"viewer"``.
    state : str
        ``"joined"`` (signaling only), ``"checking"``, ``"connecting"``, ``"connected"``,
        ``"disconnected"``, ``"lost"``.
    carrier : str
        How its signaling travels: ``"comm"``, ``"in-process"``, ``"websocket"``, ``"http"``.
    address : tuple of (str, int) or None
        Where its packets come from.
    srtp_profile : str or None
        For instance ``"SRTP_AEAD_AES_128_GCM"``.
    audio_level_dbov : float or None
        Smoothed level of its sound (RFC 6464), -127..0.
    tracks : tuple of Track
        What it publishes.
    transport : str
        How its media travels: ``"webrtc"``, or where that does not pass ``"websocket"`` or ``"comm"``.
    transport_reason : str
        Why, as its page says; empty if it never was otherwise.
    """

    id: str
    name: str
    role: str
    state: str
    carrier: str
    address: tuple[str, int] | None
    srtp_profile: str | None
    audio_level_dbov: float | None
    tracks: tuple[Track, ...]
    transport: str = "webrtc"
    transport_reason: str = ""

    def __repr__(self) -> str:
        published = ", ".join(f"{track.source} ({track.codec})" for track in self.tracks)
        publishes = f", publishes {published}" if published else ""
        way = f", media by {self.transport}" if self.transport != "webrtc" else ""
        return f"<Participant {self.name!r} {self.state} by {self.carrier}{way}{publishes}>"


def participant_of(member: Member, router: Router, now: float) -> Participant:
    """A member of a room as it is now; on the engine's thread."""
    transport = member.transport if member.tunnel is None else None
    return Participant(
        member.id,
        member.name,
        member.role,
        member.state,
        member.carrier.kind,
        transport.selected if transport is not None else None,
        transport.srtp_profile if transport is not None else None,
        router.levels.level(member.id, now),
        tuple(_track_of(member, publication, now) for publication in member.publications.values()),
        member.way,
        member.tunnel_reason,
    )


def _track_of(member: Member, publication: Publication, now: float) -> Track:
    producer = publication.producer
    told = producer.upstream
    layers = tuple(
        Layer(stream.rid, stream.width, stream.height, stream.fps, stream.bitrate_bps, stream.alive(now))
        for stream in producer.by_size()
    )
    return Track(
        publication.id,
        member.name,
        producer.kind,
        publication.source,
        publication.codec.name,
        producer.muted,
        layers,
        len(producer.fanout),
        tuple(stream.rid for stream in producer.by_size() if stream.index in told.streams),
        told.reason.value if told.reason is not None else None,
    )
