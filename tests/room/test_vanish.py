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
GONE_WITHIN_S = 15
SHORT_S = 2  # a gap that a busy machine may make
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


@pytest.mark.timeout(180)
def test_a_killed_process_vanishes_from_every_architecture() -> None:
    with ExitStack() as stack:
        scenes = [Scene(stack, name) for name in ARCHITECTURES]
        for scene in scenes:
            scene.ready()
        killed = time.monotonic()
        for scene in scenes:
            scene.process.kill()
        marks = [scene.stays.received for scene in scenes]
        for scene in scenes:
            until(scene.gone, f"it is still in the {scene.architecture}", GONE_WITHIN_S)
        for scene, mark in zip(scenes, marks, strict=True):
            assert scene.stays.received > mark + 20
            assert not scene.stays.ended
            assert all(gap.seconds < SHORT_S for gap in scene.stays.gaps if gap.start_s > killed)
