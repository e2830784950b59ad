"""Lip sync: beeps are found where they are, through Opus too, and compared with the right frames."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtclab import TestPattern
from rtclab.measure import onsets, skew
from rtclab.measure.skew import OPUS_LOOK_AHEAD_S, burst

RATE = 48_000


@settings(max_examples=25, deadline=None)
@given(st.integers(0, RATE), st.integers(2, 4), st.sampled_from([1, 2]))
def test_the_beeps_of_a_pattern(start: int, seconds: int, channels: int) -> None:
    found = onsets(TestPattern(tone=523.25).samples(start, seconds * RATE, channels)) + start / RATE
    inside = range(start // RATE, start // RATE + seconds + 1)
    whole = [n for n in inside if start <= n * RATE <= start + seconds * RATE - 960]
    assert np.abs(np.array([t for t in found if min(abs(t - n) for n in whole) < 0.02]) - whole).max() < 2e-4


def test_a_beep_of_another_pitch_is_not_heard() -> None:
    sound = np.random.default_rng(1).normal(0, 0.002, 3 * RATE)
    for at, hz in ((0.5, 1000.0), (1.2, 1300.0), (2.1, 1000.0)):
        sound[round(at * RATE) : round(at * RATE) + 960] += 0.5 * burst(hz)
    assert onsets(sound).tolist() == pytest.approx([0.5, 2.1], abs=1e-3)
    assert onsets(sound, frequency=1300.0).tolist() == pytest.approx([1.2], abs=1e-3)


@pytest.mark.parametrize("sound", [np.zeros(RATE), np.zeros(100), np.full((RATE, 2), 3, np.int16)])
def test_silence_has_no_beeps(sound: NDArray[np.float64]) -> None:
    assert len(onsets(sound)) == 0


@pytest.mark.parametrize("bitrate_bps", [24_000, 96_000])
def test_opus_delays_a_beep_by_what_it_looks_ahead(bitrate_bps: int) -> None:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate, encoder.options = bitrate_bps, {"application": "voip"}
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE, "mono"
    samples = TestPattern().samples(0, 4 * RATE)
    heard = []
    for start in range(0, len(samples), 960):
        frame = av.AudioFrame.from_ndarray(samples[start : start + 960].T.copy(), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        for packet in encoder.encode(frame):
            bare = av.Packet(bytes(packet))  # as RTP carries it: no pre-skip, nothing is trimmed
            heard += [sound.to_ndarray().reshape(-1) for sound in decoder.decode(bare)]
    found = onsets(np.concatenate(heard))
    assert found[-3:] - np.array([1, 2, 3]) == pytest.approx(OPUS_LOOK_AHEAD_S, abs=5e-4)


def test_each_beep_is_compared_with_its_frame() -> None:
    pictures = {n: 50 + n / 15 + 0.06 for n in range(20, 64)}
    beeps = [50 + n / 15 + 0.09 + OPUS_LOOK_AHEAD_S for n in (30, 45, 60)]
    found = skew(pictures, [*beeps, 99.0], fps=15)
    assert found["frame"].tolist() == [30, 45, 60]
    assert found["skew_s"].tolist() == pytest.approx([-0.03] * 3)
    early = skew(pictures, [52.0], fps=15, look_ahead_s=0)
    assert early["skew_s"].tolist() == pytest.approx([0.06])


def test_nothing_to_compare() -> None:
    assert skew({}, [1.0], fps=15).empty
    assert skew({15: 1.0}, [], fps=15).empty
    assert skew({15: 1.0}, [9.0], fps=15).empty
