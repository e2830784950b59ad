"""From one feed to several senders: one timeline, copies, pauses, and nothing that queues up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtclab.peers.feeds import AUDIO_RATE, VIDEO_RATE, Borrowed
from rtclab.peers.outlets import ACTIVE_S, WAITING, Outlet, Spread
from rtclab.peers.sources import picture_frame, sound_frame


class Plain(MediaStreamTrack):
    """An aiortc track with times of its own in milliseconds, or none."""

    def __init__(self, frames: Iterable[Any], kind: str = "video") -> None:
        super().__init__()
        self.kind = kind
        self.frames: Any = iter(frames)
        self.more = asyncio.Event()

    async def recv(self) -> av.VideoFrame:
        pts: Any = next(self.frames, "end")
        if pts == "wait":
            await self.more.wait()
            pts = next(self.frames, "end")
        if pts == "end":
            raise MediaStreamError
        frame = av.VideoFrame(16, 16, "yuv420p")
        if pts is not None:
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
        return frame


def spread(frames, ended=lambda spread: None, origin=None):
    now = asyncio.get_running_loop().time()
    return Spread(Borrowed(Plain(frames)), now if origin is None else origin, ended)


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_timeline_over_changing_feeds():
    async def main():
        outlet = Outlet("video")
        ended = []
        origin = asyncio.get_running_loop().time()
        first = spread([5000, "wait"], ended.append, origin)
        outlet.plug(first)
        pts = [(await outlet.recv()).pts]
        first.feed._track.more.set()
        await asyncio.sleep(0.03)
        assert ended == [first]
        second = spread([0, "wait", 40], origin=origin)
        outlet.plug(second)
        pts.append((await outlet.recv()).pts)
        second.feed._track.more.set()
        frame = await outlet.recv()
        assert frame.time_base == Fraction(1, VIDEO_RATE)
        return [*pts, frame.pts]

    pts = asyncio.run(main())
    assert pts[1] - pts[0] >= 0.03 * VIDEO_RATE
    assert pts[2] == pts[1] + 0.04 * VIDEO_RATE


def test_frames_without_a_time_follow_each_other():
    async def main():
        outlet = Outlet("video")
        source = spread([None, "wait", None])
        outlet.plug(source)
        first = await outlet.recv()
        source.feed._track.more.set()
        return first.pts, (await outlet.recv()).pts

    first, second = asyncio.run(main())
    assert second == first + 1


def test_each_sender_gets_every_picture_in_a_frame_of_its_own():
    async def main():
        outlets = [Outlet("video") for _ in range(3)]
        source = spread([0, "wait", 40])
        for outlet in outlets:
            outlet.plug(source)
        waiting = [asyncio.ensure_future(outlet.recv()) for outlet in outlets]
        frames = await asyncio.gather(*waiting)
        assert len({id(frame) for frame in frames}) == 3
        for frame in frames:  # what an encoder does to its frame
            frame.pts, frame.time_base = 0, Fraction(1, 7)
        source.feed._track.more.set()
        return [(await outlet.recv()).pts for outlet in outlets]

    pts = asyncio.run(main())
    assert pts[0] > 0
    assert pts == [pts[0]] * 3


@pytest.mark.parametrize("size", [(160, 90), (90, 160), (322, 182)])
def test_copies_are_equal(size):
    generator = np.random.default_rng(1)
    picture = picture_frame(generator.integers(0, 256, (size[1], size[0], 3), np.uint8))
    sound = sound_frame(generator.integers(-9, 9, (960, 2), np.int16))

    class Two(Plain):
        async def recv(self):
            if not self.frames:
                await asyncio.Event().wait()
            return self.frames.pop()

    async def main(frame, kind):
        track = Two([])
        track.frames, track.kind = [frame], kind
        source = Spread(Borrowed(track), 0, lambda spread: None)
        outlets = [Outlet(kind), Outlet(kind)]
        for outlet in outlets:
            outlet.plug(source)
        first, second = [await outlet.recv() for outlet in outlets]
        assert first is not second
        assert first.format.name == second.format.name
        assert np.array_equal(first.to_ndarray(), second.to_ndarray())
        return second

    assert asyncio.run(main(picture, "video")).width == size[0]
    copy = asyncio.run(main(sound, "audio"))
    assert (copy.sample_rate, copy.layout.name) == (AUDIO_RATE, "stereo")


def test_paused_an_outlet_hands_nothing_over_and_then_only_what_is_new():
    async def main():
        paused, other = Outlet("video"), Outlet("video")
        source = spread([0, "wait", 40, 80, 120])
        paused.plug(source)
        other.plug(source)
        await asyncio.gather(paused.recv(), other.recv())
        paused.paused = True
        waiting = asyncio.ensure_future(paused.recv())
        source.feed._track.more.set()
        await settle()
        assert not waiting.done()
        assert (await other.recv()).pts > 0  # the newest: the others were left out
        assert (paused.frames, other.frames) == (1, 2)
        paused.paused = False
        paused.plug(spread([0, "wait"], origin=0))
        await waiting
        return paused.frames, paused.active(asyncio.get_running_loop().time())

    assert asyncio.run(main()) == (2, True)


def test_what_waits_is_dropped_when_paused():
    async def main():
        outlet = Outlet("audio")
        source = spread([0, 20, "wait"])
        outlet.plug(source)
        source.start()
        await settle()
        outlet.paused = True
        outlet.paused = False
        waiting = asyncio.ensure_future(outlet.recv())
        await settle()
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_nothing_queues_up_before_a_slow_encoder(kind):
    async def main():
        outlet = Outlet(kind)
        now = asyncio.get_running_loop().time()
        source = Spread(Borrowed(Plain([*range(0, 2000, 20), "wait"], kind)), now, lambda spread: None)
        outlet.plug(source)
        source.start()
        for _ in range(100):
            await settle()
        pts = []
        while outlet._kept:
            pts.append((await outlet.recv()).pts)
        rate = VIDEO_RATE if kind == "video" else AUDIO_RATE
        assert len(pts) == WAITING[kind]
        assert pts[-1] >= 1.98 * rate

    asyncio.run(main())


def test_a_feed_is_not_read_before_a_sender_asks():
    async def main():
        outlet = Outlet("video")
        source = spread([0])
        outlet.plug(source)
        await settle()
        assert outlet.frames == 0
        assert not outlet._kept
        waiting = asyncio.ensure_future(outlet.recv())
        assert (await waiting).pts is not None

    asyncio.run(main())


def test_an_outlet_waits_without_polling():
    async def main():
        outlet = Outlet("video")
        waiting = asyncio.ensure_future(outlet.recv())
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 2
        outlet.stop()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(main())


def test_stopping_a_spread_empties_its_outlets_and_ends_its_task():
    async def main():
        ended = []
        outlets = [Outlet("video"), Outlet("video")]
        source = spread([0, "wait"], ended.append)
        for outlet in outlets:
            outlet.plug(source)
        for outlet in outlets:
            await outlet.recv()
        source.stop()
        await source.finished(1)
        assert source.outlets == set()
        assert ended == []
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_outlet_says_whether_it_is_in_use():
    async def main():
        outlet = Outlet("video")
        now = asyncio.get_running_loop().time()
        assert not outlet.active(now)
        outlet.plug(spread([0, "wait"]))
        await outlet.recv()
        now = asyncio.get_running_loop().time()
        assert outlet.active(now)
        assert not outlet.active(now + 2 * ACTIVE_S)

    asyncio.run(main())
