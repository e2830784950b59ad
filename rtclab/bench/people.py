"""Participants with encoders and decoders, in a process of their own: what an architecture is to them.

They publish test patterns and one of them watches all others, so what comes is told by the numbers in the
pictures. Asked over standard input: ``open``, ``flow``, ``measure``, ``gap``, ``resume``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ..comparison.recorder import Recorder
from ..comparison.talker import Talker
from ..comparison.trial import Plan
from ..engine import get_engine
from ..errors import Timeout
from ..measure import latency
from ..peers import Peer, RemoteTrack
from ..signaling.carrier import Carrier, Connect
from .processes import reply
from .room_server import LINE_LIMIT

WAYS = {"mesh": "direct", "relay": "room", "sfu": "room", "mcu": "mix"}
WAIT_S = 60.0
AFTERWARDS_S = 1.0  # frames of the new way until a gap is over
STOPPED_S = 0.5  # without a frame: told to stop


class _Line:
    """The room's end of a participant's signaling, as far as this process is concerned."""

    def __init__(self, carrier: Carrier, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrier, self._reader, self._writer = carrier, reader, writer
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            self._carrier.send(json.loads(line)["message"])
        self._carrier.close()

    def receive(self, message: object) -> None:
        self._writer.write(json.dumps({"client": "me", "message": message}).encode() + b"\n")

    def receive_media(self, data: bytes) -> None:
        raise AssertionError("these participants send RTP")

    def lost(self, reason: str) -> None:
        self._writer.close()


def door(port: int) -> Connect:
    """A way into the room of `room_server`, for one participant; opened at once."""
    reader, writer = get_engine().run(asyncio.open_connection("127.0.0.1", port, limit=LINE_LIMIT))
    return lambda carrier: _Line(carrier, reader, writer)


class People:
    """The participants of this process: those who publish, and one more who watches them all."""

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._viewer: Peer | None = None
        self._peers: list[Peer] = []
        self._talkers: list[Talker] = []
        self._tracks: list[RemoteTrack] = []
        self._plan: Plan | None = None

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the benchmark."""
        requests: dict[str, Callable[..., dict[str, Any]]] = {
            "open": self._open,
            "flow": self._flow,
            "measure": self._measure,
            "gap": self._gap,
            "resume": self._resume,
        }
        return requests[request.pop("do")](**request)

    def _open(self, port: int, people: int, size: list[int], fps: int) -> dict[str, Any]:
        plan = self._plan = Plan(people, 0.0, (size[0], size[1]), fps, False, 0)
        for place in range(people):
            talker = Talker(place, plan.size, fps, sound=False)
            peer = Peer(get_engine(), door(port), talker.name).join()
            peer.publish(talker)
            self._talkers.append(talker)
            self._peers.append(peer)
        self._viewer = Peer(get_engine(), door(port), "viewer").join()
        self._tracks = [self._seen(talker) for talker in self._talkers]
        return {}

    def _seen(self, talker: Talker) -> RemoteTrack:
        """Watch somebody; aiortc logs an error if the next offer comes while it still connects."""
        assert self._viewer is not None
        track = self._viewer.watch(talker.name, timeout=WAIT_S)
        track.next_frame(WAIT_S)
        return track

    def _flow(self, architecture: str) -> dict[str, Any]:
        """Wait until everybody is seen; in a mix whose rectangles have the size of the pictures."""
        assert self._plan is not None
        mixed = architecture == "mcu"
        tiles = self._plan.mix_tiles(len(self._talkers)) if mixed else []

        def set_up() -> None:
            self._recorder = Recorder()
            self._recorder.tiles = tuple(tiles)
            for place, track in enumerate(self._tracks):  # in a mix all of them get the same frames
                track.on_frame = None if mixed and place else self._recorder.picture

        self._await_way(architecture)
        get_engine().loop.call_soon_threadsafe(set_up)
        streams = {talker.stream for talker in self._talkers}
        _until(lambda: self._recorder.newest.keys() >= streams, f"nobody is seen in {architecture}")
        return {}

    def _measure(self, seconds: float) -> dict[str, Any]:
        """Pictures a second of the first track, and the latency of each frame that could be read.

        On a machine that has fallen behind it takes longer than `seconds`: until one could be read.
        """
        self._recorder.record(seconds)
        received, begin = self._tracks[0].received, time.monotonic()
        time.sleep(seconds)
        _until(lambda: bool(self._latencies()), "no picture comes whose number can be read")
        received, passed = self._tracks[0].received - received, time.monotonic() - begin
        self._recorder.stop()
        return {
            "fps": received / passed,
            "latencies_s": self._latencies(),
            "unread": self._recorder.unread,
        }

    def _latencies(self) -> list[float]:
        """Of each frame that was read while recording, in seconds."""
        return [
            float(value)
            for talker in self._talkers
            for value in latency(talker.sent, self._recorder.seen.get(talker.stream, []))[
                "latency_s"
            ].dropna()
        ]

    def _gap(self, architecture: str) -> dict[str, Any]:
        """The longest time without a frame, from now until the new way has gone well for a while."""
        begin = time.monotonic()
        self._await_way(architecture)
        time.sleep(AFTERWARDS_S)
        self._await_way(architecture)
        gaps = [
            after - before
            for track in self._tracks
            for before, after in pairwise(list(track.times))
            if after > begin
        ]
        return {"gap_s": max(gaps)}

    def _resume(self) -> dict[str, Any]:
        """Watch nobody until the first publisher has stopped; then how soon its picture is here."""
        publisher, name = self._peers[0], self._talkers[0].name
        for track in self._tracks:
            track.close()
        frames, since = -1, time.monotonic()
        deadline = since + WAIT_S
        while (now := time.monotonic()) < since + STOPPED_S:
            if (count := int(publisher.stats()["frames"].sum())) != frames:
                frames, since = count, now
            if now > deadline:
                raise Timeout(f"{name} sends on although nobody watches", "first frame")
            time.sleep(0.02)
        begin = time.monotonic()
        first = self._seen(self._talkers[0])
        resumed_s = first.times[0] - begin
        self._tracks = [first, *(self._seen(talker) for talker in self._talkers[1:])]
        return {"resumed_s": resumed_s}

    def _await_way(self, architecture: str) -> None:
        way = WAYS[architecture]
        marks = [track.received for track in self._tracks]
        _until(
            lambda: all(
                track.via == way and track.received > mark
                for track, mark in zip(self._tracks, marks, strict=True)
            ),
            f"no picture comes in {architecture}",
        )


def _until(condition: Callable[[], bool], wrong: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise Timeout(f"{wrong} within {WAIT_S:g} s", "first frame")
        time.sleep(0.01)


def main() -> None:
    """Take part until standard input ends."""
    people = People()
    for line in sys.stdin:
        try:
            reply(people.handle(json.loads(line)))
        except Exception as error:  # the benchmark says it and ends
            reply({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
