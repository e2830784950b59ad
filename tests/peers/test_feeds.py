"""Feeds: due times, and ends that do not hang."""

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction

import av
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtclab.peers.feeds import VIDEO_RATE, Borrowed, Clock, Feed


def picture():
    return av.VideoFrame(16, 16, "yuv420p")


class Reader:
    """A frame every 10 ms; `frames` of them."""

    def __init__(self, frames=1000, block=None):
        self.left, self.number, self.block = frames, 0, block
        self.closed = threading.Event()

    def due(self, elapsed):
        return self.number * 0.01

    def read(self, elapsed):
        if self.block is not None:
            self.block.wait(5)
        if self.number == self.left:
            return None
        self.number += 1
        return (self.number - 1) * 0.01, picture()

    def close(self):
        self.closed.set()


class Plain(MediaStreamTrack):
    """An aiortc track with times of its own, or none."""

    kind = "video"

    def __init__(self, pts):
        super().__init__()
        self.pts = iter(pts)

    async def recv(self):
        pts = next(self.pts, "end")
        if pts == "end":
            raise MediaStreamError
        frame = picture()
        if pts is not None:
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
        return frame


def test_frames_are_not_early():
    async def main():
        feed = Feed("video", Reader(), Clock())
        loop = asyncio.get_running_loop()
        arrivals = []
        start = loop.time()  # the feed's clock begins with its first frame, thus later
        for _ in range(5):
            frame = await feed.recv()
            arrivals.append((loop.time() - start, frame.pts / VIDEO_RATE))
        feed.stop()
        return arrivals

    arrivals = asyncio.run(main())
    assert all(now >= due - 0.001 for now, due in arrivals)  # a timer may be a clock tick early
    assert [due for _, due in arrivals] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])


def test_stopping_does_not_wait_for_a_reader_that_hangs():
    block = threading.Event()
    reader = Reader(block=block)

    async def main():
        feed = Feed("video", reader, Clock())
        waiting = asyncio.ensure_future(feed.recv())
        await asyncio.sleep(0.02)
        feed.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        await feed.finished(0.01)
        assert not reader.closed.is_set()
        block.set()
        await feed.finished(5)
        assert reader.closed.is_set()

    asyncio.run(main())


def test_a_feed_that_never_ran_closes_its_reader():
    async def main():
        reader = Reader()
        feed = Feed("video", reader, Clock())
        feed.stop()
        await feed.finished(0)
        assert reader.closed.is_set()
        with pytest.raises(MediaStreamError):
            await feed.recv()

    asyncio.run(main())


def test_a_borrowed_track_that_breaks():
    class Broken(Plain):
        async def recv(self):
            raise RuntimeError("cable")

    async def main():
        feed = Borrowed(Broken([]))
        with pytest.raises(MediaStreamError):
            await feed.recv()
        assert "cable" in str(feed.error)

    asyncio.run(main())
