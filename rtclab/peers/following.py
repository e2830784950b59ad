"""Which track serves somebody who watches "the picture of alice", whatever the room's architecture?

In a mesh, a relay and an SFU it is what alice publishes herself; in an MCU it is the mix of everyone, since
her own tracks are not listed there. Nothing here does anything: it reads the room's list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Description = dict[str, Any]

MIXER = "room"  # the participant id of tracks that the room makes


@dataclass
class Situation:
    """What the room has said last.

    Attributes
    ----------
    architecture : str
        Its name.
    direct, mixed : bool
        Whether clients connect to each other; whether they get mixes in place of each other's tracks.
    tracks : dict of str to dict
        What this client may receive, by id.
    """

    architecture: str = ""
    direct: bool = False
    mixed: bool = False
    tracks: dict[str, Description] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether a participant's track that is not listed is not published either."""
        return not self.mixed and not any(is_mix(track) for track in self.tracks.values())

    def own(self, name: str, kind: str, source: str | None) -> Description | None:
        """The first track of the participant called `name`, of that kind and source (None: any)."""
        for track in self.tracks.values():
            if (track["participant"]["name"], track["kind"]) == (name, kind) and source in (
                None,
                track["source"],
            ):
                return track
        return None

    def mix(self, name: str, kind: str) -> Description | None:
        """The mix that has a participant's track of that kind in it, as far as is known."""
        for track in self.tracks.values():
            if is_mix(track) and track["kind"] == kind and name in track.get("of", [name]):
                return track
        return None

    @property
    def publishing(self) -> list[str]:
        """Names of those who publish anything."""
        named = (track.get("of", [track["participant"]["name"]]) for track in self.tracks.values())
        return sorted({name for names in named for name in names})

    def serving(self, own: str | None, name: str, kind: str, source: str | None) -> Description | None:
        """The track that serves whoever watches the track `own`, or, while that is unknown, the first of a
        participant's; None if there is none now."""
        track = self.tracks.get(own) if own is not None else self.own(name, kind, source)
        return track if track is not None else self.mix(name, kind)


def is_mix(track: Mapping[str, Any]) -> bool:
    """Whether the room itself makes this track."""
    return bool(track["participant"]["id"] == MIXER)
