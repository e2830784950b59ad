"""One headless participant: the client's side of the signaling schema, and a stock aiortc connection.

Everything here runs on the engine's loop. The client always offers, one offer at a time (RFC 3264). An
m-line is used for one direction; when its track ends it goes inactive and the next track of that kind takes
it over, with the same sender or receiver and thus the same SSRC.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import aiortc
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from ..engine import Engine
from ..errors import Closed, NegotiationError, RtclabError, SignalingError, Timeout
from ..signaling import inprocess
from ..signaling.carrier import Connect
from ..signaling.messages import VERSION
from . import rtc
from .feeds import Borrowed, Feed, Outlet
from .sinks import Inlet, RemoteTrack
from .sources import Source

AGENT = f"headless, aiortc {aiortc.__version__}"
REPLY_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0

log = logging.getLogger("rtclab.peers")


class _Sending:
    """An m-line that publishes."""

    def __init__(self, transceiver: RTCRtpTransceiver, outlet: Outlet) -> None:
        self.transceiver, self.outlet = transceiver, outlet
        self.source: Source | None = None
        self.track: str | None = None


class _Receiving:
    """An m-line that receives."""

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self.transceiver = transceiver
        self.inlet = Inlet()
        self.track: str | None = None


class Client:
    """A participant of a room.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    connect : Connect
        The room's door.
    name : str, optional
        Its name in the room; the room invents one otherwise.
    on_end : callable
        Called once with the reason when the room has ended the session.
    """

    def __init__(
        self, engine: Engine, connect: Connect, name: str | None, on_end: Callable[[str], None]
    ) -> None:
        self.name = name or ""
        self.id = ""
        self.tracks: dict[str, dict[str, Any]] = {}
        self.end: str | None = None
        self._engine = engine
        self._connect, self._asked_name = connect, name
        self._on_end = on_end
        self._carrier: inprocess.InProcessCarrier | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connection = rtc.new_connection()
        self._connection.on("iceconnectionstatechange", self._ice_changed)
        self._connection.on("connectionstatechange", self._connection_changed)
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._sending: list[_Sending] = []
        self._receiving: list[_Receiving] = []
        self._negotiating = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = asyncio.get_running_loop().time()
        self._phase = "signaling"
        self._flowing = False

    @property
    def phase(self) -> str:
        """How far the connection has come: ``"signaling"``, ``"ICE"``, ``"DTLS"``, ``"first frame"``."""
        return self._phase

    @property
    def sources(self) -> list[Source]:
        """What is being published."""
        return list(dict.fromkeys(line.source for line in self._sending if line.source is not None))

    async def join(self) -> None:
        """Enter the room.

        Raises
        ------
        rtclab.errors.SignalingError
            The room refuses; `code` says why.
        """
        self._carrier = inprocess.open(self._connect)
        self._reader = asyncio.ensure_future(self._read(self._carrier))
        join = {
            "version": VERSION,
            "role": "participant",
            "session": None,
            "agent": AGENT,
        }
        welcome = await self._ask({"type": "join", "name": self._asked_name, **join})
        self.id, self.name = welcome["participant"]["id"], welcome["participant"]["name"]
        await self._set_tracks(welcome["tracks"])

    async def publish(self, source: Source) -> list[str]:
        """Publish `source`; returns the ids of its tracks once the connection is up.

        Raises
        ------
        rtclab.errors.SourceError
            The source cannot be opened.
        rtclab.errors.NegotiationError
            The room refuses one of its tracks.
        rtclab.errors.Timeout
            The connection does not come up; `phase` says where it hangs.
        """
        feeds = source.open()
        async with self._negotiating:
            self._check_open()
            lines = [self._sender_for(feed.kind) for feed in feeds]
            for line, feed in zip(lines, feeds, strict=True):
                line.source, line.track = source, None
                line.transceiver.direction = "sendonly"
                line.outlet.plug(feed)
                rtc.send_keyframe(line.transceiver.sender)  # a sender used before still has its last picture
            answered = False
            try:
                rejected = await self._negotiate()
                answered = True
                for line in lines:
                    if line.transceiver.mid in rejected:
                        raise rejected[line.transceiver.mid]
                await self._connected()
            except BaseException:
                for line in lines:
                    self._release(line)
                if answered:
                    self._spawn(self._renegotiate())
                raise
        return [line.track for line in lines if line.track is not None]

    async def unpublish(self, source: Source | None = None) -> None:
        """Stop publishing `source`, or everything."""
        async with self._negotiating:
            await self._unpublish(lambda line: source is None or line.source is source)

    async def watch(self, track: str, queue: int = 2) -> RemoteTrack:
        """Receive one track of somebody else.

        Raises
        ------
        rtclab.errors.NegotiationError
            The room refuses.
        """
        async with self._negotiating:
            self._check_open()
            description = self.tracks.get(track)
            if description is None:
                raise SignalingError("unknown_track", f"there is no track {track!r} in the room any more")
            remote = RemoteTrack(self._engine, description, lambda: self._phase, self._unwatch, queue)
            line = next((line for line in self._receiving if line.track == track), None)
            if line is None:
                line = self._receiver_for(description["kind"])
                line.track = track
                line.transceiver.direction = "recvonly"
                rejected = await self._negotiate()
                if line.transceiver.mid in rejected:
                    self._forget(line)
                    raise rejected[line.transceiver.mid]
                line.inlet.start(line.transceiver.receiver.track)
            line.inlet.listeners.add(remote)
        return remote

    async def find(self, name: str, kind: str, source: str | None, timeout: float) -> str:
        """Wait until the participant called `name` (or with that id) has a track; returns the track's id."""

        def found() -> str | None:
            self._check_open()
            for track in self.tracks.values():
                of = track["participant"]
                if (
                    name in (of["name"], of["id"])
                    and track["kind"] == kind
                    and source in (None, track["source"])
                ):
                    return str(track["id"])
            return None

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: found() is not None), timeout)
            except asyncio.TimeoutError:
                others = sorted({track["participant"]["name"] for track in self.tracks.values()})
                what = f"{kind} from {source!r}" if source else kind
                hint = f"publishing now: {', '.join(others)}" if others else "nobody publishes anything"
                message = f"{name!r} has published no {what} within {timeout:g} s; {hint}"
                raise Timeout(message, "signaling") from None
            track = found()
        assert track is not None
        return track

    async def leave(self, reason: str = "left the room") -> None:
        """Leave the room and release everything; safe to call twice."""
        if self._carrier is not None and not self._carrier.closed:
            self._carrier.send_to_room({"type": "leave"})
        await self._close(reason)

    # messages

    async def _read(self, carrier: inprocess.InProcessCarrier) -> None:
        reason = "the room is gone"
        try:
            while True:
                message = await carrier.receive()
                kind = message.get("type")
                if kind in ("welcome", "answer", "error", "pong") and message.get("re") in self._replies:
                    reply = self._replies.pop(message["re"])
                    if not reply.done():
                        reply.set_result(message)
                elif kind == "tracks":
                    await self._set_tracks(message["tracks"])
                elif kind == "bye":
                    reason = message["message"]
                    break
        except Closed as closed:
            reason = str(closed)
        self._spawn(self._ended(reason))

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._carrier is not None
        number = next(self._ids)
        reply = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self._carrier.send_to_room({**message, "id": number})
            answer: dict[str, Any] = await asyncio.wait_for(reply, REPLY_TIMEOUT)
        except asyncio.TimeoutError:
            raise Timeout(
                f"the room did not reply to {message['type']!r} in {REPLY_TIMEOUT:g} s", "signaling"
            ) from None
        finally:
            self._replies.pop(number, None)
        if answer["type"] == "error":
            wrong = NegotiationError if message["type"] == "offer" else SignalingError
            raise wrong(answer["code"], answer["message"])
        return answer

    async def _set_tracks(self, tracks: list[dict[str, Any]]) -> None:
        async with self._changed:
            self.tracks = {track["id"]: track for track in tracks}
            self._changed.notify_all()
        for line in self._receiving:
            if line.track is not None and line.track not in self.tracks:
                self._forget(line, "it is not published any more")  # the next offer will say so

    def _report(self, phase: str) -> None:
        if self._carrier is not None and not self._carrier.closed:
            elapsed = asyncio.get_running_loop().time() - self._started
            self._carrier.send_to_room({"type": "phase", "phase": phase, "elapsed_s": round(elapsed, 4)})

    # m-lines

    def _sender_for(self, kind: str) -> _Sending:
        for line in self._sending:
            if line.source is None and line.transceiver.kind == kind:
                return line
        outlet = Outlet(kind, self._feed_ended)
        outlet.on_first_frame = self._first_frame
        line = _Sending(self._connection.addTransceiver(outlet, "sendonly"), outlet)
        self._sending.append(line)
        return line

    def _receiver_for(self, kind: str) -> _Receiving:
        for line in self._receiving:
            if line.track is None and line.transceiver.kind == kind:
                rtc.forget_stream(line.transceiver)
                return line
        line = _Receiving(self._connection.addTransceiver(kind, "recvonly"))
        line.inlet.on_first_frame = self._first_frame
        self._receiving.append(line)
        return line

    def _release(self, line: _Sending) -> Feed | Borrowed | None:
        feed = line.outlet.feed
        line.outlet.unplug()
        line.source, line.track = None, None
        line.transceiver.direction = "inactive"
        return feed

    def _forget(self, line: _Receiving, reason: str = "closed") -> None:
        for remote in line.inlet.listeners:
            remote._finish(reason)
        line.inlet.listeners.clear()
        line.track = None
        line.transceiver.direction = "inactive"

    async def _unpublish(self, which: Callable[[_Sending], bool]) -> None:
        lines = [line for line in self._sending if line.source is not None and which(line)]
        feeds = [self._release(line) for line in lines]
        if lines and self.end is None:
            await self._negotiate()
        for feed in feeds:
            if feed is not None:
                await feed.finished(CLOSE_TIMEOUT)

    async def _unwatch(self, remote: RemoteTrack) -> None:
        remote._finish("closed")
        async with self._negotiating:
            for line in self._receiving:
                if remote in line.inlet.listeners:
                    line.inlet.listeners.discard(remote)
                    if not line.inlet.listeners:
                        self._forget(line)
                        if self.end is None:
                            await self._negotiate()

    def _feed_ended(self, outlet: Outlet, feed: Feed | Borrowed) -> None:
        """A source has no more, or failed: its m-line is taken back."""
        line = next(line for line in self._sending if line.outlet is outlet)
        if line.source is None:
            return
        if feed.error is not None and line.source.error is None:
            line.source.error = feed.error
            log.error("%s stopped publishing: %s", self.name, feed.error, exc_info=feed.error.__cause__)
        self._spawn(self._take_back(line))

    async def _take_back(self, line: _Sending) -> None:
        async with self._negotiating:
            if line.outlet.feed is None:
                await self._unpublish(lambda other: other is line)

    async def _renegotiate(self) -> None:
        async with self._negotiating:
            if self.end is None:
                await self._negotiate()

    # offers

    async def _negotiate(self) -> dict[str, NegotiationError]:
        """Offer what the m-lines are to be; returns what was rejected, by mid. Call with the lock held."""
        sdp = await rtc.make_offer(self._connection)
        tracks: list[dict[str, Any]] = []
        for sending in self._sending:
            if sending.source is not None:
                kind = sending.transceiver.kind
                entry: dict[str, Any] = {"mid": sending.transceiver.mid, "direction": "send", "muted": False}
                entry["source"] = sending.source.label(kind)
                if kind == "video" and sending.source.size is not None:
                    entry["width"], entry["height"] = sending.source.size
                tracks.append(entry)
        for receiving in self._receiving:
            if receiving.track is not None:
                mid = receiving.transceiver.mid
                tracks.append({"mid": mid, "direction": "receive", "track": receiving.track})
        answer = await self._ask({"type": "offer", "sdp": sdp, "tracks": tracks})
        if self._phase == "signaling":
            self._phase = "ICE"
            self._report("signaling")
        await rtc.take_answer(self._connection, answer["sdp"])
        ids = {entry["mid"]: entry["track"] for entry in answer["tracks"]}
        for sending in self._sending:
            if sending.source is not None:
                sending.track = ids.get(sending.transceiver.mid)
        return {
            entry["mid"]: NegotiationError(entry["code"], entry["message"]) for entry in answer["rejected"]
        }

    async def _connected(self) -> None:
        async with self._changed:
            try:
                up = self._changed.wait_for(lambda: self._phase == "first frame" or self.end is not None)
                await asyncio.wait_for(up, REPLY_TIMEOUT)
            except asyncio.TimeoutError:
                message = f"{self.name} is not connected after {REPLY_TIMEOUT:g} s: {self._phase} hangs"
                raise Timeout(message, self._phase) from None
        self._check_open()

    # connection

    async def _ice_changed(self) -> None:
        if self._connection.iceConnectionState == "completed" and self._phase == "ICE":
            await self._advance("ICE", "DTLS")

    async def _connection_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self._phase in ("ICE", "DTLS"):
            await self._advance("DTLS", "first frame")
        elif state in ("failed", "closed") and self.end is None:
            await self._ended(
                f"the media connection {'failed' if state == 'failed' else 'was closed by the room'}"
            )

    async def _advance(self, done: str, phase: str) -> None:
        self._report(done)
        async with self._changed:
            self._phase = phase
            self._changed.notify_all()

    def _first_frame(self) -> None:
        if not self._flowing:
            self._flowing = True
            self._report("first frame")

    # the end

    def _check_open(self) -> None:
        if self.end is not None:
            raise Closed(f"{self.name or 'this participant'} is not in the room any more: {self.end}")

    async def _ended(self, reason: str) -> None:
        if self.end is None:
            await self._close(reason)
            self._on_end(reason)

    async def _close(self, reason: str) -> None:
        if self.end is not None:
            return
        self.end = reason
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Closed(reason))
        async with self._changed:
            self._changed.notify_all()
        feeds = [self._release(line) for line in self._sending]
        for line in self._receiving:
            self._forget(line, reason)
            await line.inlet.stop()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_TIMEOUT)
        except asyncio.TimeoutError:
            log.warning("%s: the connection took longer than %g s to close", self.name, CLOSE_TIMEOUT)
        for feed in feeds:
            if feed is not None:
                await feed.finished(CLOSE_TIMEOUT)
        current = asyncio.current_task()
        for task in [self._reader, *self._tasks]:
            if task is not None and task is not current:
                task.cancel()
        if self._carrier is not None:
            self._carrier.lose(reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except RtclabError as error:
                if self.end is None:
                    log.warning("%s: %s", self.name, error)

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited
