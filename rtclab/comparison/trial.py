"""One architecture, measured: a room of its own, and participants on another engine who all watch each other.

The last participant comes when the others see each other already: that is when the time to the first frame is
taken. When all pictures flow, and what piled up while everybody joined has drained, counters are read, a
while passes, and they are read again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..engine import Engine, get_engine
from ..errors import Timeout
from ..forwarding.architecture import named
from ..mixing.layouts import Rect, Tile, fit, grid
from ..peers import Peer
from ..room import Room
from .recorder import Recorder
from .talker import NAMES, Talker

SETTLE_S = 1.0  # without anybody lagging, so that what joining caused is not measured
SETTLE_TIMEOUT_S = 10.0  # a machine that is too slow lags for ever: then that is what is measured
LAG_S = 0.15  # beyond the frame that a receiver holds until the next one begins
FLOW_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Plan:
    """What a comparison does in each architecture.

    Attributes
    ----------
    participants : int
        How many.
    seconds : float
        How long is measured.
    size : tuple of int
        Width and height of each picture.
    fps : int
        Pictures a second.
    sound : bool
        Whether they can be heard, too.
    mix_bitrate : int
        Bits a second of a mixed picture.
    """

    participants: int
    seconds: float
    size: tuple[int, int]
    fps: int
    sound: bool
    mix_bitrate: int

    @property
    def mix_size(self) -> tuple[int, int]:
        """Width and height of a mix in which each picture has its own size."""
        columns = math.ceil(math.sqrt(self.participants))
        return self.size[0] * columns, self.size[1] * math.ceil(self.participants / columns)

    def mix_rects(self, pictures: int) -> list[Rect]:
        """The rectangles of so many pictures in it."""
        rects = grid([Tile(name, name) for name in NAMES[:pictures]], self.mix_size)
        return [rect for rect in rects if rect is not None]

    def mix_tiles(self, pictures: int) -> list[Rect]:
        """Where the pictures are in these."""
        return [fit(self.size, rect) for rect in self.mix_rects(pictures)]


@dataclass(frozen=True)
class Snapshot:
    """Counters at one moment, and when each was read (monotonic seconds): a busy machine takes its time.

    Attributes
    ----------
    peers : pandas.DataFrame
        `Peer.stats` of everybody, with a column ``name``.
    room : pandas.DataFrame
        `Room.stats`.
    cpu_s, peers_cpu_s : float
        CPU seconds that the server and the participants' engine have used; codecs of participants run apart.
    """

    peers: pd.DataFrame
    peers_at: float
    room: pd.DataFrame
    room_at: float
    cpu_s: float
    peers_cpu_s: float
    cpu_at: float


@dataclass(frozen=True)
class Recording:
    """All that was taken down in one architecture.

    Attributes
    ----------
    architecture : str
        Its name.
    plan : Plan
        What was to be done.
    talkers : list of Talker
        What was published, in order; `Talker.sent` says when.
    recorders : dict of str to Recorder
        What each participant saw and heard.
    mixed : bool
        Whether the room mixes.
    joined_s : float
        When the last participant began to join.
    begin, end : Snapshot
        Counters before and after.
    """

    architecture: str
    plan: Plan
    talkers: list[Talker]
    recorders: dict[str, Recorder]
    mixed: bool
    joined_s: float
    begin: Snapshot
    end: Snapshot


def run(architecture: str, plan: Plan, say: Callable[[str], None], step: Callable[[], None]) -> Recording:
    """Run one architecture.

    Parameters
    ----------
    architecture : str
        Name of a registered one.
    plan : Plan
        What to do.
    say : callable
        Called with what begins now.
    step : callable
        Called after each second that was measured, and once when all pictures flow.

    Raises
    ------
    rtclab.errors.Timeout
        A picture did not come; the message says whose, and to whom.
    """
    engine = Engine()
    mix: dict[str, Any] = {}
    if named(architecture).mixed:
        mix = {"size": plan.mix_size, "fps": plan.fps, "bitrate": plan.mix_bitrate}
    try:
        with Room(f"compare {architecture}", architecture=architecture, video_codecs=("VP8",), **mix) as room:
            return _Trial(architecture, plan, room, engine).run(say, step)
    finally:
        engine.stop()


class _Trial:
    def __init__(self, architecture: str, plan: Plan, room: Room, engine: Engine) -> None:
        self.architecture, self.plan, self.room, self.engine = architecture, plan, room, engine
        self.mixed = named(architecture).mixed
        self.talkers = [Talker(place, plan.size, plan.fps, plan.sound) for place in range(plan.participants)]
        self.recorders = {talker.name: Recorder() for talker in self.talkers}
        self.peers: dict[str, Peer] = {}

    def run(self, say: Callable[[str], None], step: Callable[[], None]) -> Recording:
        plan = self.plan
        try:
            say(f"{self.architecture}: {plan.participants} join")
            first, newcomer = self.talkers[:-1], self.talkers[-1]
            for talker in first:
                self._join(talker)
                self.peers[talker.name].publish(talker)
            self._expect(len(first))
            self._watch([(viewer, talker) for viewer in first for talker in first if viewer is not talker])
            self._await_pictures(first, first)
            joined_s = time.monotonic()
            self._join(newcomer)
            self._watch([(newcomer, talker) for talker in first])
            self._await_pictures([newcomer], first)
            self.peers[newcomer.name].publish(newcomer)
            self._expect(plan.participants)
            self._watch([(viewer, newcomer) for viewer in first])
            self._await_pictures(self.talkers, self.talkers)
            self._settle()
            step()
            say(f"{self.architecture}: measuring")
            begin, end = self._measure(step)
        finally:
            self.engine.run(self._leave())
        return Recording(
            self.architecture, plan, self.talkers, self.recorders, self.mixed, joined_s, begin, end
        )

    def _join(self, talker: Talker) -> None:
        self.peers[talker.name] = self.room.join(talker.name, engine=self.engine)

    def _expect(self, pictures: int) -> None:
        """Tell the recorders where to look for so many pictures."""
        if self.mixed:
            for recorder in self.recorders.values():
                recorder.tiles = tuple(self.plan.mix_tiles(pictures))

    def _watch(self, pairs: Sequence[tuple[Talker, Talker]]) -> None:
        """Let each first of a pair watch the second, all viewers at once."""

        async def watch(viewer: Talker, talkers: list[Talker]) -> None:
            peer, recorder = self.peers[viewer.name], self.recorders[viewer.name]
            for talker in talkers:
                video = await peer.awatch(talker.name, "video")
                if not self.mixed or not recorder.watching:
                    video.on_frame = recorder.picture
                recorder.watching = True
                if self.plan.sound:
                    audio = await peer.awatch(talker.name, "audio")
                    if talker is self._heard_by(viewer):
                        audio.on_frame = recorder.hear

        async def watch_all() -> None:
            viewers = {viewer.name: viewer for viewer, _ in pairs}
            await asyncio.gather(
                *(
                    watch(viewer, [talker for other, talker in pairs if other is viewer])
                    for viewer in viewers.values()
                )
            )

        self.engine.run(watch_all())

    def _heard_by(self, viewer: Talker) -> Talker:
        """Whose sound a viewer records: everybody is heard by one, so it costs each the same."""
        return self.talkers[(self.talkers.index(viewer) + 1) % len(self.talkers)]

    def _await_pictures(self, viewers: Sequence[Talker], talkers: Sequence[Talker]) -> None:
        deadline = time.monotonic() + FLOW_TIMEOUT_S
        missing = [(viewer, talker) for viewer in viewers for talker in talkers if viewer is not talker]
        while missing:
            missing = [
                (viewer, talker)
                for viewer, talker in missing
                if talker.stream not in self.recorders[viewer.name].first
            ]
            if missing and time.monotonic() > deadline:
                whom = ", ".join(f"{talker.name} to {viewer.name}" for viewer, talker in missing)
                raise Timeout(
                    f"{self.architecture}: no readable picture came from {whom} within {FLOW_TIMEOUT_S:g} s; "
                    "is the machine busy? Try fewer participants, a lower fps, or sound=False",
                    "first frame",
                )
            time.sleep(0.02)

    def _settle(self) -> None:
        """Wait until pictures have come in time for a while; sockets may hold seconds of them at first."""
        now = time.monotonic()
        deadline, calm_since = now + SETTLE_TIMEOUT_S, now
        while now < deadline and now < calm_since + SETTLE_S:
            time.sleep(0.05)
            now = time.monotonic()
            if self._lag() > LAG_S + 1 / self.plan.fps:
                calm_since = now

    def _lag(self) -> float:
        """How late the latest of the newest pictures was, in seconds."""
        return max(
            came - talker.sent.get(number, came)
            for name, recorder in self.recorders.items()
            for talker in self.talkers
            if talker.name != name
            for number, came in [recorder.newest[talker.stream]]
        )

    def _measure(self, step: Callable[[], None]) -> tuple[Snapshot, Snapshot]:
        for recorder in self.recorders.values():
            self.engine.call_soon(recorder.record, self.plan.seconds)
        begin = self._snapshot()
        end_s = time.monotonic() + self.plan.seconds
        while (left := end_s - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            step()
        end = self._snapshot()
        for recorder in self.recorders.values():
            recorder.stop()
        return begin, end

    def _snapshot(self) -> Snapshot:
        async def peers() -> tuple[list[pd.DataFrame], float]:
            at = time.monotonic()
            return [(await peer.astats()).assign(name=name) for name, peer in self.peers.items()], at

        cpu_s, peers_cpu_s, cpu_at = self._server_cpu_s(), self.engine.cpu_s(), time.monotonic()
        stats, peers_at = self.engine.run(peers())
        room_at = time.monotonic()
        room = self.room.stats()
        everybody = pd.concat(stats, ignore_index=True)
        return Snapshot(everybody, peers_at, room, room_at, cpu_s, peers_cpu_s, cpu_at)

    def _server_cpu_s(self) -> float:
        """The engine's thread, and those that an architecture has of its own."""
        own = getattr(self.room._router.architecture, "cpu_s", None)
        return get_engine().cpu_s() + (own() if own is not None else 0.0)

    async def _leave(self) -> None:
        await asyncio.gather(*(peer.aleave() for peer in self.peers.values()), return_exceptions=True)
