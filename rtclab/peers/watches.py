"""Everything that one headless peer watches, and where each of it arrives now.

A watch means a participant's picture or sound, not one stream of packets. Whenever the room's list of tracks
or its architecture changes, each watch is pointed at the track that serves it (`rtclab.peers.following`), and
bound to the place where that track's frames appear: an m-line of the connection with the room, or one of
another client's connection. Watches that one mix serves share its m-line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .following import Description, Situation, is_mix
from .lines import Lines
from .mesh import Mesh
from .sinks import RemoteTrack


@dataclass
class _Watch:
    name: str
    kind: str
    source: str | None
    target: str  # the track that serves it now
    own: str | None = None  # the participant's own one, once it is known


class Watches:
    """What is watched.

    Parameters
    ----------
    room : Situation
        What the room has said last.
    lines : Lines
        The m-lines of the connection with the room.
    mesh : Mesh
        The connections with others.
    """

    def __init__(self, room: Situation, lines: Lines, mesh: Mesh) -> None:
        self._room, self._lines, self._mesh = room, lines, mesh
        self._watches: dict[RemoteTrack, _Watch] = {}

    def add(
        self, found: Description, name: str, kind: str, source: str | None, make: Callable[..., RemoteTrack]
    ) -> RemoteTrack:
        """Watch what `found` serves; `make` makes the remote track of a description."""
        watch = _Watch(name, kind, source, found["id"])
        if is_mix(found) and name != found["participant"]["name"]:  # who is in the mix is not said
            found = {**found, "source": source, "participant": {"id": None, "name": name}}
        else:
            watch.own = found["id"]
        remote = make(found)
        self._watches[remote] = watch
        return remote

    def drop(self, remote: RemoteTrack, reason: str) -> None:
        """Watch it no more."""
        self._watches.pop(remote, None)
        remote._finish(reason)

    def drop_all(self, reason: str) -> None:
        """Watch nothing more."""
        for remote in list(self._watches):
            self.drop(remote, reason)

    def drop_served_by(self, track: str, reason: str) -> None:
        """Watch no more what `track` serves."""
        for remote in [remote for remote, watch in self._watches.items() if watch.target == track]:
            self.drop(remote, reason)

    def follow(self) -> None:
        """Point each watch at the track that serves it by the room's new list; what ended there ends."""
        for remote, watch in list(self._watches.items()):
            served = self._room.serving(watch.own, watch.name, watch.kind, watch.source)
            if served is None and self._room.complete:
                self.drop(remote, "it is not published any more")
            elif served is not None and served["id"] != watch.target:
                watch.target = served["id"]
                if not is_mix(served):
                    watch.own = remote.id = served["id"]
                    remote.source, remote.participant = served["source"], served["participant"]["name"]
        self.release_unneeded()
        self.bind()

    def bind(self) -> None:
        """Let each watch be heard where its track arrives."""
        for remote, watch in self._watches.items():
            direct = self._mesh.inlet(watch.target) if self._room.direct else None
            line = self._lines.receiving_track(watch.target)
            if direct is not None:
                remote._bind(direct, "direct")
            elif line is not None and watch.target in self._room.tracks:
                remote._bind(line.inlet, "mix" if is_mix(self._room.tracks[watch.target]) else "room")

    def missing(self) -> dict[str, str]:
        """The tracks that need an m-line and have none, with their kinds."""
        return {
            watch.target: watch.kind
            for watch in self._watches.values()
            if watch.target in self._room.tracks and self._lines.receiving_track(watch.target) is None
        }

    def release_unneeded(self) -> bool:
        """Free the m-lines of tracks that serve nobody; the next offer says so. Returns whether any was."""
        needed = {watch.target for watch in self._watches.values()}
        freed = [
            line
            for line in self._lines.receiving
            if line.track is not None and not (line.track in needed and line.track in self._room.tracks)
        ]
        for line in freed:
            line.release()
        return bool(freed)

    def explain(self, reason: str, now: float, track: str | None = None) -> None:
        """Note why there will be no frames of `track`, or of anything."""
        for remote, watch in self._watches.items():
            if track in (None, watch.target):
                remote._explain(reason, now)
