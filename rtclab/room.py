"""`Room`: a media server in this process, and everything a notebook does with it.

Thin: the work is done on the engine's thread by the port (`rtclab.transport`), the router
(`rtclab.forwarding`) and the signaling server (`rtclab.signaling`). Methods may be called from any
thread; those that wait have an awaitable twin whose name begins with ``a``.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import pandas as pd

from .engine import Engine, get_engine
from .errors import Closed, RtclabError
from .forwarding import mcu, mesh, relay, sfu  # noqa: F401 - registers them
from .forwarding.architecture import Architecture, Options, Stage, checked_last_n, fenced, named
from .forwarding.consumer import Consumer
from .forwarding.router import TICK_S, Router
from .jupyter.uplink import Listing
from .measure.stats import drops_by_place, stats_frame
from .mixing.layouts import layout_of
from .participant import Participant, Track, participant_of
from .peers import Peer
from .share import Share, Sharing
from .signaling.carrier import Carrier, Endpoint
from .signaling.ice_config import IceConfig, IceServers
from .signaling.server import SignalingServer
from .signaling.shares import Grant
from .signaling.trace import SignalingTrace
from .signaling.tunnels import POLICIES
from .transport.port import UdpPort
from .web_server import PAGE, WebServer
from .widgets import PublisherWidget, ViewerWidget
from .widgets.shelf import Shelf

LATEST_TICK_S = 0.2
VIDEO_CODECS = ("VP8", "H264", "VP9", "AV1")

_rooms = itertools.count(1)


class Room(Sharing):
    """A room: a media server in this process on one UDP port, an SFU unless told otherwise.

    Parameters
    ----------
    name : str, optional
        Shown to people; ``"room-1"``, ``"room-2"``, ... by default.
    udp_port : int, optional
        The port; 0 lets the system choose.
    host_candidates : sequence of str, optional
        IP addresses at which clients reach this machine; by default those of its interfaces.
    video_codecs : sequence of str, optional
        Codecs in the order of preference. A publisher gets the first that everybody present can play.
    ice_servers : sequence of dict or str, or callable, optional
        STUN and TURN servers (W3C ``RTCIceServer``) that clients shall use, or a function that returns them
        whenever somebody joins, plain or async (`rtclab.ice_servers.from_environment`); those who join while
        it works share what it gives. None by default: nothing leaves the machine unasked.
    ice_transport_policy : {"all", "relay"}, optional
        ``"relay"``: clients use nothing but TURN servers, so that all media goes through them.
    ice : {"lite", "full"}, optional
        ``"full"`` for a kernel behind a NAT: the room too asks `ice_servers` how to be reached, and checks
        every way by itself. Each client then has UDP ports of its own, and sending costs more.
    transport : {"auto", "webrtc", "websocket"}, optional
        How the media of pages travels: by WebRTC, and where UDP does not pass by the WebSocket (or comm) of
        its signaling; by one of the two only.
    architecture : str, optional
        How it forwards: ``"mesh"``, ``"relay"``, ``"sfu"``, ``"mcu"``, or one of your own
        (`rtclab.architecture`); can be assigned later.
    last_n : int, optional
        SFU: a viewer gets the pictures of the N other participants who spoke last.
    size : tuple of int, optional
        MCU: width and height of the composite in pixels, both even, from 64 to 4096.
    fps, bitrate : int, optional
        MCU: pictures a second of the composite, 60 at most, and bits a second, from 50 000 on.
    layout : str or callable, optional
        MCU: ``"grid"``, ``"speaker"``, ``"pip"``, or a function from participants to rectangles.

    Raises
    ------
    rtclab.errors.PortBusy
        The port is in use.
    rtclab.errors.RtclabError
        There is no such architecture, or an ICE server is not usable.

    Examples
    --------
    >>> room = rtclab.Room()
    >>> room.publisher()              # doctest: +SKIP
    >>> room.viewer()                 # doctest: +SKIP
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        udp_port: int = 0,
        host_candidates: Sequence[str] | None = None,
        video_codecs: Sequence[str] = VIDEO_CODECS,
        ice_servers: IceServers = (),
        ice_transport_policy: str = "all",
        ice: str = "lite",
        transport: str = "auto",
        architecture: str = "sfu",
        last_n: int | None = None,
        size: tuple[int, int] = (1280, 720),
        fps: int = 30,
        bitrate: int = 1_500_000,
        layout: str | Callable[..., Any] = "grid",
    ) -> None:
        self.name = name or f"room-{next(_rooms)}"
        unknown = [codec for codec in video_codecs if codec not in VIDEO_CODECS]
        if unknown or not video_codecs:
            raise ValueError(
                f"video_codecs must be some of {', '.join(VIDEO_CODECS)}, not {list(video_codecs)!r}"
            )
        if transport not in POLICIES:
            raise ValueError(f"transport must be one of {', '.join(POLICIES)}, not {transport!r}")
        kind = named(architecture)
        layout_of(layout)
        config = IceConfig(ice_servers, ice_transport_policy, ice)
        self._options = Options(last_n, size, fps, bitrate, layout)
        self._engine = get_engine()
        self._closed = False
        self._peers: list[Peer] = []
        self._links: dict[str, Share] = {}
        self._doors: dict[str, WebServer] = {}
        self._widgets = Shelf()
        self._tick: asyncio.TimerHandle | None = None
        self._ticked = 0.0
        self._port = UdpPort.open(udp_port, host_candidates)
        self._id = secrets.token_urlsafe(9)
        info = {"id": self._id, "name": self.name, "architecture": architecture}
        loop = self._engine.loop
        self._router = Router(self._port, time.time() - loop.time())
        self._server = SignalingServer(info, self._port, self._router, loop.time, video_codecs, config)
        self._server.tunnels.policy = transport
        self._tell_change = self._router.on_consumer_changed
        self._router.on_consumer_changed = self._consumer_changed
        self._listing = Listing(
            self._id,
            self.name,
            self._server.connect,
            self._widgets.set_server,
            self._admit,
            PAGE,
            self._visited,
        )
        self._engine.run(self._start(kind))

    async def _start(self, kind: type[Architecture]) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._take_up(kind)
        except BaseException:
            self._port.close()
            raise
        self._port.start(loop, self._drained, self._router.read_reports)
        self._tick = loop.call_later(TICK_S, self._on_tick)
        self._engine.add(self._close, self._port.paths.sockets)
        await self._listing.register()

    def _take_up(self, kind: type[Architecture]) -> None:
        stage = Stage(
            self._router, self._engine.loop, self._options, self._name_of, self._server.listing_changed
        )
        self._server.take_up(fenced(kind(stage)))

    def _name_of(self, client_id: str) -> str:
        member = self._server.members.get(client_id)
        return member.name if member is not None else client_id

    def _drained(self) -> None:
        now = self._engine.loop.time()
        complete = self._router.drained(now)
        self._engine.end_batch()
        # Awake anyway: waking up only for a tick would cost more than the tick. But pictures go first.
        if complete and now >= self._ticked + TICK_S:
            self._do_what_is_due(now)

    def _consumer_changed(self, consumer: Consumer) -> None:
        self._engine.end_batch()  # sending messages gives the GIL up, and shall get it back soon
        self._tell_change(consumer)

    def _on_tick(self) -> None:
        now = self._engine.loop.time()
        try:
            if now >= self._ticked + LATEST_TICK_S:
                self._do_what_is_due(now)
        finally:  # what failed once must not end the room's time
            self._tick = self._engine.loop.call_at(self._ticked + LATEST_TICK_S, self._on_tick)

    def _do_what_is_due(self, now: float) -> None:
        self._ticked = now
        self._router.tick(now)
        self._server.tick(now)
        self._server.guests.tick(time.time())

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """How the room forwards: ``"mesh"``, ``"relay"``, ``"sfu"``, ``"mcu"`` or one of your own.

        Assigning another switches while people are in the room: what they publish and watch stays, and
        widgets and headless peers follow by themselves. What the ``__init__`` of one of your own raises is
        raised here, and the room keeps the one it has.
        """
        return str(self._server.room["architecture"])

    @architecture.setter
    def architecture(self, name: str) -> None:
        self._check_open()
        kind = named(name)
        self._read(lambda: self._take_up(kind))

    @property
    def last_n(self) -> int | None:
        """SFU: a viewer gets the pictures of the N other participants who spoke last; None for all."""
        return self._options.last_n

    @last_n.setter
    def last_n(self, last_n: int | None) -> None:
        self._options.last_n = checked_last_n(last_n)

    @property
    def layout(self) -> str | Callable[..., Any]:
        """MCU: ``"grid"``, ``"speaker"``, ``"pip"``, or a function from participants to rectangles."""
        return self._options.layout

    @layout.setter
    def layout(self, layout: str | Callable[..., Any]) -> None:
        layout_of(layout)
        self._options.layout = layout

    @property
    def id(self) -> str:
        """Names the room in URLs: random, of the letters of base64url."""
        return self._id

    @property
    def server_path(self) -> str | None:
        """Where browsers reach the room below the Jupyter server's base URL; None if they do not."""
        return self._listing.path

    @property
    def udp_port(self) -> int:
        """The UDP port on which all of the room's media travels."""
        return self._port.port

    @property
    def host_candidates(self) -> list[str]:
        """The room's ICE candidates, as they stand in its answers; with full ICE each client has its own."""
        return [] if self._server.ice.full else self._port.candidates()

    @property
    def signaling(self) -> SignalingTrace:
        """Every signaling message, both ways, newest last."""
        return self._server.trace

    @property
    def closed(self) -> bool:
        """Whether the room is closed."""
        return self._closed

    @property
    def participants(self) -> list[Participant]:
        """Everybody in the room now."""
        clock, router, members = self._engine.loop.time, self._router, self._server.members
        return self._read(lambda: [participant_of(member, router, clock()) for member in members.values()])

    @property
    def speakers(self) -> list[str]:
        """Names of those who publish a picture, by when they last became the active speaker."""
        return list(self._read(lambda: [self._name_of(id) for id in self._router.speakers()]))

    @property
    def tracks(self) -> list[Track]:
        """Everything that is published now."""
        return [track for participant in self.participants for track in participant.tracks]

    @property
    def drops(self) -> dict[str, dict[str, int]]:
        """Packets dropped so far: at the port and for each participant, by reason."""
        return self._read(lambda: drops_by_place(self._server))

    def stats(self) -> pd.DataFrame:
        """Figures of every track and viewer; see `rtclab.measure.stats.stats_frame`."""
        return self._read(lambda: stats_frame(self._server))

    def _read(self, function: Any) -> Any:
        """Run `function` between two steps of the engine, so that it sees one moment."""
        if self._engine.on_engine_thread():
            return function()

        async def read() -> Any:
            return function()

        return self._engine.run(read())

    # -- browsers ---------------------------------------------------------------------------------------

    def publisher(
        self, name: str | None = None, source: str = "camera", simulcast: bool = True
    ) -> PublisherWidget:
        """A widget in which the browser publishes into this room.

        Nothing is captured before the person presses **Start**. Running the same cell again replaces
        the widget.

        Parameters
        ----------
        name : str, optional
            The participant's name; ``"guest-1"``, ... by default.
        source : {"camera", "screen", "pattern"}
            What is offered first; the person can choose another.
        simulcast : bool
            Whether to send three layers.
        """
        if source not in ("camera", "screen", "pattern"):
            raise ValueError(f'source must be "camera", "screen" or "pattern", not {source!r}')
        self._check_open()
        shown = {"room": self.name, "server": self._widgets.server}
        widget = PublisherWidget(self._server.connect, name=name, source=source, simulcast=simulcast, **shown)
        return self._widgets.keep(widget, "publisher", name or "")

    def viewer(self, of: str | None = None) -> ViewerWidget:
        """A widget that shows everyone in the room, or one participant.

        Parameters
        ----------
        of : str, optional
            Name of the participant to show.
        """
        self._check_open()
        widget = ViewerWidget(self._server.connect, of=of, room=self.name, server=self._widgets.server)
        return self._widgets.keep(widget, "viewer", of or "")

    def connect(self, carrier: Carrier, grant: Grant | None = None) -> Endpoint:
        """Take in a client that comes by a carrier of yours; call it on the engine's thread.

        Parameters
        ----------
        carrier : Carrier
            The way to the client.
        grant : Grant, optional
            What it may do, if it comes by a share link.

        Returns
        -------
        Endpoint
            Where to hand what the client says, and that it is gone.
        """
        return self._server.connect(carrier, grant)

    # -- headless ---------------------------------------------------------------------------------------

    def join(self, name: str, engine: Engine | None = None) -> Peer:
        """Let a headless participant join: a stock aiortc peer in this process, over real ICE, DTLS and
        UDP.

        Parameters
        ----------
        name : str
            Its name in the room.
        engine : Engine, optional
            Where it runs; by default on the room's thread.

        Raises
        ------
        rtclab.errors.SignalingError
            Somebody of that name is in the room.
        """
        peer = self._new_peer(name, engine)
        peer.join()
        self._peers.append(peer)
        return peer

    async def ajoin(self, name: str, engine: Engine | None = None) -> Peer:
        """Awaitable twin of `join`."""
        peer = self._new_peer(name, engine)
        await peer.ajoin()
        self._peers.append(peer)
        return peer

    def _new_peer(self, name: str, engine: Engine | None) -> Peer:
        self._check_open()
        return Peer(engine or self._engine, self._server.connect, name, self._left, self._engine)

    def _left(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)

    def publish(self, source: Any, name: str | None = None) -> Peer:
        """Publish a source under a name of its own: a function or generator of RGB arrays is a camera.

        Parameters
        ----------
        source : TestPattern, File, callable, generator or iterator
            What to publish; arrays are ``(height, width, 3)`` uint8 RGB.
        name : str, optional
            The participant's name; by default that of the function, or of the source's class.

        Returns
        -------
        Peer
            The headless participant that publishes; its `leave` ends it.
        """
        stem = name or str(getattr(source, "__name__", type(source).__name__))
        taken = {participant.name for participant in self.participants}
        peer = self.join(stem if name or stem not in taken else f"{stem}-{len(taken)}")
        try:
            peer.publish(source)
        except BaseException:
            peer.leave()
            raise
        return peer

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the room for everybody and free its port; the widgets say so. Closing twice does nothing."""
        if not self._closed and self._engine.running:
            self._engine.run(self._close(), 10, "closing the room")

    async def aclose(self) -> None:
        """Awaitable twin of `close`."""
        if not self._closed and self._engine.running:
            await self._engine.wait(self._close(), 10, "closing the room")

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._engine.remove(self._close)
        if self._tick is not None:
            self._tick.cancel()
        await asyncio.gather(*(peer.aleave() for peer in list(self._peers)), return_exceptions=True)
        self._server.close()
        self._widgets.end()
        self._listing.withdraw()
        await self._close_doors()
        if self._router.architecture is not None:
            self._router.architecture.close()
        await self._server.ended()
        self._port.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this room is closed; make another with rtclab.Room()")

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Room:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Room {self.name!r} closed>"
        try:
            members = self.participants
        except RtclabError:
            return f"<Room {self.name!r}>"
        count = sum(member.role == "participant" for member in members)
        tracks = sum(len(member.tracks) for member in members)
        where = f"{self.architecture} on UDP {self.udp_port}"
        return f"<Room {self.name!r} {where}: {count} participants, {tracks} tracks>"
