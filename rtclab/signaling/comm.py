"""The carrier of the widgets: one Jupyter comm shared by every page that shows the widget.

Each browser page is one client with an id of its own; both directions carry `{client: id, message: {...}}`,
or `{client: id, media: true}` with the bytes of the tunnel (`rtclab.transport.tunnel_format`) as buffers.
Handlers of a comm may run on any thread, so `CommHub.receive` only hands over to the engine.

A page that vanishes says nothing. Silence alone proves nothing either, since a busy kernel handles no comm
message, so the hub counts round trips through the loop that also runs the comm's handlers: after ten of them
(30 s) without a word, a page that should ping every few seconds is lost. Should it wake up, its next message
opens a new connection, and the error `not_joined` tells it to join again.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ..engine import get_engine
from ..transport.tunnel_format import MAX_MEDIA
from .carrier import Connect, Endpoint

MAX_CLIENTS: Final = 16
MAX_CLIENT_ID: Final = 64  # characters
MAX_WAITING: Final = 1000  # messages handed over and not yet handled
MAX_MEDIA_WAITING: Final = 4 * MAX_MEDIA  # bytes likewise
BEAT = 3.0  # seconds between two round trips through the comm's loop
QUIET_BEATS: Final = 10


class WidgetSend(Protocol):
    """Sends one envelope to every page, with binary buffers if there are any: ``Widget.send``."""

    def __call__(self, content: dict[str, Any], buffers: Sequence[bytes] | None = None, /) -> object:
        """Send it."""
        ...


class CommCarrier:
    """The way to one page; see `rtclab.signaling.carrier.MediaCarrier`."""

    kind: Final = "comm"
    unsent: Final = 0  # the comm does not say

    def __init__(self, hub: CommHub, client: str) -> None:
        self.client = client
        self.heard = 0
        self.quiet_beats = 0
        self.endpoint: Endpoint | None = None
        self._hub: CommHub | None = hub

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the page."""
        if self._hub is not None:
            self._hub._send(self, {"message": message})

    def send_media(self, data: bytes) -> None:
        """Send media to the page."""
        if self._hub is not None:
            self._hub._send(self, {"media": True}, [data])

    def close(self) -> None:
        """Forget the page, from the room's side."""
        if self._hub is not None:
            self._hub._forget(self)

    def lose(self, reason: str) -> None:
        """Forget the page and tell the room once."""
        endpoint = self.endpoint
        self.close()
        if endpoint is not None:
            endpoint.lost(reason)

    def _detach(self) -> None:
        self._hub = self.endpoint = None


class CommHub:
    """Every page of one widget, as clients of a room.

    Create it where the comm's handlers run: in the cell that makes the widget.

    Parameters
    ----------
    widget_send : WidgetSend
        For instance ``widget.send``; called on the engine's thread.
    connect : callable
        The room's side, called on the engine's thread.
    """

    def __init__(self, widget_send: WidgetSend, connect: Connect) -> None:
        self._engine = get_engine()
        self._widget_send = widget_send
        self._connect = connect
        self._clients: dict[str, CommCarrier] = {}
        self._counter = itertools.count()
        self._lock = threading.Lock()
        self._waiting = self._media_waiting = 0
        self._beating = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.dropped = 0
        try:
            self._comm_loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel around: a script or a test
            self._comm_loop = self._engine.loop

    @property
    def clients(self) -> tuple[str, ...]:
        """The ids of the pages connected now."""
        return tuple(self._clients)

    def receive(self, content: object, buffers: Sequence[bytes | memoryview] = ()) -> None:
        """Take one comm message, on any thread; what is no envelope, or too much, is dropped and counted."""
        size = sum(len(buffer) for buffer in buffers)
        with self._lock:
            full = self._waiting >= MAX_WAITING or self._media_waiting + size > MAX_MEDIA_WAITING
            if self._closed or full:
                self.dropped += 1
                return
            self._waiting += 1
            self._media_waiting += size
        self._engine.call_soon(self._receive, content, [bytes(buffer) for buffer in buffers], size)

    def close(self) -> None:
        """Lose every page and take no more messages; on any thread, at once, as often as wanted."""
        with self._lock:
            self._closed = True
        self._engine.call_soon(self._close)

    # on the engine's thread

    def _receive(self, content: object, buffers: list[bytes], size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._media_waiting -= size
            closed = self._closed
        envelope = content if isinstance(content, dict) else {}
        client, message = envelope.get("client"), envelope.get("message")
        if closed or not isinstance(client, str) or not 0 < len(client) <= MAX_CLIENT_ID:
            self.dropped += 1
            return
        carrier = self._clients.get(client)
        if carrier is None and message is not None:
            carrier = self._open(client)
        if carrier is None or (message is None and not buffers):
            self.dropped += 1
            return
        carrier.heard = next(self._counter)
        carrier.quiet_beats = 0
        if carrier.endpoint is not None and message is not None:
            carrier.endpoint.receive(message)
        for data in buffers:
            if carrier.endpoint is not None:
                carrier.endpoint.receive_media(data)

    def _open(self, client: str) -> CommCarrier:
        if len(self._clients) >= MAX_CLIENTS:
            oldest = min(self._clients.values(), key=lambda carrier: (-carrier.quiet_beats, carrier.heard))
            oldest.lose(f"more than {MAX_CLIENTS} pages show this widget")
        carrier = self._clients[client] = CommCarrier(self, client)
        endpoint = self._connect(carrier)
        if client in self._clients:  # else the room closed it at once
            carrier.endpoint = endpoint
        if not self._beating:
            self._beating = True
            self._timer = self._engine.loop.call_later(BEAT, self._ask_for_beat)
        return carrier

    def _send(
        self, carrier: CommCarrier, content: dict[str, Any], buffers: Sequence[bytes] | None = None
    ) -> None:
        try:
            self._widget_send({"client": carrier.client, **content}, buffers)
        except Exception as error:  # the comm may fail in any way once its kernel or page goes
            # not from inside the room's own call
            self._engine.loop.call_soon(carrier.lose, f"the comm failed: {error}")

    def _forget(self, carrier: CommCarrier) -> None:
        if self._clients.get(carrier.client) is carrier:
            del self._clients[carrier.client]
        carrier._detach()

    def _ask_for_beat(self) -> None:
        try:
            self._comm_loop.call_soon_threadsafe(self._engine.call_soon, self._beat)
        except RuntimeError:  # that loop has been closed: nothing more can arrive
            self._beating = False
            for carrier in list(self._clients.values()):
                carrier.lose("the kernel's loop has ended")

    def _beat(self) -> None:
        for carrier in list(self._clients.values()):
            carrier.quiet_beats += 1
            if carrier.quiet_beats >= QUIET_BEATS:
                carrier.lose("the page has not been heard of for a while")
        self._beating = bool(self._clients)
        if self._beating:
            self._timer = self._engine.loop.call_later(BEAT, self._ask_for_beat)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for carrier in list(self._clients.values()):
            carrier.lose("the widget was closed")
