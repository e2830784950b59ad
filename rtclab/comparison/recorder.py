"""What one participant sees and hears: the number of every picture, some pictures, and one sound.

Everything here is called on the participants' engine, once for each decoded frame, so it only reads the code
and puts things down; figures are made of them afterwards.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from ..measure import read_frame_code

KEPT = 8  # pictures of each talker that quality is measured on

Rectangle = tuple[int, int, int, int]  # x, y, width, height


class Recorder:
    """Records for one viewer.

    Attributes
    ----------
    tiles : tuple of (x, y, width, height)
        Where pictures are in a mix; empty when each track shows one participant.
    watching : bool
        Whether it gets pictures.
    first : dict of int to float
        When each stream was first readable (monotonic seconds).
    newest : dict of int to (int, float)
        The frame of each stream that came last, and when.
    seen : dict of int to list of (int, float)
        Frame numbers of each stream and when they came, while recording.
    kept : dict of int to list of (int, numpy.ndarray)
        Some of them, with their luma.
    sound : list of (float, numpy.ndarray)
        When each block came, and its samples (int16, one channel), while recording.
    unread : int
        Pictures, or tiles, without a readable number while recording.
    """

    def __init__(self) -> None:
        self.tiles: tuple[Rectangle, ...] = ()
        self.watching = False
        self.first: dict[int, float] = {}
        self.newest: dict[int, tuple[int, float]] = {}
        self.seen: dict[int, list[tuple[int, float]]] = {}
        self.kept: dict[int, list[tuple[int, NDArray[np.uint8]]]] = {}
        self.sound: list[tuple[float, NDArray[np.int16]]] = []
        self.unread = 0
        self._recording = False
        self._every_s = 0.0
        self._next: dict[int, float] = {}

    def record(self, seconds: float) -> None:
        """Record from now on; pictures are kept so that they are spread over `seconds`."""
        self._recording = True
        self._every_s = seconds / KEPT

    def stop(self) -> None:
        """Record no more."""
        self._recording = False

    def picture(self, frame: av.VideoFrame | av.AudioFrame, now: float) -> None:
        """Take in one decoded picture."""
        assert isinstance(frame, av.VideoFrame)
        plane = frame.planes[0]
        whole = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        whole = whole[: frame.height, : frame.width]
        for x, y, width, height in self.tiles or [(0, 0, frame.width, frame.height)]:
            luma = whole[y : y + height, x : x + width]
            code = read_frame_code(luma)
            if code is None:
                self.unread += self._recording
                continue
            self.first.setdefault(code.stream, now)
            self.newest[code.stream] = code.frame, now
            if self._recording:
                self.seen.setdefault(code.stream, []).append((code.frame, now))
                self._keep(code.stream, code.frame, luma, now)

    def hear(self, frame: av.VideoFrame | av.AudioFrame, now: float) -> None:
        """Take in one decoded block of sound."""
        if self._recording:
            assert isinstance(frame, av.AudioFrame)
            samples = frame.to_ndarray()
            packed = frame.format.is_packed
            one = samples.reshape(-1, frame.layout.nb_channels)[:, 0] if packed else samples[0]
            self.sound.append((now, one.astype(np.int16)))

    def _keep(self, stream: int, number: int, luma: NDArray[np.uint8], now: float) -> None:
        kept = self.kept.setdefault(stream, [])
        if len(kept) < KEPT and now >= self._next.get(stream, 0.0):
            kept.append((number, luma.copy()))
            self._next[stream] = now + self._every_s
