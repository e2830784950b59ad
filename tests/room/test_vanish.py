"""A participant whose process is killed disappears from every architecture; the others stay."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import rtclab
from http_tools import serving
from waiting import until

ARCHITECTURES = ("mesh", "relay", "sfu", "mcu")
GONE_WITHIN_S = 15  # a lost place is kept for 12 s
SCRIPT = Path(__file__).parents[1] / "remote_peer.py"


class Scene:
    """A room of one architecture with ann, ben, and mallory in another process."""

    def __init__(self, stack: ExitStack, architecture: str) -> None:
        self.architecture = architecture
        self.room = stack.enter_context(rtclab.Room(architecture=architecture, size=(320, 180), fps=10))
        server = stack.enter_context(serving(self.room))
        self.ann, self.ben = self.room.join("ann"), self.room.join("ben")
        self.ann.publish(rtclab.TestPattern(160, 90, fps=10, stream=1))
        url = f"ws://127.0.0.1:{server.port}/signaling"
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), url, "mallory", "2", "ann"], stdout=subprocess.PIPE, text=True
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        self.stays = self.ben.watch("ann", timeout=30)
        self.goes = self.ben.watch("mallory", timeout=60)

    def ready(self) -> None:
        """Wait until everybody sees everybody."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "there\n"
        for track in (self.stays, self.goes):
            before = track.received
            until(lambda track=track, before=before: track.received > before + 3, f"no {track}", 30)  # type: ignore[misc]

    def gone(self) -> bool:
        """Whether nothing is left of mallory."""
        if any(participant.name == "mallory" for participant in self.room.participants):
            return False
        if self.architecture == "mcu":  # the mix goes on without it
            return not self.goes.ended
        rows = self.ben.stats()
        return self.goes.ended and "mallory" not in set(rows["connection"]) | set(rows["participant"])

    def told_after(self, killed: float) -> list[float]:
        """How long after that the room has told ben of tracks without mallory's, in seconds."""
        begin = killed - self.room._server._opened
        return [
            entry.time_s - begin
            for entry in self.room.signaling
            if (entry.type, entry.direction, entry.participant) == ("tracks", "out", "ben")
            and entry.time_s > begin
            and "mallory" not in str(entry.message)
        ]


@pytest.mark.timeout(180)
def test_a_killed_process_vanishes_from_every_architecture() -> None:
    with ExitStack() as stack:
        scenes = [Scene(stack, name) for name in ARCHITECTURES]
        for scene in scenes:
            scene.ready()
        killed = time.monotonic()
        for scene in scenes:
            scene.process.kill()
        for scene in scenes:
            until(scene.gone, f"it is still in the {scene.architecture}")
            until(lambda scene=scene: scene.told_after(killed), "ben is not told")  # type: ignore[misc]
            assert scene.told_after(killed)[0] < GONE_WITHIN_S, scene.architecture
        marks = [scene.stays.received for scene in scenes]
        for scene, mark in zip(scenes, marks, strict=True):
            until(
                lambda scene=scene, mark=mark: scene.stays.received > mark + 20,  # type: ignore[misc]
                f"{scene.architecture} stands",
            )
            assert not scene.stays.ended
