"""What a headless peer can publish: a test pattern, a file, a function or iterator, an aiortc track.

`as_source` turns any of them into a `Source`; `Source.open` makes fresh feeds, sound and picture on one
clock.
"""

from __future__ import annotations

import inspect
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from numpy.typing import NDArray

from ..errors import RtclabError, SourceError
from .feeds import AUDIO_RATE, Borrowed, Clock, Feed, Reader
from .pattern import TestPattern

SAMPLES = 960  # 20 ms, what one Opus packet holds
SMALLEST_SIDE = 16
LATEST_SOUND_S = 0.1  # sound later than this is left out; less is sent, since a gap is heard

Wave = Callable[[int, int, int], NDArray[np.int16]]


class Source:
    """Something to publish.

    Attributes
    ----------
    name : str
        What signaling calls it: ``"pattern"``, ``"file"``, ``"function"`` or ``"track"``.
    error : rtclab.errors.RtclabError or None
        Why a feed of it ended early.
    """

    name = "source"

    def __init__(self) -> None:
        self.error: RtclabError | None = None

    def __repr__(self) -> str:
        return f"<{self.name} source{f', failed: {self.error}' if self.error else ''}>"

    def label(self, kind: str) -> str:
        """What signaling calls its track of this kind."""
        return self.name if kind == "video" else f"{self.name}-audio"

    def open(self) -> list[Feed | Borrowed]:
        """New feeds: one for the picture, one for the sound, or one of them.

        Raises
        ------
        rtclab.errors.SourceError
            There is nothing to play.
        """
        clock = Clock()
        return [Feed(kind, reader, clock) for kind, reader in self.readers()]

    def readers(self) -> list[tuple[str, Reader]]:
        """(kind, reader) of each track, new ones each time."""
        raise NotImplementedError

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height, when they are known before the first frame."""
        return None


class File(Source):
    """A media file, played in real time.

    Parameters
    ----------
    path : str or os.PathLike
        Anything that FFmpeg can read.
    loop : bool
        Whether to start again at the end.

    Raises
    ------
    rtclab.errors.SourceError
        The file cannot be read, or has neither video nor audio.
    """

    name = "file"

    def __init__(self, path: str | os.PathLike[str], loop: bool = True) -> None:
        super().__init__()
        self.path = Path(path)
        self.loop = loop
        self._size: tuple[int, int] | None = None
        with _opened(self.path) as container:
            self._kinds = [kind for kind in ("video", "audio") if getattr(container.streams, kind)]
            if container.streams.video:
                video = container.streams.video[0]
                self._size = (video.width & ~1, video.height & ~1)
        if not self._kinds:
            raise SourceError(f"{self.path} has neither video nor audio")

    def __repr__(self) -> str:
        size = f" {self._size[0]}x{self._size[1]}" if self._size else ""
        return f"<File {str(self.path)!r}{size} {'+'.join(self._kinds)}{', loop' if self.loop else ''}>"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the video; None without one."""
        return self._size

    def readers(self) -> list[tuple[str, Reader]]:
        """One reader, and one open file, for each kind of media."""
        return [(kind, _FileReader(self.path, kind, self.loop)) for kind in self._kinds]


class _PatternSource(Source):
    name = "pattern"

    def __init__(self, pattern: TestPattern) -> None:
        super().__init__()
        self.pattern = pattern

    @property
    def size(self) -> tuple[int, int] | None:
        return self.pattern.width, self.pattern.height

    def open(self) -> list[Feed | Borrowed]:
        feeds = super().open()
        for feed in feeds:
            if isinstance(feed, Feed) and feed.kind == "video":
                feed.on_frame = self._sent
        return feeds

    def _sent(self, time_s: float) -> None:
        self.pattern.note_sent(round(time_s * self.pattern.fps), time.monotonic())

    def readers(self) -> list[tuple[str, Reader]]:
        def picture(number: int, time_s: float) -> NDArray[np.uint8]:
            return self.pattern.frame(number)

        readers: list[tuple[str, Reader]] = [("video", _PictureReader(picture, self.pattern.fps))]
        if self.pattern.sound:
            readers.append(("audio", _SoundReader(self.pattern.samples)))
        return readers


class _FunctionSource(Source):
    name = "function"

    def __init__(self, produce: Callable[[float], Any], fps: float) -> None:
        super().__init__()
        self._produce, self._fps = produce, fps

    def readers(self) -> list[tuple[str, Reader]]:
        return [("video", _PictureReader(lambda number, time_s: self._produce(time_s), self._fps))]


class _IteratorSource(Source):
    name = "function"

    def __init__(self, iterator: Iterator[Any], fps: float) -> None:
        super().__init__()
        self._iterator, self._fps = iterator, fps
        self._used = False

    def readers(self) -> list[tuple[str, Reader]]:
        if self._used:
            raise SourceError("an iterator can be published once; make a new one")
        self._used = True
        close = getattr(self._iterator, "close", _nothing)
        return [("video", _PictureReader(lambda number, time_s: next(self._iterator), self._fps, close))]


class _TrackSource(Source):
    name = "track"

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self._track = track

    def open(self) -> list[Feed | Borrowed]:
        return [Borrowed(self._track)]


def as_source(thing: Any, fps: float = 30) -> Source:
    """Make a source of whatever can be published.

    Parameters
    ----------
    thing : TestPattern, File, Source, aiortc.MediaStreamTrack, callable or iterable
        A callable takes nothing, or the seconds since its start, and returns one RGB picture: an array of
        shape (height, width, 3), dtype uint8. An iterable yields such pictures. Both are called in a worker
        thread, at most `fps` times a second; one that is slower gives as many frames as it can. An odd side
        is cropped by one pixel.
    fps : float
        Frames per second of a callable or an iterable, up to 120.

    Raises
    ------
    rtclab.errors.SourceError
        It is none of these.
    """
    if isinstance(thing, Source):
        return thing
    if isinstance(thing, TestPattern):
        return _PatternSource(thing)
    if isinstance(thing, MediaStreamTrack):
        return _TrackSource(thing)
    if not 0 < fps <= 120:
        raise SourceError(f"fps must be more than 0 and at most 120, not {fps}")
    if isinstance(thing, (str, bytes, os.PathLike)):
        raise SourceError(f"to publish a file, write rtclab.File({os.fspath(thing)!r})")
    if isinstance(thing, np.ndarray) and thing.ndim != 4:
        raise SourceError("one array is one picture; to publish a still, write lambda: array")
    if isinstance(thing, Iterator) or (hasattr(thing, "__iter__") and not callable(thing)):
        return _IteratorSource(iter(thing), fps)
    if inspect.iscoroutinefunction(thing) or inspect.isasyncgenfunction(thing):
        raise SourceError(
            "a source is a plain function or generator: it has a thread of its own and may block"
        )
    if inspect.isgeneratorfunction(thing):
        return as_source(thing(), fps)
    if callable(thing):
        return _FunctionSource(thing if _takes_an_argument(thing) else lambda time_s: thing(), fps)
    wanted = "a TestPattern, a File, or a function or generator of uint8 RGB arrays"
    raise SourceError(f"a {type(thing).__name__} cannot be published: give {wanted}")


def _nothing() -> None:
    pass


def _takes_an_argument(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if len(required) > 1:
        raise SourceError("a source function takes no argument, or one: the seconds since its start")
    return bool(required)


def picture_frame(picture: Any) -> av.VideoFrame:
    """One RGB picture as a video frame.

    Raises
    ------
    rtclab.errors.SourceError
        It is not a uint8 array of shape (height, width, 3), at least 16x16.
    """
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
    ):
        given = (
            f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        )
        hint = "; scale 0..1 by 255 and convert it with astype('uint8')" if "float" in given else ""
        raise SourceError(f"a source gives uint8 arrays of shape (height, width, 3), not {given}{hint}")
    height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
    if min(height, width) < SMALLEST_SIDE:
        raise SourceError(f"a picture is at least {SMALLEST_SIDE}x{SMALLEST_SIDE}, not {width}x{height}")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
    return frame.reformat(format="yuv420p")  # here, in the worker thread, rather than in the encoder's


class _PictureReader:
    """Pictures at a fixed rate: the one that is due; more than one frame late, those between are left out."""

    def __init__(
        self, produce: Callable[[int, float], Any], fps: float, close: Callable[[], None] = _nothing
    ) -> None:
        self._produce, self._fps = produce, fps
        self.close = close
        self._next = 0

    def due(self, elapsed: float) -> float:
        return self._next / self._fps

    def read(self, elapsed: float) -> tuple[float, av.VideoFrame] | None:
        number = max(self._next, int(elapsed * self._fps) - 1)
        self._next = number + 1
        time_s = number / self._fps
        try:
            picture = self._produce(number, time_s)
        except StopIteration:
            return None
        except Exception as error:
            raise SourceError(f"the source raised {type(error).__name__}: {error}") from error
        return time_s, picture_frame(picture)


class _SoundReader:
    """Sound in pieces of 20 ms."""

    def __init__(self, wave: Wave) -> None:
        self._wave = wave
        self._next = 0

    def due(self, elapsed: float) -> float:
        return self._next * SAMPLES / AUDIO_RATE

    def read(self, elapsed: float) -> tuple[float, av.AudioFrame]:
        if elapsed - self.due(elapsed) > LATEST_SOUND_S:
            self._next = int(elapsed * AUDIO_RATE / SAMPLES)
        start = self._next * SAMPLES
        self._next += 1
        return start / AUDIO_RATE, sound_frame(self._wave(start, SAMPLES, 1))

    def close(self) -> None:
        pass


def sound_frame(samples: NDArray[np.int16]) -> av.AudioFrame:
    """(samples, channels) at 48 kHz as an audio frame."""
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = AUDIO_RATE
    return frame


class _FileReader:
    """One stream of a file, from its start, over and over if asked to."""

    def __init__(self, path: Path, kind: str, loop: bool) -> None:
        self._path, self._kind, self._loop = path, kind, loop
        self._items: Iterator[tuple[float, av.VideoFrame | av.AudioFrame]] | None = None
        self._container: Any = None

    def due(self, elapsed: float) -> float:
        return 0.0  # decoded ahead by one frame, released when due

    def read(self, elapsed: float) -> tuple[float, av.VideoFrame | av.AudioFrame] | None:
        if self._items is None:
            self._items = self._frames()
        tolerance = LATEST_SOUND_S if self._kind == "audio" else 0.05
        try:
            for item in self._items:
                if item[0] >= elapsed - tolerance:
                    return item
        except av.FFmpegError as error:
            raise SourceError(f"{self._path} cannot be played on: {error}") from error
        return None

    def close(self) -> None:
        self._items = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _frames(self) -> Iterator[tuple[float, av.VideoFrame | av.AudioFrame]]:
        self._container = _opened(self._path)
        length = (self._container.duration or 0) / av.time_base
        begin = 0.0
        for _ in itertools.count() if self._loop else range(1):
            end = begin
            for time_s, frame in self._pictures() if self._kind == "video" else self._sound():
                end = begin + time_s
                yield end, frame
            if end == begin:
                return  # nothing in it: no point in starting again
            begin = max(end + 0.001, begin + length)  # both kinds start again together
            self._container.seek(0)

    def _pictures(self) -> Iterator[tuple[float, av.VideoFrame]]:
        first: float | None = None
        for frame in self._container.decode(video=0):
            if frame.time is None:
                continue
            first = frame.time if first is None else first
            size = (frame.width & ~1, frame.height & ~1)
            yield max(0.0, frame.time - first), frame.reformat(*size, format="yuv420p")

    def _sound(self) -> Iterator[tuple[float, av.AudioFrame]]:
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=AUDIO_RATE, frame_size=SAMPLES)
        done = 0
        for frame in itertools.chain(self._container.decode(audio=0), [None]):
            if frame is not None:
                frame.pts = None  # counted here: a gap in the file must not become a gap in the resampler
            for piece in resampler.resample(frame):
                yield done / AUDIO_RATE, piece
                done += piece.samples


def _opened(path: Path) -> Any:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
