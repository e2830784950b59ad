"""The carrier of headless peers: two bounded queues in this process.

Messages pass through JSON text, so that a headless peer cannot say what a browser could not. Each message is
delivered from a turn of the loop of its own, never inside the sender's call. Room and client may live on
different loops, each on a thread of its own: what one calls is carried out on the other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..errors import Closed, SignalingError
from .carrier import Connect, Endpoint

MAX_WAITING: Final = 1000  # messages in each direction, and binary messages of the tunnel


def open(connect: Connect, room_loop: asyncio.AbstractEventLoop | None = None) -> InProcessCarrier:
    """Connect one client, whose loop is the running one, to a room, by default on the same loop."""
    client_loop = asyncio.get_running_loop()
    carrier = InProcessCarrier(client_loop, room_loop or client_loop)
    if carrier.one_loop:
        carrier._attach(connect)
    else:
        carrier._call(carrier._room_loop, carrier._attach, connect)
    return carrier


class InProcessCarrier:
    """Both ends of the connection of one client.

    The room uses `send` and `close` (see `rtclab.signaling.carrier.Carrier`), the client the rest.
    """

    kind: Final = "in-process"

    def __init__(self, client_loop: asyncio.AbstractEventLoop, room_loop: asyncio.AbstractEventLoop) -> None:
        self._client_loop, self._room_loop = client_loop, room_loop
        self._ending = threading.Lock()
        self._endpoint: Endpoint | None = None
        self._to_room: deque[str] = deque()
        self._to_client: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._media_to_room: deque[bytes] = deque()
        self._media_to_client: deque[bytes] = deque()
        self._media_arrived = asyncio.Event()
        self._end: str | None = None

    @property
    def one_loop(self) -> bool:
        """Whether room and client share a loop."""
        return self._client_loop is self._room_loop

    @property
    def closed(self) -> bool:
        """Whether either side has ended it."""
        return self._end is not None

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the client; one that lets 1000 pile up is lost."""
        if self.closed:
            return
        if len(self._to_client) >= MAX_WAITING:
            self._to_client.clear()
            self.lose("the client does not read its messages")
            return
        self._to_client.append(json.dumps(message, allow_nan=False))
        self._call(self._client_loop, self._arrived.set)

    @property
    def unsent(self) -> int:
        """Bytes of media that the client has not taken."""
        return sum(map(len, self._media_to_client))

    def send_media(self, data: bytes) -> None:
        """Send media to the client, unless 1000 wait already."""
        if not self.closed and len(self._media_to_client) < MAX_WAITING:
            self._media_to_client.append(data)
            self._call(self._client_loop, self._media_arrived.set)

    def close(self) -> None:
        """End it from the room's side; the client still gets what was sent before."""
        self._to_room.clear()
        self._finish("the room closed the connection")

    def send_to_room(self, message: dict[str, Any]) -> None:
        """Send a message to the room.

        Raises
        ------
        rtclab.errors.Closed
            The connection has ended.
        rtclab.errors.SignalingError
            The message is not JSON, or 1000 are waiting already.
        """
        if self.closed:
            raise Closed(f"no message can be sent: {self._end}")
        try:
            text = json.dumps(message, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SignalingError("bad_message", f"a message must be JSON: {error}") from None
        if len(self._to_room) >= MAX_WAITING:
            raise SignalingError("too_large", f"{MAX_WAITING} messages are waiting for the room already")
        self._to_room.append(text)
        self._call(self._room_loop, self._deliver)

    async def receive(self) -> dict[str, Any]:
        """Wait for the next message of the room.

        Raises
        ------
        rtclab.errors.Closed
            The connection has ended and everything sent before was received.
        """
        while True:
            end = self._end  # looked at first: what was sent before the end is there already
            if self._to_client:
                break
            if end is not None:
                raise Closed(end)
            self._arrived.clear()
            await self._arrived.wait()
        message: dict[str, Any] = json.loads(self._to_client.popleft())
        return message

    def send_media_to_room(self, data: bytes) -> None:
        """Send media to the room, unless 1000 wait already or the connection has ended."""
        if not self.closed and len(self._media_to_room) < MAX_WAITING:
            self._media_to_room.append(data)
            self._call(self._room_loop, self._deliver_media)

    async def receive_media(self) -> bytes:
        """Wait for the room's next binary message.

        Raises
        ------
        rtclab.errors.Closed
            The connection has ended.
        """
        while not self._media_to_client:
            if self._end is not None:
                raise Closed(self._end)
            self._media_arrived.clear()
            await self._media_arrived.wait()
        return self._media_to_client.popleft()

    def lose(self, reason: str = "the client is gone") -> None:
        """End it from the client's side without a word, as a closed laptop does; the room is told once."""
        if self._finish(reason):
            self._call(self._room_loop, self._tell_lost, reason)

    def _attach(self, connect: Connect) -> None:
        self._endpoint = connect(self)

    def _deliver(self) -> None:
        if self._to_room and self._endpoint is not None:
            self._endpoint.receive(json.loads(self._to_room.popleft()))

    def _deliver_media(self) -> None:
        if self._media_to_room and self._endpoint is not None:
            self._endpoint.receive_media(self._media_to_room.popleft())

    def _tell_lost(self, reason: str) -> None:
        if self._endpoint is not None:
            self._endpoint.lost(reason)

    def _finish(self, reason: str) -> bool:
        with self._ending:  # both ends may do so at once
            if self.closed:
                return False
            self._end = reason
        self._call(self._client_loop, self._arrived.set)
        self._call(self._client_loop, self._media_arrived.set)
        return True

    def _call(self, loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
        """Call it from a later turn of `loop`; nothing happens when that loop is closed."""
        with contextlib.suppress(RuntimeError):
            (loop.call_soon if self.one_loop else loop.call_soon_threadsafe)(function, *args)
