"""What a headless peer receives: remote tracks that hand out NumPy arrays.

aiortc decodes; an `Inlet` per receiver reads every frame, since an unread aiortc track grows without bound,
and hands it to the `RemoteTrack` objects that want it. Those keep the newest few frames and count what they
drop. A frame is converted to RGB only when somebody asks for it, in the thread that asks. When the room
changes how it forwards, a `RemoteTrack` goes over to another inlet with the first frame that comes there.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray
from PIL import Image

from ..engine import Engine
from ..errors import Closed, Timeout

KEPT_TIMES = 4096
KEPT_GAPS = 256
GAP_S = 0.5
SAID_BEFORE_S = 1.0  # frames are still on their way when the room says why there will be no more
ACTIVE_S = 1.0

log = logging.getLogger("rtclab.peers")


class Gap(NamedTuple):
    """A time without frames: its start on the monotonic clock, its length, and the reason the room gave."""

    start_s: float
    seconds: float
    reason: str | None


class Inlet:
    """Reads one receiver for as long as it lives.

    Attributes
    ----------
    frames : int
        Frames decoded so far.
    """

    def __init__(self) -> None:
        self.listeners: set[RemoteTrack] = set()
        self.frames = 0
        self._decoded: float | None = None
        self.on_first_frame: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, track: MediaStreamTrack) -> None:
        """Begin to read `track`, once."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._read(track))

    def active(self, now: float) -> bool:
        """Whether a frame was decoded in the second before `now` (loop time)."""
        return self._decoded is not None and now - self._decoded <= ACTIVE_S

    def release(self) -> None:
        """Give no more frames to anybody."""
        for listener in list(self.listeners):
            listener._unbind(self)

    async def stop(self) -> None:
        """End reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self, track: MediaStreamTrack) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if self.on_first_frame is not None:
                self.on_first_frame()
                self.on_first_frame = None
            self.frames += 1
            self._decoded = now = loop.time()
            for listener in list(self.listeners):
                listener._push(frame, now, self)


class Snapshot:
    """One picture, shown by a notebook as an image.

    Attributes
    ----------
    array : numpy.ndarray
        (height, width, 3) uint8 RGB.
    image : PIL.Image.Image
        The same.
    """

    def __init__(self, array: NDArray[np.uint8], title: str) -> None:
        self.array = array
        self.title = title

    @property
    def image(self) -> Image.Image:
        """The picture as a Pillow image."""
        return Image.fromarray(self.array)

    def save(self, path: str) -> None:
        """Write it to a file; the name's ending picks the format."""
        self.image.save(path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"<Snapshot of {self.title}, {self.array.shape[1]}x{self.array.shape[0]}>"


class RemoteTrack:
    """A track of another participant, as it arrives. Made by `Peer.watch`; usable from any thread.

    It lives as long as the participant publishes: through the room, directly in a mesh, or inside the mix
    of an MCU.

    Attributes
    ----------
    id, kind, source, participant : str
        Which track: its id, ``"video"`` or ``"audio"``, where it comes from and whose it is. Begun in an
        MCU, which does not list it, its id is the mix's until its own is known.
    via : str
        The way of the newest frame: ``"room"``, ``"direct"`` or ``"mix"``.
    gaps : collections.deque of Gap
        The latest times of more than 0.5 s without frames: (start on the monotonic clock, seconds, reason
        that the room gave).
    on_frame : callable, optional
        Called on the client's loop with every decoded frame (av.VideoFrame or av.AudioFrame) and its time
        on the monotonic clock, before any is dropped. It must be quick; if it raises, it is called no more.
    received, dropped : int
        Frames that arrived, and those of them that nobody took in time.
    times : collections.deque of float
        When the latest frames arrived, in seconds on the engine's clock.
    """

    def __init__(
        self,
        engine: Engine,
        description: dict[str, Any],
        phase: Callable[[], str],
        on_close: Callable[[RemoteTrack], Coroutine[Any, Any, None]],
        queue: int = 2,
    ) -> None:
        self.id: str = description["id"]
        self.kind: str = description["kind"]
        self.source: str = description.get("source") or ""
        self.participant: str = description["participant"]["name"]
        self.received = 0
        self.dropped = 0
        self.times: deque[float] = deque(maxlen=KEPT_TIMES)
        self.via = "room"
        self.gaps: deque[Gap] = deque(maxlen=KEPT_GAPS)
        self.on_frame: Callable[[Any, float], None] | None = None
        self._from: Inlet | None = None
        self._coming: tuple[Inlet, str] | None = None
        self._said: tuple[str, float] | None = None  # the newest reason for silence, and when
        self._engine = engine
        self._phase = phase
        self._on_close = on_close
        self._queue: deque[Any] = deque(maxlen=queue)
        self._newest: Any = None
        self._arrived = asyncio.Event()
        self._end: str | None = None

    def __repr__(self) -> str:
        size = ""
        newest = self._newest
        if isinstance(newest, av.VideoFrame):
            size = f" {newest.width}x{newest.height}"
        state = self._end or "live"
        return f"<RemoteTrack {self.kind} of {self.participant!r}{size}, {self.received} frames, {state}>"

    @property
    def ended(self) -> bool:
        """Whether no more frames will come."""
        return self._end is not None

    def next_frame(self, timeout: float = 5) -> NDArray[Any]:
        """Wait for the next frame that was not handed out yet.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Returns
        -------
        numpy.ndarray
            Video: (height, width, 3) uint8 RGB. Audio: (samples, channels) int16 at 48 kHz.

        Raises
        ------
        rtclab.errors.Timeout
            Nothing came; its `phase` says how far the connection is.
        rtclab.errors.Closed
            The track has ended and its last frame was handed out.
        """
        return _array(self._engine.run(self._next(timeout)))

    async def anext_frame(self, timeout: float = 5) -> NDArray[Any]:
        """`next_frame` for coroutines, on any loop."""
        return _array(await self._engine.wait(self._next(timeout)))

    def frames(self, timeout: float = 5) -> Frames:
        """All frames from now on, for `for` and `async for`, until the track ends.

        A slow consumer misses frames (see `dropped`); it never falls behind.
        """
        return Frames(self, timeout)

    def latest(self) -> NDArray[Any] | None:
        """The newest frame that arrived, whether handed out or not; None before the first."""
        newest = self._newest
        return None if newest is None else _array(newest)

    def snapshot(self, timeout: float = 5) -> Snapshot:
        """The newest picture, waiting for the first one if need be; a notebook shows it.

        Raises
        ------
        TypeError
            The track has no picture: it is audio.
        rtclab.errors.Timeout, rtclab.errors.Closed
            As `next_frame`.
        """
        if self.kind != "video":
            raise TypeError("sound has no snapshot")
        array = self.latest()
        return Snapshot(self.next_frame(timeout) if array is None else array, self.participant)

    def close(self) -> None:
        """Stop watching."""
        self._engine.run(self._on_close(self))

    async def aclose(self) -> None:
        """`close` for coroutines, on any loop."""
        await self._engine.wait(self._on_close(self))

    # on the engine's loop

    def _bind(self, inlet: Inlet, via: str) -> None:
        """Expect frames at `inlet`; those of the former one are taken until the first has come there."""
        if self._coming is not None:
            self._unbind(self._coming[0])
        if self._from in (None, inlet):
            self._from, self.via = inlet, via
        else:
            self._coming = inlet, via
        inlet.listeners.add(self)

    def _unbind(self, inlet: Inlet) -> None:
        inlet.listeners.discard(self)
        if self._coming is not None and self._coming[0] is inlet:
            self._coming = None
        elif self._from is inlet:
            self._from = None
            if self._coming is not None:
                (self._from, self.via), self._coming = self._coming, None

    def _explain(self, reason: str, now: float) -> None:
        """Note why the room sends nothing."""
        self._said = reason, now

    def _push(self, frame: Any, now: float, inlet: Inlet) -> None:
        if self._coming is not None and self._coming[0] is inlet and self._from is not None:
            self._unbind(self._from)
        if self.times and now - self.times[-1] > GAP_S:
            begin = self.times[-1]
            said = self._said[0] if self._said is not None and self._said[1] > begin - SAID_BEFORE_S else None
            self.gaps.append(Gap(begin, now - begin, said))
        if self.on_frame is not None:
            try:
                self.on_frame(frame, now)
            except Exception:
                self.on_frame = None
                log.exception("on_frame of %r failed and is not called any more", self)
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(frame)
        self._newest = frame
        self.received += 1
        self.times.append(now)
        self._arrived.set()

    def _finish(self, reason: str) -> None:
        if self._end is None:
            self._end = reason
            self._arrived.set()
            while self._from is not None:  # nothing is coming without a former one
                self._unbind(self._from)

    async def _next(self, timeout: float) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not self._queue:
            if self._end is not None:
                raise Closed(f"no more {self.kind} of {self.participant!r}: {self._end}")
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), deadline - loop.time())
            except asyncio.TimeoutError:
                raise self._late(timeout) from None
        return self._queue.popleft()

    def _late(self, timeout: float) -> Timeout:
        phase = self._phase()
        if phase != "first frame":
            hint = f"the connection is still in its {phase} phase"
        elif self.received:
            hint = f"it stopped after {self.received} frames; look at room.stats() for the reason"
        else:
            hint = "the connection is up but nothing was forwarded yet; look at room.stats() for the reason"
        return Timeout(f"no {self.kind} of {self.participant!r} within {timeout:g} s: {hint}", phase)


class Frames:
    """The frames of one track, one after the other."""

    def __init__(self, track: RemoteTrack, timeout: float) -> None:
        self._track, self._timeout = track, timeout

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self

    def __next__(self) -> NDArray[Any]:
        try:
            return self._track.next_frame(self._timeout)
        except Closed:
            raise StopIteration from None

    def __aiter__(self) -> AsyncIterator[NDArray[Any]]:
        return self

    async def __anext__(self) -> NDArray[Any]:
        try:
            return await self._track.anext_frame(self._timeout)
        except Closed:
            raise StopAsyncIteration from None


def _array(frame: Any) -> NDArray[Any]:
    if isinstance(frame, av.VideoFrame):
        return frame.to_ndarray(format="rgb24")
    samples = frame.to_ndarray()
    return samples.reshape(-1, frame.layout.nb_channels) if frame.format.is_packed else samples.T
