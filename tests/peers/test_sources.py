"""Sources: everything that can be published, and clear words for what cannot."""

from __future__ import annotations

import asyncio
import threading
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc import AudioStreamTrack
from aiortc.mediastreams import MediaStreamError

from rtclab.errors import SourceError
from rtclab.measure import read_frame_code
from rtclab.peers import File, TestPattern
from rtclab.peers.sources import as_source, picture_frame

GREY = np.full((90, 160, 3), 128, np.uint8)


def play(source, count, kind="video"):
    """The first `count` frames of a source, or as many as there are; then everything is stopped."""

    async def main():
        feeds = source.open()
        feed = next(feed for feed in feeds if feed.kind == kind)
        frames = []
        try:
            while len(frames) < count:
                frames.append(await asyncio.wait_for(feed.recv(), 5))
        except MediaStreamError:
            pass
        for each in feeds:
            each.stop()
            await each.finished(2)
        return frames, feed.error

    return asyncio.run(main())


def codes(frames):
    return [read_frame_code(frame.to_ndarray(format="rgb24")) for frame in frames]


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Ten coded frames at 20 fps with half a second of sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    pattern = TestPattern(160, 90, fps=20, stream=5)
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libvpx", rate=20, width=160, height=90, pix_fmt="yuv420p", bit_rate=800_000
        )
        audio = container.add_stream("libopus", rate=48_000, layout="mono")
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(pattern.frame(number))
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(video.encode(frame))
        for start in range(0, 24_000, 960):
            samples = pattern.samples(start, 960).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def test_a_pattern_has_picture_and_sound():
    source = as_source(TestPattern(320, 180, fps=50, stream=6))
    assert source.size == (320, 180)
    assert (source.label("video"), source.label("audio")) == ("pattern", "pattern-audio")
    frames, error = play(source, 5)
    assert error is None
    assert [frame.pts for frame in frames] == [1800 * code.frame for code in codes(frames)]
    sound, _ = play(source, 5, "audio")
    assert [frame.pts for frame in sound] == [0, 960, 1920, 2880, 3840]
    assert sound[0].sample_rate == 48_000
    assert [feed.kind for feed in open_and_stop(TestPattern(320, 180, sound=False))] == ["video"]


def open_and_stop(thing):
    async def main():
        feeds = as_source(thing).open()
        for feed in feeds:
            feed.stop()
        return feeds

    return asyncio.run(main())


def test_functions_with_and_without_time():
    times = []

    def with_time(seconds):
        times.append(seconds)
        return GREY

    frames, _ = play(as_source(with_time, fps=100), 4)
    assert times[0] == 0
    assert [frame.pts for frame in frames] == [round(seconds * 90_000) for seconds in times[:4]]
    assert len(play(as_source(lambda: GREY, fps=100), 3)[0]) == 3
    assert len(play(as_source(lambda level=128: GREY, fps=100), 3)[0]) == 3


def test_generators_iterators_and_stacks_of_pictures_end():
    def generator():
        for _ in range(3):
            yield GREY

    for thing in (generator, generator(), [GREY] * 3, iter([GREY] * 3), np.stack([GREY] * 3)):
        frames, error = play(as_source(thing, fps=100), 99)
        assert len(frames) == 3
        assert error is None


def test_an_iterator_plays_once_and_is_closed():
    closed = threading.Event()

    def generator():
        try:
            while True:
                yield GREY
        finally:
            closed.set()

    source = as_source(generator(), fps=100)
    play(source, 2)
    assert closed.is_set()
    with pytest.raises(SourceError, match="once"):
        source.open()


def test_it_runs_in_a_thread_of_its_own():
    threads = set()

    def function():
        threads.add(threading.current_thread())
        return GREY

    play(as_source(function, fps=100), 3)
    assert len(threads) == 1
    assert threads != {threading.main_thread()}
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_a_slow_function_skips_and_does_not_burst():
    release = threading.Event()
    times = []

    def slow(seconds):
        times.append(seconds)
        if len(times) == 2:
            release.wait(0.2)
        return GREY

    frames, _ = play(as_source(slow, fps=50), 4)
    steps = np.diff([frame.pts for frame in frames]) // 1800
    assert steps[1] >= 9  # what was due meanwhile is left out
    assert (steps >= 1).all()


@pytest.mark.parametrize(
    ("gives", "complaint"),
    [
        (GREY / 255, "float64 .* convert it"),
        (GREY[..., 0], "not uint8 .90, 160"),
        (np.zeros((90, 160, 4), np.uint8), "not uint8 .90, 160, 4"),
        (None, "not NoneType"),
        (GREY[:8], "at least 16x16, not 160x8"),
    ],
)
def test_what_is_not_a_picture_ends_the_track(gives, complaint):
    frames, error = play(as_source(lambda: gives), 5)
    assert frames == []
    assert isinstance(error, SourceError)
    with pytest.raises(SourceError, match=complaint):
        picture_frame(gives)


def test_an_exception_is_kept_with_its_cause():
    def broken():
        raise KeyError("lens cap")

    frames, error = play(as_source(broken), 5)
    assert frames == []
    assert "KeyError" in str(error)
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        ("clip.mp4", "rtclab.File"),
        (Path("clip.mp4"), "rtclab.File"),
        (GREY, "lambda"),
        (3, "a int cannot be published"),
        (lambda one, two: GREY, "takes no argument, or one"),
    ],
)
def test_what_cannot_be_published(thing, complaint):
    with pytest.raises(SourceError, match=complaint):
        as_source(thing)


def test_coroutines_are_refused_and_so_is_a_bad_rate():
    async def coroutine():
        return GREY

    with pytest.raises(SourceError, match="plain function"):
        as_source(coroutine)
    with pytest.raises(SourceError, match="fps"):
        as_source(lambda: GREY, fps=0)


def test_odd_sides_are_cropped():
    frame = picture_frame(np.zeros((101, 203, 3), np.uint8))
    assert (frame.width, frame.height, frame.format.name) == (202, 100, "yuv420p")


def test_a_file_plays_picture_and_sound(clip):
    source = File(clip, loop=False)
    assert source.size == (160, 90)
    assert "160x90 video+audio" in repr(source)
    frames, error = play(source, 99)
    assert error is None
    found = codes(frames)
    assert {code.stream for code in found} == {5}
    assert found[-1].frame == 9
    assert [frame.pts for frame in frames] == [code.frame * 4500 for code in found]
    sound, _ = play(source, 99, "audio")
    assert 20 <= len(sound) <= 27
    assert {(frame.samples, frame.sample_rate, frame.layout.name) for frame in sound[:-1]} == {
        (960, 48_000, "stereo")
    }


def test_a_file_starts_again_and_time_goes_on(clip):
    frames, _ = play(File(clip), 14)
    numbers = [code.frame for code in codes(frames)]
    assert 0 in numbers[5:] or 1 in numbers[5:]
    pts = [frame.pts for frame in frames]
    assert pts == sorted(set(pts))
    assert max(np.diff(pts)) < 90_000


def test_a_file_with_sound_only(tmp_path):
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(4000, np.int16).tobytes())
    source = File(path, loop=False)
    assert source.size is None
    assert len(play(source, 99, "audio")[0]) >= 12


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        File(tmp_path / "missing.mp4")
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"nothing" * 100)
    with pytest.raises(SourceError, match="cannot be read"):
        File(garbage)


def test_an_aiortc_track_is_borrowed_not_owned():
    async def main():
        track = AudioStreamTrack()
        (feed,) = as_source(track).open()
        frame = await feed.recv()
        waiting = asyncio.ensure_future(feed.recv())
        await asyncio.sleep(0)
        feed.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        return frame, track.readyState

    frame, state = asyncio.run(main())
    assert frame.samples == 160
    assert state == "live"
