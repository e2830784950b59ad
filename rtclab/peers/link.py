"""The connection of a headless peer with one other client of a mesh, by perfect negotiation.

W3C webrtc-pc section 10.7: either side may offer at any time. When both do at once, the impolite one ignores
what comes and the polite one takes its own offer back. aiortc cannot do the latter; `rtc.roll_back` does.

* Each m-line goes one way: whoever sends on it has made it. A message says which of its sender's tracks
  travel on which m-lines.
* The impolite side begins, with one m-line of each kind if need be, and ignores every offer until its own
  was answered. A browser keeps the payload types and the header extension ids of the first offer for ever
  and refuses others; aiortc always offers the same ones, so they have to be the first.
* A description with another certificate comes from another connection: the other side has begun anew, and
  so do we. So does whoever is not connected in time; the polite side waits longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiortc import RTCPeerConnection

from ..errors import RtclabError
from . import rtc
from .lines import Lines
from .outlets import Spread
from .sinks import Inlet

CONNECT_WITHIN_S = {False: 10.0, True: 15.0}  # by politeness
RETRY_S = 0.5  # a connection that was lost is not begun anew before the room can say that the other has left
CLOSE_TIMEOUT = 3.0
MAX_WAITING = 64  # messages of the other; more, and the oldest is lost

log = logging.getLogger("rtclab.peers")


class Link:
    """One connection of a mesh.

    Parameters
    ----------
    name : str
        The other's name.
    polite : bool
        Whether this side gives way.
    say : callable
        Sends ``(description, candidate, tracks)`` to the other.
    changed : callable
        Called when other tracks arrive than before.
    ice : rtc.Ice
        The servers to use.
    """

    def __init__(
        self,
        name: str,
        polite: bool,
        say: Callable[[dict[str, Any] | None, dict[str, Any] | None, list[dict[str, str]]], None],
        changed: Callable[[], None],
        ice: rtc.Ice = rtc.NO_SERVERS,
    ) -> None:
        self.name = name
        self._ice = ice
        self.polite = polite
        self._say: Callable[..., None] = say
        self._changed = changed
        self._spreads: dict[str, Spread] = {}
        self._inbox: deque[Mapping[str, Any]] = deque(maxlen=MAX_WAITING)
        self._awake = asyncio.Event()
        self._closing: set[asyncio.Future[Any]] = set()
        self._retired = False
        self._up = self._lost = self._media = self._ignoring = False
        self._begin()
        self._task = asyncio.ensure_future(self._run())

    def carry(self, spreads: Mapping[str, Spread]) -> None:
        """Send exactly these, by the room's track ids."""
        self._spreads = dict(spreads)
        for line in self._lines.sending:
            if line.spread is not None and self._spreads.get(line.track or "") is not line.spread:
                line.release()
                self._news = True
        self._awake.set()

    def receive(self, message: Mapping[str, Any]) -> None:
        """Take what the other says."""
        self._inbox.append(message)
        self._awake.set()

    def inlet(self, track: str) -> Inlet | None:
        """Where a track of the other arrives, if it does."""
        line = self._lines.receiving_track(track)
        return line.inlet if line is not None else None

    def figures(self, now: float) -> Iterator[dict[str, Any]]:
        """What each m-line has carried; see `rtclab.peers.Peer.stats`."""
        return self._lines.figures(now)

    def retire(self) -> None:
        """Say nothing more; media go on until `close`."""
        self._retired = True
        self._say = lambda *content: None
        self._awake.set()

    async def close(self) -> None:
        """End the connection."""
        self.retire()
        # not cancelled at once: aioice would leave open the sockets of candidates that it is gathering
        await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._end()
        _, late = await asyncio.wait(self._closing, timeout=CLOSE_TIMEOUT)
        if late:
            log.warning("the connection with %s takes longer than %g s to close", self.name, CLOSE_TIMEOUT)

    # one thing after the other

    async def _run(self) -> None:
        while not self._retired:
            self._awake.clear()
            try:
                if self._lost:
                    await asyncio.sleep(RETRY_S)
                    self._begin_anew("it was lost")
                elif self._inbox:
                    await self._take(self._inbox.popleft())
                elif self._up and not self._media:
                    self._media = True
                    await rtc.start_media(self._connection)
                elif self._has_news() and self._connection.signalingState == "stable":
                    await self._offer()
                elif self._settled():
                    await self._awake.wait()
                else:
                    await asyncio.wait_for(self._awake.wait(), CONNECT_WITHIN_S[self.polite])
            except asyncio.TimeoutError:
                self._begin_anew("it did not come up in time")
            except Exception as error:  # aiortc's, about what somebody has sent
                log.warning("connection with %s: %s", self.name, error, exc_info=_surprising(error))
                await asyncio.sleep(RETRY_S)
                self._begin_anew("its negotiation failed")

    def _begin(self) -> None:
        connection = self._connection = rtc.new_connection(self._ice)
        self._lines = Lines(connection, lambda: None)
        self._agreed = self.polite  # whether the other's offers count
        self._news = not self.polite
        self._other: str | None = None  # fingerprint of the other's connection
        self._up = self._lost = self._media = self._ignoring = False
        connection.on("connectionstatechange", lambda: self._state_changed(connection))

    def _begin_anew(self, why: str) -> None:
        log.info("connection with %s begins anew: %s", self.name, why)
        self._end()
        self._begin()
        self._changed()

    def _end(self) -> None:
        connection, lines = self._connection, self._lines
        lines.stop()
        closing = asyncio.ensure_future(_close(connection, lines))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _state_changed(self, connection: RTCPeerConnection) -> None:
        if connection is self._connection:
            self._up = connection.connectionState == "connected"
            self._lost = connection.connectionState in ("failed", "closed")
            self._awake.set()

    def _settled(self) -> bool:
        """Whether nothing is waited for: all is agreed and connected, or nothing was said by either side."""
        connection = self._connection
        if connection.signalingState != "stable":
            return False
        return self._up or connection.remoteDescription is None

    # what is said

    def _has_news(self) -> bool:
        carried = {line.track for line in self._lines.sending}
        return self._news or any(track not in carried for track in self._spreads)

    async def _offer(self) -> None:
        self._news = False
        carried = {line.track for line in self._lines.sending}
        for track, spread in self._spreads.items():
            if track not in carried:
                self._lines.sender(spread.kind).take(spread, track=track)
        if not (self._agreed and self._connection.getTransceivers()):
            for kind in ("video", "audio"):
                if all(line.transceiver.kind != kind for line in self._lines.sending):
                    self._lines.sender(kind).release()
        sdp = await rtc.make_offer(self._connection)
        self._say({"type": "offer", "sdp": sdp}, None, self._carried())

    def _carried(self) -> list[dict[str, str]]:
        return [
            {"mid": line.transceiver.mid, "track": line.track}
            for line in self._lines.sending
            if line.track is not None and line.transceiver.mid is not None
        ]

    async def _take(self, message: Mapping[str, Any]) -> None:
        description, candidate = message.get("description"), message.get("candidate")
        if description is not None:
            await self._describe(description["type"], description["sdp"], message["tracks"])
        elif candidate is not None and not self._ignoring:
            await rtc.add_candidate(self._connection, candidate["candidate"], candidate["sdpMid"])

    async def _describe(self, kind: str, sdp: str, tracks: list[dict[str, str]]) -> None:
        other = rtc.fingerprint(sdp)
        if self._other not in (None, other):
            self._begin_anew("the other has begun anew")
            if kind == "answer":  # to an offer of the connection that has just ended
                self._news = True
                return
        waiting = self._connection.signalingState == "have-local-offer"
        if kind == "answer":
            if waiting:
                await rtc.take_answer(self._connection, sdp)
                self._agree(other, tracks)
            return
        self._ignoring = not self.polite and (waiting or not self._agreed)
        if self._ignoring:
            return
        if waiting:
            rtc.roll_back(self._connection)
            self._news = True
        answer = await rtc.take_offer(self._connection, sdp)
        self._agree(other, tracks)
        self._say({"type": "answer", "sdp": answer}, None, self._carried())

    def _agree(self, other: str | None, tracks: list[dict[str, str]]) -> None:
        """Both sides have described what is sent; `tracks` says what the other's m-lines carry."""
        self._agreed, self._ignoring, self._other = True, False, other
        named = {entry["mid"]: entry["track"] for entry in tracks}
        sending = {line.transceiver for line in self._lines.sending}
        for transceiver in self._connection.getTransceivers():
            if transceiver in sending:
                continue
            line = self._lines.received(transceiver)
            track = named.get(transceiver.mid or "") if transceiver.receiver.track is not None else None
            if line.track is not None and line.track != track:
                line.release()
                transceiver.direction = "recvonly"  # the other may take it again
            if track is not None and line.track is None:
                line.take(track)
                line.inlet.start(transceiver.receiver.track)
        self._media = False
        self._changed()


async def _close(connection: RTCPeerConnection, lines: Lines) -> None:
    await lines.stop_reading()
    await rtc.close(connection)


def _surprising(error: Exception) -> bool:
    return not isinstance(error, (RtclabError, ConnectionError))
