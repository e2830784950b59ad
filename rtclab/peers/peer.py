"""The headless participant that `room.join` returns: plain calls from any thread, each with an async twin."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import pandas as pd

from ..engine import Engine
from ..errors import Closed, Timeout
from ..signaling.carrier import Connect
from .client import Client
from .sinks import RemoteTrack
from .sources import Source, as_source

T = TypeVar("T")

JOIN_TIMEOUT = 10.0


class Peer:
    """A participant without a browser: a stock aiortc connection over real ICE, DTLS and UDP.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    connect : Connect
        The room's door.
    name : str, optional
        Its name; the room invents one otherwise.
    on_left : callable, optional
        Called with the peer, on the engine's thread, once it has left or the room has ended its session.
    room_engine : Engine, optional
        Where the room runs, if not on `engine`.

    Notes
    -----
    A new peer is outside: call `join` (or await `ajoin`) first.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Connect,
        name: str | None = None,
        on_left: Callable[[Peer], None] | None = None,
        room_engine: Engine | None = None,
    ) -> None:
        self._engine = engine
        self._connect = connect
        self._name = name
        self._on_left = on_left
        self._room_engine = room_engine or engine
        self._client: Client | None = None

    def __repr__(self) -> str:
        client = self._client
        if client is None:
            return f"<Peer {self.name!r}, outside>"
        if client.end is not None:
            return f"<Peer {self.name!r}, gone: {client.end}>"
        published = ", ".join(source.name for source in client.sources) or "nothing"
        return f"<Peer {self.name!r}, publishes {published}>"

    @property
    def name(self) -> str:
        """Its name in the room."""
        return self._client.name if self._client is not None and self._client.name else self._name or ""

    @property
    def id(self) -> str:
        """Its id in the room; empty before `join`."""
        return self._client.id if self._client is not None else ""

    @property
    def closed(self) -> bool:
        """Whether it has left."""
        return self._client is not None and self._client.end is not None

    @property
    def sources(self) -> list[Source]:
        """What it publishes; `Source.error` says why one has stopped."""
        return self._client.sources if self._client is not None else []

    def join(self, timeout: float = JOIN_TIMEOUT) -> Peer:
        """Enter the room.

        Raises
        ------
        rtclab.errors.SignalingError
            The room refuses, for instance with the code ``"name_taken"``.
        rtclab.errors.Timeout
            The room does not answer.
        """
        return self._run(self._join(), timeout, "joining the room")

    async def ajoin(self, timeout: float = JOIN_TIMEOUT) -> Peer:
        """`join` for coroutines, on any loop."""
        return await self._wait(self._join(), timeout, "joining the room")

    def publish(self, source: Any, fps: float = 30, timeout: float = 15) -> list[str]:
        """Publish pictures, and the sound that belongs to them.

        Parameters
        ----------
        source : TestPattern, File, aiortc.MediaStreamTrack, callable or iterable
            See `rtclab.peers.sources.as_source`.
        fps : float
            Frames per second of a callable or an iterable.
        timeout : float
            Seconds to wait for the room and the connection.

        Returns
        -------
        list of str
            The ids of the new tracks.

        Raises
        ------
        rtclab.errors.SourceError
            The source is not usable.
        rtclab.errors.NegotiationError
            The room refuses a track; `code` and the message say why.
        rtclab.errors.Timeout
            The connection does not come up; `phase` says where it hangs.
        """
        made = as_source(source, fps)
        return self._run(self._joined().publish(made), timeout, "publishing")

    async def apublish(self, source: Any, fps: float = 30, timeout: float = 15) -> list[str]:
        """`publish` for coroutines, on any loop."""
        made = as_source(source, fps)
        return await self._wait(self._joined().publish(made), timeout, "publishing")

    def unpublish(self, source: Source | None = None, timeout: float = 15) -> None:
        """Stop publishing one of `sources`, or everything."""
        self._run(self._joined().unpublish(source), timeout, "unpublishing")

    async def aunpublish(self, source: Source | None = None, timeout: float = 15) -> None:
        """`unpublish` for coroutines, on any loop."""
        await self._wait(self._joined().unpublish(source), timeout, "unpublishing")

    def watch(
        self, name: str, kind: str = "video", source: str | None = None, timeout: float = 10, queue: int = 2
    ) -> RemoteTrack:
        """Receive what somebody publishes, waiting until they do.

        The track lives through changes of the room's architecture; `RemoteTrack.via` says how it comes. In
        an MCU it is the mix of everybody, and whoever else is watched there shares its m-line.

        Parameters
        ----------
        name : str
            Name of the participant.
        kind : str
            ``"video"`` or ``"audio"``.
        source : str, optional
            Which of their tracks of that kind (``"camera"``, ``"screen"``, ``"pattern"``); else the first.
        timeout : float
            Seconds to wait for the track.
        queue : int
            Frames kept for a slow reader.

        Raises
        ------
        rtclab.errors.Timeout
            They have published nothing of the kind.
        rtclab.errors.NegotiationError
            The room refuses, for instance because no codec fits.
        """
        return self._engine.run(self._watch(name, kind, source, timeout, queue))

    async def awatch(
        self, name: str, kind: str = "video", source: str | None = None, timeout: float = 10, queue: int = 2
    ) -> RemoteTrack:
        """`watch` for coroutines, on any loop."""
        return await self._engine.wait(self._watch(name, kind, source, timeout, queue))

    def stats(self) -> pd.DataFrame:
        """What each m-line in use has carried so far, one row for each.

        Returns
        -------
        pandas.DataFrame
            ``connection`` (``"room"``, or in a mesh the other's name), ``direction`` (``"up"`` or
            ``"down"``), ``kind``, ``track``, ``participant`` (whose track), ``packets``, ``payload_bytes``,
            ``wire_bytes`` (payload, RTP, SRTP and 28 bytes of UDP and IPv4 for each packet), ``frames``
            (handed to the encoder, or decoded), ``encoder_active`` and ``decoder_active`` (whether that
            happened in the last second). Retransmissions count, RTCP does not.
        """
        return _stats_frame(self._engine.run(self._figures()))

    async def astats(self) -> pd.DataFrame:
        """`stats` for coroutines, on any loop."""
        return _stats_frame(await self._engine.wait(self._figures()))

    def leave(self) -> None:
        """Leave the room; everything it watches ends. Nothing happens the second time."""
        if self._engine.running:
            self._engine.run(self._leave())

    async def aleave(self) -> None:
        """`leave` for coroutines, on any loop."""
        if self._engine.running:
            await self._engine.wait(self._leave())

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.leave()

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.aleave()

    def _run(self, work: Coroutine[Any, Any, T], timeout: float, what: str) -> T:
        try:
            return self._engine.run(work, timeout, what)
        except Timeout as error:
            raise self._explained(error) from None

    async def _wait(self, work: Coroutine[Any, Any, T], timeout: float, what: str) -> T:
        try:
            return await self._engine.wait(work, timeout, what)
        except Timeout as error:
            raise self._explained(error) from None

    def _explained(self, error: Timeout) -> Timeout:
        """The same with the phase that hangs, if it does not say so yet."""
        if error.phase is not None or self._client is None:
            return error
        return Timeout(f"{error}: {self._client.phase} hangs", self._client.phase)

    # on the engine's loop

    def _joined(self) -> Client:
        if self._client is None:
            raise Closed(f"{self._name or 'this peer'} has not joined a room; call join() first")
        return self._client

    async def _join(self) -> Peer:
        if self._client is not None:
            raise Closed(f"{self.name} has joined once already; make another peer")
        self._client = Client(self._engine, self._connect, self._name, self._ended, self._room_engine.loop)
        try:
            await self._client.join()
        except BaseException:
            await self._client.leave("could not join")
            raise
        self._engine.add(self._leave)
        return self

    async def _watch(
        self, name: str, kind: str, source: str | None, timeout: float, queue: int
    ) -> RemoteTrack:
        return await self._joined().watch(name, kind, source, timeout, queue)

    async def _figures(self) -> list[dict[str, Any]]:
        return self._joined().figures()

    async def _leave(self) -> None:
        client = self._client
        if client is not None and client.end is None:
            await client.leave()
            self._ended("left the room")

    def _ended(self, reason: str) -> None:
        self._engine.remove(self._leave)
        if self._on_left is not None:
            self._on_left(self)


STATS_COLUMNS = (
    "connection",
    "direction",
    "kind",
    "track",
    "participant",
    "packets",
    "payload_bytes",
    "wire_bytes",
    "frames",
    "encoder_active",
    "decoder_active",
)


def _stats_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(STATS_COLUMNS))
