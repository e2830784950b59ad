"""Freezes by the rule of W3C webrtc-stats, with libwebrtc's least number of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtclab.measure import freezes


def steady(fps: float, count: int, start: float = 0.0) -> list[float]:
    return [start + n / fps for n in range(count)]


def test_even_frames_do_not_freeze() -> None:
    found = freezes(steady(30, 300))
    assert (found.count, found.total_s, found.pauses, found.frames) == (0, 0.0, 0, 300)
    assert found.fps == pytest.approx(30)
    assert found.harmonic_fps == pytest.approx(30)


def test_one_second_is_a_freeze() -> None:
    """The case of libwebrtc's own test: 30 ms intervals, then a second."""
    times = [0.03 * n for n in range(6)]
    found = freezes([*times, times[-1] + 1])
    assert found.count == 1
    assert [found.longest_s, *found.at] == pytest.approx([1.0, 0.15])


@pytest.mark.parametrize(("gap", "count"), [(0.180, 0), (0.190, 1)])
def test_the_threshold_is_the_average_and_150_ms(gap: float, count: int) -> None:
    # 30 intervals, the last of them `gap`: (29 x 33.3 ms + gap) / 30 + 150 ms is 188 ms
    times = steady(30, 30)
    assert freezes([*times, times[-1] + gap]).count == count


@pytest.mark.parametrize(("gap", "count"), [(1.28, 0), (1.30, 1)])
def test_of_slow_frames_three_averages_count(gap: float, count: int) -> None:
    # 2.5 frames a second: 3 x (29 x 0.4 s + gap) / 30 is 1.289 s, and the average and 150 ms are less
    times = steady(2.5, 30)
    assert freezes([*times, times[-1] + gap]).count == count


def test_too_few_frames_tell_nothing() -> None:
    assert freezes([0, 0.03, 0.06, 0.09, 2]).count == 0


def test_more_than_five_seconds_is_a_pause() -> None:
    times = steady(30, 60)
    found = freezes([*times, *steady(30, 60, times[-1] + 5.5)])
    assert (found.count, found.pauses) == (0, 1)
    assert found.paused_s == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("times", "count", "total_s", "fps"),
    [
        (steady(10, 40, 100.05), 0, 0.0, 10.0),
        (steady(10, 20, 100.05), 1, 2.05, 5.0),  # it stops for good
        (steady(10, 20, 102.05), 1, 2.05, 5.0),  # it comes late
        ([100.05], 1, 3.95, 0.25),
        ([], 1, 4.0, 0.0),
        (steady(10, 20, 104.05), 1, 4.0, 0.0),  # all of them later
    ],
)
def test_in_a_span_its_ends_count(times: list[float], count: int, total_s: float, fps: float) -> None:
    found = freezes(times, (100.0, 104.0), 10)
    assert (found.count, found.pauses) == (count, 0)
    assert [found.total_s, found.fps] == pytest.approx([total_s, fps])


def test_nothing_in_a_long_span_is_a_pause() -> None:
    found = freezes([], (100.0, 106.0), 10)
    assert (found.count, found.pauses, found.paused_s, found.fps) == (0, 1, 6.0, 0.0)


def test_long_intervals_weigh_more_in_the_harmonic_rate() -> None:
    times = [*steady(30, 60), *steady(30, 60, 3.0)]
    found = freezes(np.array(times)[::-1])
    assert found.count == 1
    assert found.harmonic_fps < found.fps < 30


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 1.0]])
def test_nothing_to_average(times: list[float]) -> None:
    found = freezes(times)
    assert (found.count, found.frames) == (0, len(times))
    assert math.isnan(found.fps)
