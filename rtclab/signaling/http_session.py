"""A WHIP or WHEP session: a client of the room that speaks only while one of its HTTP requests is answered.

To the room it is a client like any other: it joins, offers and leaves with the messages of
`rtclab.signaling.messages`. What HTTP cannot say is done here for it. A viewer follows the participant it
watches: when that one publishes again, the same offer is made once more with the new tracks, which the room
splices into the m-lines that the viewer has. And since nobody else would notice that such a client is gone,
the room removes it when its transport dies.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from ..errors import NegotiationError, SignalingError
from . import sdpfrag
from .carrier import Connect, Endpoint
from .codecs import decodes
from .description import MediaDescription, SessionDescription
from .messages import VERSION
from .sdp import parse

REPLY_TIMEOUT: Final = 10.0  # seconds
NOTHING_LIVE: Final = "nothing_live"  # code of the refusal of a viewer when nothing is published
KINDS: Final = ("audio", "video")


class HttpSession:
    """One session; see `rtclab.signaling.carrier.Carrier` for what the room uses.

    Parameters
    ----------
    on_end : callable
        Called once, when the session is over.

    Attributes
    ----------
    id : str
        The secret last part of its URL.
    etag : str
        Names the ICE generation; a new one after each ICE restart.
    ice_servers : list of dict
        What the room wants the client to use.
    """

    kind: Final = "http"

    def __init__(self, on_end: Callable[[HttpSession], None]) -> None:
        self.id = secrets.token_urlsafe(18)
        self.etag = _new_etag()
        self.ice_servers: list[dict[str, Any]] = []
        self.ended = False
        self._on_end = on_end
        self._endpoint: Endpoint | None = None
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._tracks: list[dict[str, Any]] = []
        self._offer = ""
        self._credentials = ("", "")
        self._lines: list[dict[str, Any]] = []
        self._watched: str | None = None
        self._following: asyncio.Task[None] | None = None

    # what the room calls

    def send(self, message: dict[str, Any]) -> None:
        """Take a message of the room's."""
        reply = self._replies.pop(message.get("re", -1), None)
        if reply is not None:
            if not reply.done():
                reply.set_result(message)
        elif message["type"] == "tracks":
            self._tracks = message["tracks"]
            self._follow_if_needed()

    def close(self) -> None:
        """Learn that the room has ended it."""
        if self.ended:
            return
        self.ended = True
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(SignalingError("room_closed", "the room has ended this session"))
        self._replies.clear()
        self._on_end(self)

    # what the HTTP handlers call

    async def publish(self, connect: Connect, name: str | None, agent: str, sdp: str) -> str:
        """Join as `name` and publish what `sdp` offers; returns the answer.

        Raises
        ------
        rtclab.errors.SignalingError
            The room refuses, in whole or in part; the caller has to end the session then.
        """
        lines = _active_lines(sdp, ("sendonly", "sendrecv"))
        tracks = [{"mid": line.mid, "direction": "send", "source": line.kind} for line in lines]
        await self._join(connect, name, "participant", agent)
        return await self._begin(sdp, tracks)

    async def watch(self, connect: Connect, name: str | None, agent: str, sdp: str) -> str:
        """Receive the participant `name`, or the first who publishes; returns the answer.

        Raises
        ------
        rtclab.errors.SignalingError
            `NOTHING_LIVE`, or the room refuses; the caller has to end the session then.
        """
        lines = _active_lines(sdp, ("recvonly", "sendrecv"))
        await self._join(connect, None, "viewer", agent)
        kinds = {line.kind for line in lines}
        live = [
            track
            for track in self._tracks
            if track["kind"] in kinds and name in (None, track["participant"]["name"])
        ]
        if not live:
            who = "nobody" if name is None else f"no participant called {name!r}"
            raise SignalingError(NOTHING_LIVE, f"{who} publishes {' or '.join(sorted(kinds))} now")
        watched = live[0]["participant"]["name"]
        tracks = []
        codecs = []
        for line in lines:
            track = self._track_of(watched, line.kind)
            if track is not None and not _plays(line, track):
                codecs.append(track["codec"])
                track = None
            tracks.append(
                {"mid": line.mid, "direction": "receive", "track": track and track["id"], "kind": line.kind}
            )
        if all(line["track"] is None for line in tracks):
            wanted = " or ".join(codecs)
            raise SignalingError(
                "no_codec", f"the offer has no {wanted} in the format that {watched!r} sends"
            )
        answer = await self._begin(sdp, tracks)
        self._watched = watched
        self._follow_if_needed()
        return answer

    async def patch(self, fragment: sdpfrag.Fragment) -> str | None:
        """Take trickled candidates, or restart ICE when the credentials are new ones.

        Returns
        -------
        str or None
            After a restart the fragment with the room's side; `etag` is a new one.

        Raises
        ------
        rtclab.errors.SignalingError
            The restart is refused; the session goes on as it was.
        """
        if not self.restarts(fragment):
            self._trickle(fragment)
            return None
        ours, theirs = self._credentials, (fragment.ufrag, fragment.pwd)
        if ours[0] == theirs[0] or ours[1] == theirs[1]:
            raise NegotiationError("bad_sdp", "an ICE restart changes both a=ice-ufrag and a=ice-pwd")
        async with self._one_at_a_time:
            offer = sdpfrag.with_credentials(self._offer, *theirs)
            answer = await self._ask_offer(offer)
            self._offer, self._credentials, self.etag = offer, theirs, _new_etag()
            self._trickle(fragment)  # they take the place of the former ones (RFC 9725 section 4.3.3)
        return sdpfrag.write_fragment(parse(answer["sdp"]))

    def restarts(self, fragment: sdpfrag.Fragment) -> bool:
        """Whether a fragment belongs to another ICE generation than the current one."""
        return bool(fragment.ufrag) and (fragment.ufrag, fragment.pwd) != self._credentials

    def leave(self) -> None:
        """End it from the client's side."""
        if not self.ended:
            self._tell({"type": "leave"})
            self.close()

    # messages

    def _trickle(self, fragment: sdpfrag.Fragment) -> None:
        for mid, candidate in fragment.candidates:
            self._tell({"type": "candidate", "mid": mid, "candidate": candidate})

    def _tell(self, message: dict[str, Any]) -> None:
        if self._endpoint is not None and not self.ended:
            self._endpoint.receive(message)

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.ended:
            raise SignalingError("room_closed", "the room has ended this session")
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            self._tell({**message, "id": number})
            answer: dict[str, Any] = await asyncio.wait_for(reply, REPLY_TIMEOUT)
        finally:
            self._replies.pop(number, None)
        if answer["type"] == "error":
            raise SignalingError(answer["code"], answer["message"])
        return answer

    async def _join(self, connect: Connect, name: str | None, role: str, agent: str) -> None:
        self._endpoint = connect(self)
        join = {"type": "join", "version": VERSION, "role": role, "agent": agent[:256]}
        welcome = await self._ask({**join, "name": name, "session": None})
        self._tracks, self.ice_servers = welcome["tracks"], welcome["ice_servers"]

    async def _begin(self, sdp: str, tracks: list[dict[str, Any]]) -> str:
        self._offer, self._lines = sdp, tracks
        answer = await self._ask_offer(sdp)
        if answer["rejected"]:  # RFC 9725 section 4.4.3: no partial success
            first = answer["rejected"][0]
            raise SignalingError(first["code"], f"m-line {first['mid']} is refused: {first['message']}")
        media = _transport_line(parse(sdp))
        self._credentials = (media.ufrag, media.pwd)
        return str(answer["sdp"])

    async def _ask_offer(self, sdp: str) -> dict[str, Any]:
        fields = ("mid", "direction", "source", "track")
        tracks = [{name: line[name] for name in fields if name in line} for line in self._lines]
        return await self._ask({"type": "offer", "sdp": sdp, "tracks": tracks})

    # following a participant

    def _track_of(self, participant: str, kind: str) -> dict[str, Any] | None:
        for track in self._tracks:
            if track["kind"] == kind and track["participant"]["name"] == participant:
                return track
        return None

    def _follow_if_needed(self) -> None:
        if self._watched is not None and self._following is None and self._retargeted() is not None:
            self._following = asyncio.ensure_future(self._follow())

    def _retargeted(self) -> list[dict[str, Any]] | None:
        """The m-lines with what is published now, if that is news; one whose track is gone waits.

        An m-line that began without a track was answered as inactive and stays so: there is no other answer.
        """
        assert self._watched is not None
        live = {None, *(track["id"] for track in self._tracks)}
        lines = []
        for line in self._lines:
            track = None if line["track"] in live else self._track_of(self._watched, line["kind"])
            lines.append(line if track is None else {**line, "track": track["id"]})
        return lines if lines != self._lines else None

    async def _follow(self) -> None:
        try:
            while not self.ended and (lines := self._retargeted()) is not None:
                async with self._one_at_a_time:
                    self._lines = lines
                    await self._ask_offer(self._offer)
        except (SignalingError, asyncio.TimeoutError):
            self.leave()  # the room refuses what it has accepted before: there is nothing left to receive
        finally:
            self._following = None


def _active_lines(sdp: str, directions: Iterable[str]) -> list[MediaDescription]:
    """The m-lines in use, one of each kind at most (RFC 9725 section 4.4.2).

    Whatever MediaStreams they name, they are one participant's.
    """
    lines = [media for media in parse(sdp).media if media.kind in KINDS and not media.rejected]
    if not lines:
        raise NegotiationError("bad_sdp", "the offer has no m-line of audio or video")
    for media in lines:
        if media.direction not in directions:
            allowed = " or ".join(f"a={direction}" for direction in directions)
            raise SignalingError(
                "not_allowed", f"m-line {media.mid} must be {allowed} here, not a={media.direction}"
            )
    if len({media.kind for media in lines}) < len(lines):
        raise SignalingError("not_allowed", "one m-line of audio and one of video can be offered here")
    return lines


def _plays(line: MediaDescription, track: dict[str, Any]) -> bool:
    sent = {"name": track["codec"], "parameters": track["parameters"]}
    return any(decodes(offered, replace(offered, **sent)) for offered in line.codecs)


def _transport_line(offer: SessionDescription) -> MediaDescription:
    return next(media for media in offer.media if media.kind in KINDS and not media.rejected)


def _new_etag() -> str:
    return f'"{secrets.token_hex(8)}"'
