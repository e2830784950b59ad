"""A headless participant in a process of its own: joins a served room, publishes, watches, until killed.

``python remote_peer.py ws://127.0.0.1:8000/signaling name stream someone`` prints a line when pictures of
`someone` arrive.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

import rtclab
from rtclab.engine import get_engine
from rtclab.signaling.carrier import Carrier


class Socket:
    """The room's end, as far as this process is concerned."""

    def __init__(self, carrier: Carrier, url: str) -> None:
        self._carrier = carrier
        self._waiting: deque[object] = deque()
        self._socket: WebSocketClientConnection | None = None
        self._task = asyncio.ensure_future(self._run(url))

    async def _run(self, url: str) -> None:
        self._socket = await websocket_connect(url)
        while self._waiting:
            self.receive(self._waiting.popleft())
        while (text := await self._socket.read_message()) is not None:
            self._carrier.send(json.loads(text))
        self._carrier.close()

    def receive(self, message: object) -> None:
        if self._socket is None:
            self._waiting.append(message)
        else:
            self._socket.write_message(json.dumps(message))

    def receive_media(self, data: bytes) -> None:
        raise AssertionError("a headless peer sends RTP")

    def lost(self, reason: str) -> None:
        if self._socket is not None:
            self._socket.close()


def main(url: str, name: str, stream: str, someone: str) -> None:
    """Take part until killed."""
    peer = rtclab.Peer(get_engine(), lambda carrier: Socket(carrier, url), name).join()
    peer.publish(rtclab.TestPattern(160, 90, fps=10, stream=int(stream)))
    video: Any = peer.watch(someone)
    video.next_frame(30)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    for _ in video.frames(timeout=600):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
