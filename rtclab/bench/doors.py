"""How the load's clients signal: to a room, or to anything else that speaks its messages, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import Any, Protocol

from ..errors import RtclabError
from ..signaling.messages import VERSION
from .offers import Local, Remote, Sending, describe, read
from .room_server import LINE_LIMIT

TIMEOUT_S = 15.0


class Door(Protocol):
    """A way into a media server."""

    async def publish(self, local: Local, sending: Sending, kinds: list[str]) -> Remote:
        """Offer to send one stream of each kind, and return what the server answers."""
        ...

    async def watch(self, local: Local, kinds: list[str]) -> Remote:
        """Ask for one stream of each kind of the publisher, and return the server's side."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...


class RoomDoor:
    """Signaling to `rtclab.bench.room_server`, or to `relay_server`, over one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, port: int) -> RoomDoor:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=LINE_LIMIT))

    async def publish(self, local: Local, sending: Sending, kinds: list[str]) -> Remote:
        """Join and offer to send."""
        client, _ = await self._join("participant", "publisher")
        tracks = [
            {"mid": str(index), "direction": "send", "source": "camera" if kind == "video" else "microphone"}
            for index, kind in enumerate(kinds)
        ]
        return await self._offer(client, describe(local, kinds, sending=sending), tracks)

    async def watch(self, local: Local, kinds: list[str]) -> Remote:
        """Join and offer to receive what the publisher sends."""
        client, welcome = await self._join("viewer", None)
        offered = {track["kind"]: track["id"] for track in welcome["tracks"]}
        if not offered.keys() >= set(kinds):
            raise RtclabError("there is nothing to watch in the room under test")
        tracks = [
            {"mid": str(index), "direction": "receive", "track": offered[kind]}
            for index, kind in enumerate(kinds)
        ]
        return await self._offer(client, describe(local, kinds), tracks)

    async def close(self) -> None:
        """Hang up; the room notices that its clients are gone."""
        self._listening.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._listening

    async def _join(self, role: str, name: str | None) -> tuple[str, dict[str, Any]]:
        number = next(self._numbers)
        client = f"c{number}"
        join = {"type": "join", "id": number, "version": VERSION, "name": name, "role": role}
        return client, await self._request(client, {**join, "session": None, "agent": "rtclab bench"})

    async def _offer(self, client: str, sdp: str, tracks: list[dict[str, Any]]) -> Remote:
        offer = {"type": "offer", "id": next(self._numbers), "sdp": sdp, "tracks": tracks}
        answer = await self._request(client, offer)
        return read(answer["sdp"])

    async def _request(self, client: str, message: dict[str, Any]) -> dict[str, Any]:
        future = self._replies[message["id"]] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"client": client, "message": message}).encode() + b"\n")
        try:
            answer = await asyncio.wait_for(future, TIMEOUT_S)
        except TimeoutError:
            raise RtclabError(f"the server did not answer a {message['type']} in {TIMEOUT_S:g} s") from None
        finally:
            del self._replies[message["id"]]
        if answer["type"] == "error":
            raise RtclabError(f"the server refused a {message['type']}: {answer['message']}")
        return answer

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            message = json.loads(line)["message"]
            waiting = self._replies.get(message.get("re"))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
