"""Pictures for those who can show only images: which tracks are decoded for them, and who gets which."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from ..mixing.stills import StillMaker
from .consumer import Consumer
from .mixed import fragments
from .producer import Producer
from .router import Router
from .store import Packet
from .stream import Stream


class Screen(Protocol):
    """What can show pictures; see `rtclab.transport.tunnel.TunnelTransport`."""

    @property
    def ready(self) -> bool: ...

    def send_picture(
        self, mid: str, rid: str, data: bytes, width: int, height: int, time_ntp: int
    ) -> None: ...


class Stills:
    """The pictures of one room.

    Parameters
    ----------
    router : Router
        The media plane.
    clock : callable
        Monotonic time in seconds.
    call_soon : callable
        Calls a function on the engine's thread, from any.
    """

    def __init__(self, router: Router, clock: Callable[[], float], call_soon: Callable[..., object]) -> None:
        self._router = router
        self._clock = clock
        self._call_soon = call_soon
        self._maker: StillMaker | None = None
        self._watched: dict[str, tuple[Producer, dict[Consumer, Screen]]] = {}

    def close(self) -> None:
        """End it."""
        self.follow({})
        if self._maker is not None:
            self._maker.close()
            self._maker = None

    def follow(self, viewers: Mapping[Consumer, Screen]) -> None:
        """Serve exactly these viewers from now on; to be called a few times a second."""
        watched: dict[str, tuple[Producer, dict[Consumer, Screen]]] = {}
        for consumer, screen in viewers.items():
            producer = consumer.producer
            if producer is not None and producer.kind == "video" and consumer.flowing():
                watched.setdefault(producer.id, (producer, {}))[1][consumer] = screen
        if not watched and not self._watched:
            return
        maker = self._maker = self._maker or StillMaker(self._on_loop(self._show), self._on_loop(self._ask))
        for id in self._watched.keys() - watched.keys():
            self._watched[id][0].onlooker = None
            maker.remove(id)
        new = watched.keys() - self._watched.keys()
        self._watched = watched
        for id, (producer, screens) in watched.items():
            if id in new:
                maker.add(id, producer.codec, partial(self._ready, id))
                producer.onlooker = partial(self._take, id)
            index = max(int(producer.fanout.current[one.row]) for one in screens if one.row is not None)
            maker.want(id, producer.streams[index])

    def _ready(self, id: str) -> bool:
        """Whether anybody can take a picture; asked on the other thread."""
        watched = self._watched.get(id)
        return watched is not None and any(screen.ready for screen in list(watched[1].values()))

    def _take(self, id: str, stream: Stream, packets: list[Packet], now: float) -> None:
        if self._maker is not None:
            self._maker.push(id, stream, fragments(stream, packets))

    def _on_loop(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the interpreter ends
                self._call_soon(function, *arguments)

        return call

    def _show(self, id: str, data: bytes, width: int, height: int) -> None:
        watched = self._watched.get(id)
        if watched is None:
            return
        ntp = self._router.ntp(self._clock())
        for consumer, screen in watched[1].items():
            screen.send_picture(consumer.mid, consumer.current_rid or "", data, width, height, ntp)

    def _ask(self, id: str) -> None:
        watched = self._watched.get(id)
        for consumer in list(watched[1])[:1] if watched is not None else ():
            self._router.want_keyframe(consumer, self._clock())
