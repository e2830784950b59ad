"""One client's signaling as a state machine without I/O: messages in, events and messages out.

States: `new` (nothing joined), `joining` (the room has to `welcome` or refuse), `joined`, `lost` (the carrier
is gone, the place is kept for 12 s) and `closed`. To resume, a client joins over a new carrier with its
token. The room, which finds the event `Resumed` in that new session, calls `resumed` and `welcome` on the old
one and uses it from then on.

Whatever a client does wrong is answered by an `error` message and never raised. Waiting messages are bounded:
of each state (`tracks`, `levels`, each track's `consumer`) only the newest waits.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..errors import SignalingError
from .messages import VERSION, request_id, validate

LOST_FOR: Final = 12.0  # seconds that the place of a lost client is kept; as long as its transport lasts
MAX_OUTGOING: Final = 512  # messages; more only if the room stops taking them
MAX_CONSUMERS: Final = 256  # tracks whose newest `consumer` message is kept while lost
STATS_INTERVAL: Final = 0.5  # seconds; `stats` that come faster are ignored
_BEFORE_WELCOME: Final = {"new": ("join", "phase", "leave"), "joining": ("join", "phase", "ping", "leave")}


@dataclass(frozen=True, slots=True)
class Joined:
    """A client wants to join: answer with `Session.welcome(id, ...)` or `Session.error(id, ...)`."""

    name: str | None
    role: str
    agent: str
    id: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """A client comes back with the token of an earlier session."""

    token: str
    id: int


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer: answer with `Session.answer(id, ...)` or `Session.error(id, ...)`."""

    id: int
    sdp: str
    tracks: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class CandidateReported:
    """An ICE candidate that the client found after its offer."""

    mid: str | None
    candidate: str


@dataclass(frozen=True, slots=True)
class LayerPicked:
    """A layer was picked: send `consumer` when it is done, or `error` with this `id`."""

    track: str
    rid: str
    temporal: int | None
    id: int


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The size, in device pixels, at which a track is seen."""

    track: str
    width: int
    height: int
    visible: bool


@dataclass(frozen=True, slots=True)
class MuteChanged:
    """The client muted or unmuted a track of its own."""

    track: str
    muted: bool


@dataclass(frozen=True, slots=True)
class PhaseReported:
    """How far the client's connection has come, and after how many seconds."""

    phase: str
    elapsed_s: float
    detail: str | None


@dataclass(frozen=True, slots=True)
class StatsReported:
    """A summary of the client's getStats."""

    time: float
    tracks: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class PeerAddressed:
    """Something for another client: `content` is what that one is given."""

    to: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TunnelAsked:
    """Media shall go by the carrier, or no longer: answer with `Session.tunnel(id, ...)` or `error`."""

    open: bool
    reason: str
    decode: str
    id: int


@dataclass(frozen=True, slots=True)
class Left:
    """The client said good-bye, perhaps without ever having joined."""


Event: TypeAlias = (
    Joined
    | Resumed
    | Offered
    | CandidateReported
    | LayerPicked
    | ViewChanged
    | MuteChanged
    | PhaseReported
    | StatsReported
    | PeerAddressed
    | TunnelAsked
    | Left
)


class Session:
    """The room's side of one client's signaling.

    Attributes
    ----------
    token : str
        The secret with which the client resumes this session.
    state : str
        ``"new"``, ``"joining"``, ``"joined"``, ``"lost"`` or ``"closed"``.
    outgoing : collections.deque
        Messages to send, oldest first; emptied by `take`.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.state = "new"
        self.transport = "auto"  # what `welcome` tells
        self.outgoing: deque[dict[str, Any]] = deque(maxlen=MAX_OUTGOING)
        self._join: int | None = None
        self._offer: int | None = None
        self._lost_at: float | None = None
        self._stats_at: float | None = None
        self._tracks: list[dict[str, Any]] | None = None
        self._revision = 0
        self._consumers: dict[str, dict[str, Any]] = {}
        self._architecture: dict[str, Any] | None = None
        self._encodings: dict[str, dict[str, Any]] = {}

    def take(self) -> list[dict[str, Any]]:
        """Take all waiting messages, to be sent by the carrier."""
        messages = list(self.outgoing)
        self.outgoing.clear()
        return messages

    # from the client

    def receive(self, message: object, now: float) -> list[Event]:
        """Take a message from the client.

        Parameters
        ----------
        message : object
            Any JSON value, not checked yet.
        now : float
            Seconds, monotonic.

        Returns
        -------
        list of Event
            What the room has to act on; empty when the message was refused or needs no action.
        """
        if self.state in ("lost", "closed"):
            return []
        try:
            checked = validate(message)
            if self.state != "joined" and checked["type"] not in _BEFORE_WELCOME[self.state]:
                raise SignalingError("not_joined", "join the room first, and wait for its welcome")
            return self._act(checked, now)
        except SignalingError as error:
            self.error(request_id(message), error.code, str(error), keep_request=True)
            return []

    def _act(self, message: dict[str, Any], now: float) -> list[Event]:
        match message["type"]:
            case "join":
                return [self._joining(message)]
            case "offer":
                if self._offer is not None:
                    raise SignalingError("offer_pending", "the answer to the previous offer is not out yet")
                self._offer = message["id"]
                return [Offered(message["id"], message["sdp"], tuple(message["tracks"]))]
            case "candidate":
                return [CandidateReported(message["mid"], message["candidate"])]
            case "layer":
                return [LayerPicked(message["track"], message["rid"], message["temporal"], message["id"])]
            case "view":
                return [
                    ViewChanged(message["track"], message["width"], message["height"], message["visible"])
                ]
            case "mute":
                return [MuteChanged(message["track"], message["muted"])]
            case "phase":
                return [PhaseReported(message["phase"], message["elapsed_s"], message["detail"])]
            case "stats":
                if self._stats_at is not None and now - self._stats_at < STATS_INTERVAL:
                    return []
                self._stats_at = now
                return [StatsReported(message["time"], tuple(message["tracks"]))]
            case "peer":
                content = {name: message[name] for name in ("description", "candidate", "tracks")}
                return [PeerAddressed(message["to"], content)]
            case "tunnel":
                return [TunnelAsked(message["open"], message["reason"], message["decode"], message["id"])]
            case "ping":
                self._push({"type": "pong", "re": message["id"]})
                return []
            case _:  # leave
                self.state = "closed"
                return [Left()]

    def _joining(self, message: dict[str, Any]) -> Event:
        if self.state != "new":
            raise SignalingError("already_joined", "this client has joined already")
        if message["version"] != VERSION:
            raise SignalingError(
                "version",
                f"the room speaks version {VERSION}, not {message['version']}; reload the page",
            )
        self.state = "joining"
        self._join = message["id"]
        if message["session"] is not None:
            return Resumed(message["session"], message["id"])
        return Joined(message["name"], message["role"], message["agent"], message["id"])

    # to the client

    def welcome(
        self,
        re: int,
        participant: Mapping[str, Any],
        room: Mapping[str, Any],
        tracks: Sequence[Mapping[str, Any]],
        ice_servers: Sequence[Mapping[str, Any]] = (),
        resumed: bool = False,
        ice_transport_policy: str = "all",
    ) -> None:
        """Let a joining client in; what was kept while it was lost follows."""
        if self.state != "joining":
            return
        self.state = "joined"
        self._join = None
        self._tracks = [dict(track) for track in tracks]
        self._push(
            {
                "type": "welcome",
                "re": re,
                "version": VERSION,
                "session": self.token,
                "participant": dict(participant),
                "room": dict(room),
                "ice_servers": [dict(server) for server in ice_servers],
                "ice_transport_policy": ice_transport_policy,
                "resumed": resumed,
                "tracks": self._tracks,
                "transport": self.transport,
            }
        )
        if self._architecture is not None and (self._architecture["direct"] or self._architecture["mixed"]):
            self._push(self._architecture)
        self.outgoing.extend(self._encodings.values())
        self.outgoing.extend(self._consumers.values())
        self._consumers.clear()

    def answer(
        self,
        re: int,
        sdp: str,
        tracks: Sequence[Mapping[str, Any]],
        rejected: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Answer the offer `re`; nothing happens if that offer is not the one waiting any more."""
        if re != self._offer:
            return
        self._offer = None
        self._push(
            {
                "type": "answer",
                "re": re,
                "sdp": sdp,
                "tracks": [dict(track) for track in tracks],
                "rejected": [dict(section) for section in rejected],
            }
        )

    def tracks(self, tracks: Sequence[Mapping[str, Any]]) -> None:
        """Say what the client may receive; sent only when it differs from what was said last."""
        listed = [dict(track) for track in tracks]
        if listed == self._tracks or self.state not in ("joined", "lost"):
            return
        self._tracks = listed
        self._revision += 1
        if self.state == "joined":
            self._push({"type": "tracks", "revision": self._revision, "tracks": listed}, replaces="type")

    def consumer(
        self, track: str, rid: str | None, target: str | None, temporal: int | None, reason: str | None
    ) -> None:
        """Say what is forwarded of `track` now (`rid`), what is aimed at (`target`), and why they differ."""
        message = {
            "type": "consumer",
            "track": track,
            "rid": rid,
            "target": target,
            "temporal": temporal,
            "reason": reason,
        }
        if self.state == "joined":
            self._push(message, replaces="track")
        elif self.state == "lost":
            self._consumers.pop(track, None)
            self._consumers[track] = message
            if len(self._consumers) > MAX_CONSUMERS:
                del self._consumers[next(iter(self._consumers))]

    def levels(self, levels: Mapping[str, float], active: str | None) -> None:
        """Say how loud each participant is, in dBov, and who is the active speaker."""
        if self.state == "joined":
            self._push({"type": "levels", "levels": dict(levels), "active": active}, replaces="type")

    def architecture(self, name: str, direct: bool, mixed: bool, peers: Sequence[Mapping[str, Any]]) -> None:
        """Say how the room forwards; sent only when it differs from what was said last."""
        message = {
            "type": "architecture",
            "name": name,
            "direct": direct,
            "mixed": mixed,
            "peers": [dict(peer) for peer in peers],
        }
        if message != self._architecture:
            self._architecture = message
            if self.state == "joined":
                self._push(message, replaces="type")

    def encodings(
        self,
        track: str,
        rids: Sequence[str] | None,
        active: bool,
        reason: str | None,
        max_bitrate: int | None = None,
    ) -> None:
        """Say what to send of the client's own `track`."""
        message: dict[str, Any] = {
            "type": "encodings",
            "track": track,
            "active": active,
            "rids": None if rids is None else list(rids),
            "reason": reason,
        }
        if max_bitrate is not None:
            message["max_bitrate"] = max_bitrate
        self._encodings[track] = message
        if self.state == "joined":
            self._push(message, replaces="track")

    def tunnel(self, re: int, open: bool, reason: str) -> None:
        """Say that media goes by the carrier from now on, or no longer."""
        if self.state == "joined":
            self._push({"type": "tunnel", "re": re, "open": open, "reason": reason})

    def forget_encodings(self, track: str) -> None:
        """The client's `track` has ended."""
        self._encodings.pop(track, None)

    def peer(self, sender: str, content: Mapping[str, Any]) -> None:
        """Pass on what another client says."""
        if self.state == "joined":
            self._push({"type": "peer", "from": sender, **content})

    def error(self, re: int | None, code: str, message: str, *, keep_request: bool = False) -> None:
        """Refuse the request `re` (``None``: what was refused had no id).

        A refused join leaves the session `new`, a refused offer may be followed by the next one; not so with
        `keep_request`, for a message that never became a request of this session.
        """
        if not keep_request and re is not None:
            if re == self._join:
                self._join = None
                if self.state == "joining":
                    self.state = "new"
            if re == self._offer:
                self._offer = None
        if self.state not in ("lost", "closed"):
            self._push({"type": "error", "re": re, "code": code, "message": message})

    def bye(self, code: str, message: str) -> None:
        """End the session; the client should not come back by itself."""
        if self.state not in ("lost", "closed"):
            self._push({"type": "bye", "code": code, "message": message})
        self.state = "closed"

    # the carrier

    def lost(self, now: float) -> None:
        """Learn that the carrier is gone: a joined client's place is kept for 12 s, any other closes."""
        if self.state == "joined":
            self.state = "lost"
            self._lost_at = now
            for message in self.outgoing:
                if message["type"] == "consumer":
                    self._consumers[message["track"]] = message
        elif self.state != "lost":
            self.state = "closed"
        self._offer = None
        self.outgoing.clear()

    def resumed(self, now: float) -> None:
        """Learn that the client is back, over a new carrier; `welcome` comes next."""
        if self.state == "joined":  # the old carrier is gone but has not said so
            self.lost(now)
        if self.state == "lost":
            self.state = "joining"
            self._lost_at = None
            self._stats_at = None

    def expired(self, now: float) -> bool:
        """Whether the client has been lost for so long that its place is given up."""
        return self.state == "lost" and self._lost_at is not None and now - self._lost_at >= LOST_FOR

    def _push(self, message: dict[str, Any], replaces: str | None = None) -> None:
        """Queue `message`, in place of a waiting one of its type with the same `replaces` field."""
        if replaces is not None:
            for index, waiting in enumerate(self.outgoing):
                if waiting["type"] == message["type"] and waiting[replaces] == message[replaces]:
                    del self.outgoing[index]
                    break
        self.outgoing.append(message)
