"""From one feed to any number of senders.

A headless peer in a mesh sends the same pictures over several connections, each with an encoder of its own.
So a `Spread` reads a feed once, puts its frames on the client's timeline, and hands each to every `Outlet`
that is plugged in. An `Outlet` is the track that a sender keeps for its whole life, whatever is plugged
into it: aiortc ends a sender for good when its track ends, and polls 50 times a second when it has none.
An encoder that is slower than the feed misses frames, the oldest first; nothing queues up. All but the
first get copies: an encoder writes its time base and the kind of picture it wants into the frame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from .feeds import AUDIO_RATE, VIDEO_RATE, Borrowed, Feed

WAITING = {"video": 1, "audio": 10}  # frames kept for a busy encoder; a gap in the sound is heard
ACTIVE_S = 1.0


class Spread:
    """Reads one feed for all its outlets; begins when the first of them asks for a frame.

    Parameters
    ----------
    feed : Feed or Borrowed
        What is read.
    origin : float
        Loop time of pts 0, the same for all spreads whose frames go through one outlet.
    on_end : callable
        Called on the loop with the spread when the feed has ended by itself.
    """

    def __init__(self, feed: Feed | Borrowed, origin: float, on_end: Callable[[Spread], None]) -> None:
        self.feed = feed
        self.kind: str = feed.kind
        self.outlets: set[Outlet] = set()
        self._origin = origin
        self._on_end = on_end
        self._rate = VIDEO_RATE if feed.kind == "video" else AUDIO_RATE
        self._offset: int | None = None  # what puts the feed's pts on the client's timeline
        self._last = -1
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read; nothing happens the second time."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._read())

    def stop(self) -> None:
        """End the feed; its outlets are empty from now on."""
        self.feed.stop()
        for outlet in list(self.outlets):
            outlet.unplug()

    async def finished(self, timeout: float) -> None:
        """After `stop`: wait for the end of the feed's thread, at most `timeout` seconds."""
        await self.feed.finished(timeout)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self) -> None:
        while True:
            try:
                frame = await self.feed.recv()
            except MediaStreamError:
                break
            pts = self._stamp(frame)
            taken = False
            for outlet in self.outlets:
                taken |= outlet.put(frame, pts, taken)
        if self.outlets:  # else it was stopped
            self._on_end(self)

    def _stamp(self, frame: Any) -> int:
        """The pts of a frame on the timeline that all feeds of the client share."""
        if frame.pts is None or frame.time_base is None:
            pts = 0 if self._offset is None else self._last + 1 - self._offset
        else:
            base = Fraction(frame.time_base.numerator, frame.time_base.denominator)
            pts = round(frame.pts * base * self._rate)
        if self._offset is None:
            now = round((asyncio.get_running_loop().time() - self._origin) * self._rate)
            self._offset = max([now, *(outlet.last + 1 for outlet in self.outlets)]) - pts
        self._last = pts + self._offset
        return self._last


class Outlet(MediaStreamTrack):
    """The lasting track of a sender.

    Attributes
    ----------
    paused : bool
        Whether nothing is to be sent although something is plugged in; the sender encodes nothing then.
    frames : int
        Frames handed to the encoder so far.
    last : int
        pts of the newest of them; -1 before the first.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.frames = 0
        self.last = -1
        self.on_first_frame: Callable[[], None] | None = None
        self._spread: Spread | None = None
        self._asked = False
        self._paused = False
        self._base = Fraction(1, VIDEO_RATE if kind == "video" else AUDIO_RATE)
        self._kept: deque[tuple[Any, int, bool]] = deque(maxlen=WAITING[kind])
        self._arrived = asyncio.Event()
        self._handed: float | None = None

    @property
    def paused(self) -> bool:
        """Whether nothing is to be sent."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        if paused:
            self._kept.clear()

    def active(self, now: float) -> bool:
        """Whether a frame was handed to the encoder in the second before `now` (loop time)."""
        return self._handed is not None and now - self._handed <= ACTIVE_S

    def plug(self, spread: Spread) -> None:
        """Send the frames of `spread` from now on."""
        if spread is not self._spread:
            self.unplug()
            self._spread = spread
            spread.outlets.add(self)
        if self._asked:
            spread.start()

    def unplug(self) -> None:
        """Send nothing from now on."""
        spread, self._spread = self._spread, None
        self._kept.clear()
        if spread is not None:
            spread.outlets.discard(self)

    def put(self, frame: Any, pts: int, shared: bool) -> bool:
        """Take a frame, to be copied if it is `shared`; not one that does not follow the last in time."""
        wanted = not self._paused and pts > self.last
        if wanted:
            self._kept.append((frame, pts, shared))
            self._arrived.set()
        return wanted

    async def recv(self) -> Any:
        """The next frame of whatever is plugged in."""
        self._asked = True
        if self._spread is not None:
            self._spread.start()
        while not self._kept:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        frame, pts, shared = self._kept.popleft()
        if shared:
            frame = _copy(frame)
        frame.pts, frame.time_base = pts, self._base
        self.frames += 1
        self.last = pts
        self._handed = asyncio.get_running_loop().time()
        if self.on_first_frame is not None:
            self.on_first_frame()
            self.on_first_frame = None
        return frame

    def stop(self) -> None:
        """End the track."""
        super().stop()
        self.unplug()
        self._arrived.set()


def _copy(frame: Any) -> Any:
    """The same picture or sound in a frame of its own; a packet, which nobody writes to, stays itself."""
    if isinstance(frame, av.VideoFrame):
        copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
        planes = list(zip(copy.planes, frame.planes, strict=True))
        if all(mine.line_size == theirs.line_size for mine, theirs in planes):
            for mine, theirs in planes:
                mine.update(memoryview(theirs))  # type: ignore[arg-type]
            return copy
        return av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
    if isinstance(frame, av.AudioFrame):
        sound = av.AudioFrame.from_ndarray(
            frame.to_ndarray(), format=frame.format.name, layout=frame.layout.name
        )
        sound.sample_rate = frame.sample_rate
        return sound
    return frame
