"""aiortc's `MediaRelay` under test: the usual way to serve many viewers in Python, which decodes and encodes.

It speaks the room's messages as far as the load needs them: ``join`` and ``offer``.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any
from unittest import mock

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamTrack

from ..errors import RtclabError
from ..signaling.carrier import Carrier
from .processes import answer_requests
from .room_server import listen


class Relay:
    """All clients of one process."""

    def __init__(self) -> None:
        self._relay = MediaRelay()
        self._published: list[MediaStreamTrack] = []
        self._connections: list[RTCPeerConnection] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, carrier: Carrier) -> _Client:
        """Take in a client."""
        return _Client(self, carrier)

    def answer(self, carrier: Carrier, message: dict[str, Any]) -> None:
        """Answer an offer in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._answer(carrier, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tracks(self) -> list[dict[str, Any]]:
        """What there is to receive."""
        return [{"id": track.kind, "kind": track.kind} for track in self._published]

    async def _answer(self, carrier: Carrier, message: dict[str, Any]) -> None:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.append(connection)
        receives = message["tracks"][0]["direction"] == "receive"
        if not receives:
            connection.on("track", self._published.append)
        await connection.setRemoteDescription(RTCSessionDescription(message["sdp"], "offer"))
        if receives:
            for track in self._published:
                connection.addTrack(self._relay.subscribe(track))
        with mock.patch.object(aioice.ice, "get_host_addresses", return_value=["127.0.0.1"]):
            await connection.setLocalDescription(await connection.createAnswer())
        carrier.send({"type": "answer", "re": message["id"], "sdp": connection.localDescription.sdp})

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(connection.close() for connection in self._connections))


class _Client:
    def __init__(self, relay: Relay, carrier: Carrier) -> None:
        self._relay = relay
        self._carrier = carrier

    def receive(self, message: Any) -> None:
        if message["type"] == "join":
            self._carrier.send({"type": "welcome", "re": message["id"], "tracks": self._relay.tracks()})
        elif message["type"] == "offer":
            self._relay.answer(self._carrier, message)

    def receive_media(self, data: bytes) -> None:
        """All media is RTP here."""

    def lost(self, reason: str) -> None:
        """The benchmark has ended."""


async def _main() -> None:
    relay = Relay()
    port = await listen(relay.connect)

    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "open":
            return {"port": port}
        if request["do"] == "figures":
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return {"user_s": usage.ru_utime, "system_s": usage.ru_stime}
        raise RtclabError(f"unknown request {request['do']!r}")

    await answer_requests(handle)
    await relay.close()


if __name__ == "__main__":
    asyncio.run(_main())
