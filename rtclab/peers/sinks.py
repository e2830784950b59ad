"""What a headless peer receives: remote tracks that hand out NumPy arrays.

aiortc decodes; an `Inlet` per receiver reads every frame, since an unread aiortc track grows without bound,
and hands it to the `RemoteTrack` objects that want it. Those keep the newest few frames and count what they
drop. A frame is converted to RGB only when somebody asks for it, in the thread that asks.
"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray
from PIL import Image

from ..engine import Engine
from ..errors import Closed, Timeout

KEPT_TIMES = 4096


class Inlet:
    """Reads one receiver for as long as it lives."""

    def __init__(self) -> None:
        self.listeners: set[RemoteTrack] = set()
        self.on_first_frame: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, track: MediaStreamTrack) -> None:
        """Begin to read `track`, once."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._read(track))

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
            for listener in self.listeners:
                listener._push(frame, loop.time())


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

    Attributes
    ----------
    id, kind, source, participant : str
        Which track: its id, ``"video"`` or ``"audio"``, where it comes from and whose it is.
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

    def _push(self, frame: Any, now: float) -> None:
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
