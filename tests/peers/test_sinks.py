"""Remote tracks: the newest frames are kept, the rest is counted, and every wait has an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import av
import numpy as np
import pytest

from rtclab.engine import Engine
from rtclab.errors import Closed, Timeout
from rtclab.peers.sinks import Inlet, RemoteTrack

DESCRIBED = {"id": "t1", "kind": "video", "source": "camera", "participant": {"id": "p1", "name": "alice"}}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


def make(engine, phase="first frame", **changes):
    async def build():
        async def close(track):
            track._finish("closed")

        return RemoteTrack(engine, {**DESCRIBED, **changes}, lambda: phase, close)

    return engine.run(build())


def push(engine, track, *levels):
    async def deliver():
        for at, level in enumerate(levels):
            picture = np.full((18, 32, 3), level, np.uint8)
            track._push(av.VideoFrame.from_ndarray(picture), at, Inlet())

    engine.run(deliver())


def test_the_oldest_frames_go_first(engine):
    track = make(engine)
    assert track.latest() is None
    push(engine, track, 1, 2, 3, 4, 5)
    assert (track.received, track.dropped) == (5, 3)
    assert track.latest()[0, 0, 0] == 5
    assert [track.next_frame()[0, 0, 0] for _ in range(2)] == [4, 5]
    assert list(track.times) == [0, 1, 2, 3, 4]
    assert track.snapshot().array[0, 0, 0] == 5


def test_a_closed_track_is_given_no_more_frames(engine):
    track = make(engine)
    inlets = [Inlet(), Inlet()]

    async def go_over():
        for inlet, via in zip(inlets, ("room", "direct"), strict=True):
            track._bind(inlet, via)
        return [len(inlet.listeners) for inlet in inlets]

    assert engine.run(go_over()) == [1, 1]
    track.close()
    assert [inlet.listeners for inlet in inlets] == [set(), set()]


def test_what_arrived_before_the_end_is_handed_out(engine):
    track = make(engine)
    push(engine, track, 7)
    track.close()
    assert [frame[0, 0, 0] for frame in track.frames()] == [7]
    with pytest.raises(Closed, match="no more video of 'alice': closed"):
        track.next_frame()
    assert repr(track) == "<RemoteTrack video of 'alice' 32x18, 1 frames, closed>"


def test_the_end_wakes_whoever_waits(engine):
    track = make(engine)
    timer = threading.Timer(0.05, track.close)
    timer.start()
    with pytest.raises(Closed):
        track.next_frame(timeout=30)
    timer.join()


@pytest.mark.parametrize(
    ("phase", "before", "says"),
    [
        ("ICE", (), "still in its ICE phase"),
        ("first frame", (), "nothing was forwarded yet"),
        ("first frame", (1,), "stopped after 1 frames"),
    ],
)
def test_a_timeout_says_what_is_missing(engine, phase, before, says):
    track = make(engine, phase)
    push(engine, track, *before)
    for _ in before:
        track.next_frame()
    with pytest.raises(Timeout, match=f"no video of 'alice' within 0.01 s: .*{says}") as caught:
        track.next_frame(timeout=0.01)
    assert caught.value.phase == phase


def test_from_another_loop(engine):
    track = make(engine)

    async def main():
        waiting = asyncio.ensure_future(track.anext_frame())
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, push, engine, track, 9)
        return await waiting

    assert asyncio.run(main())[0, 0, 0] == 9


def test_sound_has_samples_by_channels(engine):
    track = make(engine, kind="audio")
    sound = av.AudioFrame.from_ndarray(
        np.arange(8, dtype=np.int16).reshape(1, 8), format="s16", layout="stereo"
    )

    async def deliver():
        track._push(sound, 0.0, Inlet())

    engine.run(deliver())
    assert track.next_frame().tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(TypeError):
        track.snapshot()
