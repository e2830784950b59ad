"""Voices: mixed to the bit, never clipped, never late for long, and fading where something is missing."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixing_rig import strength, tone
from rtclab.mixing.voices import (
    BLOCK,
    CEILING,
    KNEE,
    LONGEST_FILL,
    MOST,
    SILENCE,
    Limiter,
    Voice,
    add_up,
    minus,
)


def smooth(samples: NDArray[np.int16]) -> float:
    """The largest step from one sample to the next."""
    return float(np.abs(np.diff(samples.astype(float), axis=0)).max())


def fed(voice: Voice, hertz: float, packets: int, start: int = 0, level: float = 6000.0) -> int:
    """Put packets of a tone; the time of the next one."""
    for _ in range(packets):
        voice.put(start, tone(hertz, BLOCK, start, level))
        start += BLOCK
    return start


def played(voice: Voice, blocks: int) -> NDArray[np.int16]:
    return np.concatenate([voice.take() for _ in range(blocks)])


def test_it_begins_when_two_blocks_are_there_and_changes_nothing() -> None:
    voice = Voice()
    assert voice.take() is SILENCE
    fed(voice, 500, 1)
    assert voice.take() is SILENCE
    at = fed(voice, 500, 1, BLOCK)
    blocks = [voice.take()]
    for _ in range(60):
        at = fed(voice, 500, 1, at)
        blocks.append(voice.take())
    got = np.concatenate(blocks)
    assert np.array_equal(got[240:], tone(500, len(got))[240:])  # the first 5 ms fade in


def test_running_dry_fades_out_and_in_again_without_a_click() -> None:
    voice = Voice()
    at = fed(voice, 300, 4)
    heard = [voice.take() for _ in range(10)]
    assert voice.take() is SILENCE
    fed(voice, 300, 6, at + 50 * BLOCK)
    heard += [voice.take() for _ in range(4)]
    samples = np.concatenate(heard)
    assert smooth(samples) < 1.5 * smooth(tone(300, 4800))
    assert np.abs(samples[4 * BLOCK + 300 : 10 * BLOCK]).max() == 0
    assert np.abs(samples[-BLOCK:]).max() > 5000
    assert voice.late == 0  # the sender paused; nothing was late


def test_who_was_late_waits_for_more_from_then_on() -> None:
    voice = Voice()
    at = fed(voice, 300, 2)
    for _ in range(4):
        voice.take()
    at = fed(voice, 300, 2, at)  # these were due long ago
    assert voice.late == 1
    assert voice.take() is SILENCE
    fed(voice, 300, 1, at)
    assert voice.take() is not SILENCE


def test_a_lost_packet_leaves_time_for_itself() -> None:
    voice = Voice()
    at = fed(voice, 300, 4)
    fed(voice, 300, 4, at + BLOCK)
    assert voice.level == 9 * BLOCK
    samples = played(voice, 9)
    assert smooth(samples) < 1.5 * smooth(tone(300, 4800))
    assert np.abs(samples[4 * BLOCK + 300 : 5 * BLOCK]).max() == 0
    assert np.array_equal(samples[5 * BLOCK + 240 :], tone(300, 9 * BLOCK)[5 * BLOCK + 240 :])
    long = Voice()
    at = fed(long, 300, 3)
    fed(long, 300, 3, at + LONGEST_FILL + BLOCK)
    assert long.level == 6 * BLOCK  # a pause, not a loss


def test_what_comes_after_its_turn_is_left_out() -> None:
    voice = Voice()
    fed(voice, 300, 3, 5 * BLOCK)
    fed(voice, 300, 1, 2 * BLOCK)
    assert voice.stale == 1
    assert voice.level == 3 * BLOCK
    fed(voice, 300, 1, 2**31)  # a jump is a new beginning
    assert voice.level == 4 * BLOCK


def test_timestamps_wrap() -> None:
    voice = Voice()
    voice.put(2**32 - BLOCK, tone(300, BLOCK))
    voice.put(0, tone(300, BLOCK))
    assert voice.level == 2 * BLOCK
    assert voice.stale == 0


def test_too_much_is_dropped_at_once() -> None:
    voice = Voice()
    fed(voice, 300, 100)
    assert voice.level <= MOST
    assert voice.dropped > 0


def test_packets_that_come_now_before_and_now_after_their_tick_do_not_bend_a_tone() -> None:
    voice = Voice()
    at = fed(voice, 400, 3)
    heard = []
    for window in range(40):
        for block in range(25):
            heard.append(voice.take())
            after = window % 3 == 0 and block in (10, 20)  # then the next one comes with it
            at = fed(voice, 400, 0 if after else 2 if window % 3 == 0 and block in (11, 21) else 1, at)
    samples = np.concatenate(heard)
    assert voice.late == voice.dropped == 0
    assert np.array_equal(samples[240:], tone(400, len(samples))[240:])


@pytest.mark.parametrize("parts_per_million", [-300, 300])
def test_a_clock_that_runs_wrong_neither_piles_up_nor_breaks_up(parts_per_million: int) -> None:
    voice = Voice()
    at = fed(voice, 400, 3)
    due = 0.0
    heard, levels = [], []
    for _ in range(50 * 240):  # four minutes
        due += 1 + parts_per_million / 1e6
        while due >= 1:
            at = fed(voice, 400, 1, at)
            due -= 1
        heard.append(voice.take())
        levels.append(voice.level)
    samples = np.concatenate(heard[5:])
    assert voice.late == 0
    assert max(levels) < 6 * BLOCK
    assert smooth(samples) < 1.5 * smooth(tone(400, 4800))
    assert strength(samples[-48_000:], 400) > -22


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_a_jittery_network_is_bridged_after_a_few_lessons(seed: int) -> None:
    generator = random.Random(seed)
    arrivals = sorted((n + generator.uniform(0, 3.5), n) for n in range(600))
    voice, place, silent = Voice(), 0, []
    for tick in range(600):
        due = []
        while place < len(arrivals) and arrivals[place][0] <= tick:
            due.append(arrivals[place][1])
            place += 1
        for number in sorted(due):
            voice.put(number * BLOCK, np.full((BLOCK, 2), 1000, np.int16))
        silent.append(voice.take() is SILENCE)
        assert voice.level <= MOST
    assert sum(silent[300:]) < 60


@settings(deadline=None)
@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=12),
    st.integers(0, 11),
)
def test_mix_minus_is_exact(levels: list[int], own: int) -> None:
    own %= len(levels)
    blocks = {str(n): np.full((BLOCK, 2), level, np.int16) for n, level in enumerate(levels)}
    rest = minus(add_up(blocks.values()), blocks, [str(own)])
    assert (rest == sum(levels) - levels[own]).all()


def test_what_is_not_loud_passes_the_limiter_unchanged() -> None:
    limiter = Limiter()
    for _ in range(5):
        block = tone(440, BLOCK, level=KNEE - 1).astype(np.int32)
        assert np.array_equal(limiter.apply(block), block)


@settings(deadline=None)
@given(st.lists(st.floats(0, 20), min_size=2, max_size=12), st.floats(60, 3000))
def test_nothing_clips_and_nothing_clicks(loudness: list[float], hertz: float) -> None:
    limiter, out = Limiter(), []
    for number, factor in enumerate(loudness):
        phase = 2 * np.pi * hertz * np.arange(number * BLOCK, (number + 1) * BLOCK) / 48_000
        block = np.repeat((np.sin(phase) * 30_000 * factor).astype(np.int32)[:, None], 2, axis=1)
        out.append(limiter.apply(block))
    samples = np.concatenate(out).astype(int)
    assert np.abs(samples).max() <= CEILING
    # the sign of a loud sum is kept: nothing wraps around
    last = np.sin(2 * np.pi * hertz * np.arange(len(samples)) / 48_000)
    loud = np.repeat(np.array(loudness), BLOCK) * np.abs(last) > 0.5
    assert (np.sign(samples[loud, 0]) == np.sign(last[loud])).all()


def test_after_something_loud_the_gain_comes_back() -> None:
    limiter = Limiter()
    loud, normal = (tone(440, BLOCK, level=20_000).astype(np.int32) * factor for factor in (4, 1))
    limiter.apply(loud)
    assert limiter.gain < 0.4
    levels = [int(np.abs(limiter.apply(normal)).max()) for _ in range(120)]
    assert levels == sorted(levels)
    assert limiter.gain == 1.0
    assert levels[-1] == int(np.abs(normal).max())


def test_many_voices_at_once_keep_their_tones() -> None:
    limiter = Limiter()
    hertz = (300, 700, 1100, 1900)
    blocks = []
    for number in range(50):
        mixed = add_up(tone(one, BLOCK, number * BLOCK, 20_000) for one in hertz)
        blocks.append(limiter.apply(mixed))
    samples = np.concatenate(blocks)[9600:]
    assert min(strength(samples, one) for one in hertz) > -20
    assert strength(samples, 1500) < -45  # bending makes overtones, but weak ones
