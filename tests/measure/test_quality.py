"""Quality against the very frame sent: FFmpeg's figures, scaling, and what is left out."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtclab import TestPattern
from rtclab.measure import Quality, mean_quality, quality


def scene(width: int = 320, height: int = 180) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    wave = 128 + 60 * np.sin(x / 9) * np.cos(y / 7)
    return np.stack([wave, wave * 0.8, 255 - wave], axis=2).astype(np.uint8)


def rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return frame.to_ndarray(format="rgb24").astype(np.uint8)


def test_equal_pictures() -> None:
    for picture in (scene(), scene()[:, :, 0]):
        assert quality(picture, picture.copy()) == Quality(math.inf, 1.0)


def test_psnr_is_that_of_the_textbook() -> None:
    reference = scene()[:, :, 0]
    noise = np.random.default_rng(1).integers(-9, 10, reference.shape)
    received = np.clip(reference + noise, 0, 255).astype(np.uint8)
    error = float(((received.astype(float) - reference) ** 2).mean())
    assert quality(reference, received).psnr_db == pytest.approx(10 * math.log10(255**2 / error), abs=0.01)


def test_structure_counts_more_than_brightness() -> None:
    reference = scene()[:, :, 0]
    brighter = reference + np.uint8(9)
    shuffled = np.random.default_rng(1).normal(0, 9, reference.shape)
    noisy = np.clip(reference + shuffled, 0, 255).astype(np.uint8)
    assert quality(reference, brighter).psnr_db == pytest.approx(quality(reference, noisy).psnr_db, abs=0.2)
    assert quality(reference, brighter).ssim > 0.98 > 0.9 > quality(reference, noisy).ssim


def test_a_smaller_picture_is_scaled_up_and_costs_something() -> None:
    reference = scene()
    half = rgb(av.VideoFrame.from_ndarray(reference).reformat(160, 90, interpolation="AREA"))
    found = quality(reference, half)
    assert 0.8 < found.ssim < 1
    assert found.psnr_db > 20


def test_the_code_strip_is_left_out_when_there_is_one() -> None:
    reference = TestPattern(320, 180, fps=15, stream=1).frame(1)
    damaged = reference.copy()
    damaged[-60:] = 0
    assert quality(reference, damaged).ssim == 1.0
    assert quality(reference, damaged, without_code=False).ssim < 0.9
    plain = scene()
    damaged = plain.copy()
    damaged[-60:] = 0
    assert quality(plain, damaged).ssim < 0.9


def encoded(pattern: TestPattern, bitrate_bps: int, count: int) -> list[NDArray[np.uint8]]:
    """The first pictures of a pattern after VP8."""
    width, height, fps = pattern.width, pattern.height, pattern.fps
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.bit_rate = Fraction(fps), Fraction(1, fps), bitrate_bps
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    decoder = av.CodecContext.create("vp8", "r")
    shown = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(pattern.frame(number))
        frame.pts, frame.time_base = number, Fraction(1, fps)
        shown += [image for packet in encoder.encode(frame) for image in decoder.decode(packet)]
    return [rgb(image) for image in shown]


def test_more_bits_make_a_better_picture_and_the_number_decides_which_is_compared() -> None:
    pattern = TestPattern(320, 180, fps=15, stream=1)
    poor, good = (quality(pattern.frame(19), encoded(pattern, bps, 20)[19]) for bps in (30_000, 600_000))
    assert poor.ssim < good.ssim < 1
    assert poor.psnr_db < good.psnr_db
    another = quality(pattern.frame(12), encoded(pattern, 600_000, 20)[19])
    assert another.psnr_db < poor.psnr_db


def test_the_mean_of_several_frames() -> None:
    mean = mean_quality([Quality(30.0, 0.9), Quality(40.0, 1.0)])
    assert mean.ssim == pytest.approx(0.95)
    assert mean.psnr_db == pytest.approx(32.6, abs=0.01)  # of the mean squared error, not of the decibels
    assert mean_quality([Quality(math.inf, 1.0)]).psnr_db == math.inf
    assert math.isnan(mean_quality([]).ssim)


@pytest.mark.parametrize(
    "pair",
    [
        (np.zeros((90, 160), np.float32), np.zeros((90, 160), np.uint8)),
        (np.zeros((90, 160), np.uint8), np.zeros((90, 160, 3), np.uint8)),
        (np.zeros((8, 160), np.uint8), np.zeros((90, 160), np.uint8)),
    ],
)
def test_not_two_pictures(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    with pytest.raises(ValueError, match=r"picture|both"):
        quality(*pair)
