"""Media in real time: from something that is read in a worker thread to the track of a sender.

A `Reader` produces frames with their presentation time and may block; a `Feed` is the aiortc track that
reads it in a thread of its own and releases each frame when it is due. Due times are counted from the start
of the source, so they do not drift; a reader that is late is asked for the frame that is due now, so
nothing is sent in a burst. Who sends the frames on is the business of `rtclab.peers.outlets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from ..errors import RtclabError, SourceError

VIDEO_RATE, AUDIO_RATE = 90_000, 48_000  # ticks per second of pts and RTP timestamp


class Reader(Protocol):
    """What a feed reads: called in one worker thread, never twice at once."""

    def due(self, elapsed: float) -> float:
        """When to call `read` next, in seconds since the start; `elapsed` is now. Quick, never blocks."""
        ...

    def read(self, elapsed: float) -> tuple[float, av.VideoFrame | av.AudioFrame] | None:
        """The next frame and its time since the start, in seconds and about `elapsed`; None at the end."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Clock:
    """The start that the feeds of one source share, so that sound and picture stay together."""

    def __init__(self) -> None:
        self._start: float | None = None

    def elapsed(self, now: float) -> float:
        """Seconds since the first call."""
        if self._start is None:
            self._start = now
        return now - self._start


class Feed(MediaStreamTrack):
    """A track that paces a reader.

    Attributes
    ----------
    error : rtclab.errors.RtclabError or None
        Why it ended, unless the reader just had no more.
    on_frame : callable, optional
        Called with the time of each frame (seconds since the start) at the moment it is released.
    """

    def __init__(self, kind: str, reader: Reader, clock: Clock) -> None:
        super().__init__()
        self.kind = kind
        self.error: RtclabError | None = None
        self.on_frame: Callable[[float], None] | None = None
        self._reader = reader
        self._clock = clock
        self._worker = _Worker(reader)
        self._pending: asyncio.Future[Any] | None = None

    async def recv(self) -> av.VideoFrame | av.AudioFrame:
        """The next frame, when it is due."""
        loop = asyncio.get_running_loop()
        elapsed = self._clock.elapsed(loop.time())
        await asyncio.sleep(max(0.0, self._reader.due(elapsed) - elapsed))
        if self.readyState != "live":
            raise MediaStreamError
        self._pending = self._worker.read(self._clock.elapsed(loop.time()), loop)
        try:
            item = await self._pending
        except RtclabError as error:
            self.error = error
            item = None
        finally:
            self._pending = None
        if item is None:
            self.stop()
            raise MediaStreamError
        time_s, frame = item
        await asyncio.sleep(max(0.0, time_s - self._clock.elapsed(loop.time())))
        rate = VIDEO_RATE if self.kind == "video" else AUDIO_RATE
        frame.pts, frame.time_base = round(time_s * rate), Fraction(1, rate)
        if self.on_frame is not None:
            self.on_frame(time_s)
        return frame

    def stop(self) -> None:
        """End the track; the thread ends with the reader's current call."""
        super().stop()
        self._worker.stop()
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(None)

    async def finished(self, timeout: float) -> None:
        """After `stop`: wait for the end of the thread, at most `timeout` seconds if the reader hangs."""
        await self._worker.finished(timeout)


class _Worker:
    """A daemon thread that reads on request; a pool would keep the interpreter from exiting."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # one request at most, and the end
        self._requests: queue.SimpleQueue[tuple[float, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._ended = asyncio.Event()

    def read(self, elapsed: float, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._main, args=(loop,), name="rtclab-source", daemon=True
            )
            self._thread.start()
        self._requests.put((elapsed, future))
        return future

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._requests.put(None)
        if self._thread is None:
            self._reader.close()

    async def finished(self, timeout: float) -> None:
        if self._thread is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), timeout)

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        while (request := self._requests.get()) is not None:
            elapsed, future = request
            item, error = None, None
            try:
                item = self._reader.read(elapsed)
            except RtclabError as raised:
                error = raised
            except Exception as raised:
                error = SourceError(f"the source failed: {type(raised).__name__}: {raised}")
                error.__cause__ = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, future, item, error)
        with contextlib.suppress(
            Exception
        ):  # a generator may raise while it is closed; nobody is left to tell
            self._reader.close()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended.set)


def _settle(future: asyncio.Future[Any], item: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(item)
    else:
        future.set_exception(error)


class Borrowed(MediaStreamTrack):
    """An aiortc track that somebody else made, as a feed; stopping it ends even a wait without end."""

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = track.kind
        self.error: RtclabError | None = None
        self._track = track
        self._receiving: asyncio.Task[Any] | None = None

    async def recv(self) -> Any:
        """The next frame of the other track."""
        if self.readyState != "live":
            raise MediaStreamError
        self._receiving = asyncio.ensure_future(self._track.recv())
        try:
            return await self._receiving
        except asyncio.CancelledError:
            if self.readyState == "live":
                raise
            raise MediaStreamError from None
        except MediaStreamError:
            self.stop()
            raise
        except Exception as raised:
            self.error = SourceError(f"the track failed: {type(raised).__name__}: {raised}")
            self.stop()
            raise MediaStreamError from raised

    def stop(self) -> None:
        """Stop reading; the other track goes on."""
        super().stop()
        if self._receiving is not None and not self._receiving.done():
            self._receiving.cancel()

    async def finished(self, timeout: float) -> None:
        """Nothing is left to wait for."""
