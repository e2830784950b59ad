"""What a participant takes down: numbers, pictures spread over time, sound; from one track or from a mix."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from rtclab.comparison.recorder import KEPT, Recorder
from rtclab.comparison.talker import NAMES, Talker
from rtclab.comparison.trial import Plan
from rtclab.measure import onsets, quality
from rtclab.mixing.canvas import Canvas, Item


def picture(talker: Talker, number: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(talker.frame(number), format="rgb24").reformat(format="yuv420p")


def test_numbers_are_read_and_some_pictures_kept() -> None:
    talker, recorder = Talker(2, (320, 180), 10), Recorder()
    recorder.picture(picture(talker, 4), 99.0)
    assert recorder.first == {2: 99.0}
    assert not recorder.seen
    recorder.record(2.0)
    for number in range(20):
        recorder.picture(picture(talker, 100 + number), 100 + number / 10)
    recorder.stop()
    recorder.picture(picture(talker, 200), 110.0)
    assert recorder.seen[2] == [(100 + number, 100 + number / 10) for number in range(20)]
    numbers = [number for number, _ in recorder.kept[2]]
    assert len(numbers) <= KEPT
    assert numbers[-1] - numbers[0] >= 14  # over the whole time
    assert quality(talker.frame(numbers[0])[:, :, 0], recorder.kept[2][0][1]).psnr_db > 15
    assert recorder.first == {2: 99.0}


def test_a_picture_without_a_number_is_counted() -> None:
    recorder = Recorder()
    recorder.record(1.0)
    recorder.picture(av.VideoFrame(160, 90, "yuv420p"), 1.0)
    assert (recorder.unread, recorder.seen) == (1, {})


@pytest.mark.parametrize("people", range(1, 7))
def test_everybody_is_read_in_a_mix(people: int) -> None:
    """As many as have come so far, on the canvas for six."""
    plan = Plan(6, 5.0, (160, 90), 10, True, 500_000)
    talkers = [Talker(place, plan.size, plan.fps) for place in range(people)]
    canvas = Canvas(*plan.mix_size)
    rects = plan.mix_rects(people)
    items = [Item(t.name, t.name, picture(t, 7 + t.stream), 1) for t in talkers]
    canvas.draw(items, rects)
    recorder = Recorder()
    recorder.tiles = tuple(plan.mix_tiles(people))
    recorder.record(1.0)
    recorder.picture(canvas.frame, 5.0)
    assert recorder.seen == {place: [(7 + place, 5.0)] for place in range(people)}


@pytest.mark.parametrize("people", [2, 3, 4, 6, 9, len(NAMES)])
def test_a_mix_shows_everybody_at_their_own_size(people: int) -> None:
    plan = Plan(people, 5.0, (320, 180), 15, True, 500_000)
    tiles = plan.mix_tiles(people)
    assert {(tile.width, tile.height) for tile in tiles} == {(320, 180)}
    assert max(tile.x + tile.width for tile in tiles) <= plan.mix_size[0]


def test_sound_is_one_channel_in_order() -> None:
    talker, recorder = Talker(3, (160, 90), 10), Recorder()
    recorder.record(1.0)
    for block in range(60):
        samples = talker.samples(block * 960, 960, 2)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
        recorder.hear(frame, block / 50)
    heard = np.concatenate([block for _, block in recorder.sound])
    assert np.array_equal(heard, talker.samples(0, 60 * 960)[:, 0])


def test_each_talker_beeps_in_a_pitch_of_its_own() -> None:
    talkers = [Talker(place, (160, 90), 10) for place in range(len(NAMES))]
    together = sum(
        talker.samples(place * 4000, 96_000)[:, 0] / 65536.0 for place, talker in enumerate(talkers)
    )
    for place, talker in enumerate(talkers):
        expected = [(48_000 - place * 4000) / 48_000 % 1 + second for second in (0, 1)]
        assert onsets(np.asarray(together), frequency=talker.beep_hz) == pytest.approx(expected, abs=2e-3)
