"""One headless participant: the client's side of the signaling schema, and a stock aiortc connection.

Everything here runs on the engine's loop. The client always offers, one offer at a time (RFC 3264), and
publishes and watches by its connection with the room whatever the room's architecture. What it watches it
follows: when the room takes up another architecture, the same picture comes directly from its publisher, or
inside the room's mix, or through the room again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import aiortc

from ..engine import Engine
from ..errors import Closed, NegotiationError, RtclabError, SignalingError, Timeout
from ..signaling import inprocess
from ..signaling.carrier import Connect
from ..signaling.messages import VERSION
from . import rtc
from .following import Description, Situation
from .lines import Lines, Sending
from .mesh import Mesh
from .outlets import Spread
from .sinks import RemoteTrack
from .sources import Source
from .watches import Watches

AGENT = f"headless, aiortc {aiortc.__version__}"
REPLY_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0
MOST_OFFERS = 3  # in a row, while the room's list of tracks keeps changing under them

log = logging.getLogger("rtclab.peers")


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
    room_loop : asyncio.AbstractEventLoop, optional
        The room's loop, if it is not the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Connect,
        name: str | None,
        on_end: Callable[[str], None],
        room_loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.name = name or ""
        self.id = ""
        self.end: str | None = None
        self._engine = engine
        self._room_loop = room_loop
        self._connect, self._asked_name = connect, name
        self._on_end = on_end
        self._carrier: inprocess.InProcessCarrier | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connection = rtc.new_connection()
        self._connection.on("iceconnectionstatechange", self._ice_changed)
        self._connection.on("connectionstatechange", self._connection_changed)
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._lines = Lines(self._connection, self._first_frame)
        self._mesh = Mesh(self._send, lambda: self._watches.bind())
        self._room = Situation()
        self._watches = Watches(self._room, self._lines, self._mesh)
        self._paused: set[str] = set()  # own tracks that the room does not want
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
        return list(dict.fromkeys(line.source for line in self._lines.sending if line.source is not None))

    async def join(self) -> None:
        """Enter the room.

        Raises
        ------
        rtclab.errors.SignalingError
            The room refuses; `code` says why.
        """
        self._carrier = inprocess.open(self._connect, self._room_loop)
        self._reader = asyncio.ensure_future(self._read(self._carrier))
        join = {
            "version": VERSION,
            "role": "participant",
            "session": None,
            "agent": AGENT,
        }
        welcome = await self._ask({"type": "join", "name": self._asked_name, **join})
        self.id, self.name = welcome["participant"]["id"], welcome["participant"]["name"]
        ice = rtc.Ice(tuple(welcome["ice_servers"]), welcome["ice_transport_policy"])
        rtc.use_servers(self._connection, ice)
        self._mesh.ice = ice
        await self._set_tracks(welcome["tracks"])

    def figures(self) -> list[dict[str, Any]]:
        """What each m-line in use has carried; see `rtclab.peers.Peer.stats`."""
        now = self._now()
        rows = [{"connection": "room", **figures} for figures in self._lines.figures(now)]
        rows += self._mesh.figures(now)
        owners = {id: track["participant"]["name"] for id, track in self._room.tracks.items()}
        for row in rows:
            row["participant"] = self.name if row["direction"] == "up" else owners.get(row["track"], "")
        return rows

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
        spreads = [Spread(feed, self._started, self._spread_ended) for feed in source.open()]
        async with self._negotiating:
            self._check_open()
            lines: list[Sending] = []
            for spread in spreads:
                line = self._lines.sender(spread.kind)
                line.take(spread, source)
                lines.append(line)
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

    async def watch(
        self, name: str, kind: str, source: str | None, timeout: float, queue: int = 2
    ) -> RemoteTrack:
        """Receive what somebody else publishes, waiting `timeout` seconds until they do.

        Raises
        ------
        rtclab.errors.Timeout
            They publish nothing of the kind.
        rtclab.errors.NegotiationError
            The room refuses.
        """
        found = await self._find(name, kind, source, timeout)

        def make(description: Description) -> RemoteTrack:
            return RemoteTrack(self._engine, description, lambda: self._phase, self._unwatch, queue)

        remote = self._watches.add(found, name, kind, source, make)
        async with self._negotiating:
            self._check_open()
            rejected = await self._arrange()
            if found["id"] in rejected:
                raise rejected[found["id"]]
            if remote.ended:
                raise SignalingError("unknown_track", f"{name!r} does not publish that {kind} any more")
        return remote

    async def _find(self, name: str, kind: str, source: str | None, timeout: float) -> Description:
        def found() -> Description | None:
            self._check_open()
            return self._room.serving(None, name, kind, source)

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: found() is not None), timeout)
            except asyncio.TimeoutError:
                others = self._room.publishing
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
                elif kind == "bye":
                    reason = message["message"]
                    break
                else:
                    await self._hear(message)
        except Closed as closed:
            reason = str(closed)
        self._spawn(self._ended(reason))

    async def _hear(self, message: dict[str, Any]) -> None:
        """Act on what the room says unasked."""
        match message["type"]:
            case "tracks":
                await self._set_tracks(message["tracks"])
            case "architecture":
                self._take_up(message)
            case "encodings":
                (self._paused.discard if message["active"] else self._paused.add)(message["track"])
                self._pause()
            case "consumer" if message["reason"] is not None:
                self._watches.explain(message["reason"], self._now(), message["track"])
            case "peer":
                self._mesh.receive(message)

    def _send(self, message: dict[str, Any]) -> None:
        """Send what needs no reply, if there is still anybody to send it to."""
        if self._carrier is not None and not self._carrier.closed:
            with contextlib.suppress(RtclabError):
                self._carrier.send_to_room(message)

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

    def _report(self, phase: str) -> None:
        elapsed = self._now() - self._started
        self._send({"type": "phase", "phase": phase, "elapsed_s": round(elapsed, 4)})

    # following

    async def _set_tracks(self, tracks: list[Description]) -> None:
        async with self._changed:
            self._room.tracks = {track["id"]: track for track in tracks}
            self._changed.notify_all()
        self._watches.follow()
        if self._watches.missing():
            self._spawn(self._rearrange())

    def _take_up(self, message: dict[str, Any]) -> None:
        """Go along with the room's architecture; the list of tracks follows if it is another one now."""
        room = self._room
        if message["name"] != room.architecture:
            self._watches.explain(f"switching to {message['name']}", self._now())
        room.architecture, room.direct, room.mixed = message["name"], message["direct"], message["mixed"]
        self._mesh.connect(message["peers"])
        self._watches.bind()

    async def _rearrange(self) -> None:
        async with self._negotiating:
            if self.end is None:
                await self._arrange()

    async def _arrange(self) -> dict[str, NegotiationError]:
        """Have an m-line for each track that is needed; what is rejected ends. Call with the lock held."""
        rejected: dict[str, NegotiationError] = {}
        for _ in range(MOST_OFFERS):
            self._watches.release_unneeded()
            missing = self._watches.missing()
            if not missing:
                break
            lines = [(self._lines.receiver(kind, track), track) for track, kind in missing.items()]
            refused = await self._negotiate()
            for line, track in lines:
                error = refused.get(str(line.transceiver.mid))
                if error is not None:
                    rejected[track] = error
                    line.release()
                    self._watches.drop_served_by(track, str(error))
                elif line.track is not None:
                    line.inlet.start(line.transceiver.receiver.track)
        self._watches.bind()
        return rejected

    # m-lines

    def _release(self, line: Sending) -> Spread | None:
        spread = line.release()
        if spread is not None:
            spread.stop()
        self._carry()
        return spread

    def _pause(self) -> None:
        for line in self._lines.sending:
            if line.track is not None:
                line.pause(line.track in self._paused)

    def _carry(self) -> None:
        """Send to the others of a mesh what is published."""
        published = ((line.track, line.spread) for line in self._lines.sending)
        self._mesh.carry({track: spread for track, spread in published if track and spread is not None})

    async def _unpublish(self, which: Callable[[Sending], bool]) -> None:
        lines = [line for line in self._lines.sending if line.source is not None and which(line)]
        spreads = [self._release(line) for line in lines]
        if lines and self.end is None:
            await self._negotiate()
        for spread in spreads:
            if spread is not None:
                await spread.finished(CLOSE_TIMEOUT)

    async def _unwatch(self, remote: RemoteTrack) -> None:
        self._watches.drop(remote, "closed")
        async with self._negotiating:
            if self._watches.release_unneeded() and self.end is None:
                await self._negotiate()

    def _spread_ended(self, spread: Spread) -> None:
        """A source has no more, or failed: its m-line is taken back."""
        line = next((line for line in self._lines.sending if line.spread is spread), None)
        if line is None or line.source is None:
            return
        error = spread.feed.error
        if error is not None and line.source.error is None:
            line.source.error = error
            log.error("%s stopped publishing: %s", self.name, error, exc_info=error.__cause__)
        self._spawn(self._take_back(line, spread))

    async def _take_back(self, line: Sending, spread: Spread) -> None:
        async with self._negotiating:
            if line.spread is spread:
                await self._unpublish(lambda other: other is line)

    async def _renegotiate(self) -> None:
        async with self._negotiating:
            if self.end is None:
                await self._negotiate()

    # offers

    async def _negotiate(self) -> dict[str, NegotiationError]:
        """Offer what the m-lines are to be; returns what was rejected, by mid. Call with the lock held."""
        sdp = await rtc.make_offer(self._connection)
        answer = await self._ask({"type": "offer", "sdp": sdp, "tracks": self._lines.purposes()})
        if self._phase == "signaling":
            self._phase = "ICE"
            self._report("signaling")
        await rtc.take_answer(self._connection, answer["sdp"])
        self._lines.agreed({entry["mid"]: entry["track"] for entry in answer["tracks"]})
        self._pause()
        self._carry()
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

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

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
        await self._mesh.close()
        spreads = [self._release(line) for line in self._lines.sending]
        self._watches.drop_all(reason)
        self._lines.stop()
        await self._lines.stop_reading()
        _, late = await asyncio.wait(
            [asyncio.ensure_future(rtc.close(self._connection))], timeout=CLOSE_TIMEOUT
        )
        if late:
            log.warning("%s: the connection takes longer than %g s to close", self.name, CLOSE_TIMEOUT)
        for spread in spreads:
            if spread is not None:
                await spread.finished(CLOSE_TIMEOUT)
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
