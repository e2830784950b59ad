"""The mixer's clock: no drift, no burst, nothing twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.mixing.beat import Beat


def test_ticks_come_at_their_time() -> None:
    beat = Beat(0.1, 5.0)
    assert beat.take(4.999) is None
    assert beat.take(5.0) == 0
    assert beat.take(5.05) is None
    assert beat.due == 5.1
    assert beat.take(5.13) == 1
    assert beat.due == 5.2  # being late does not move what follows
    assert beat.skipped == 0


def test_missed_ticks_are_left_out() -> None:
    beat = Beat(0.1, 0.0)
    beat.take(0.0)
    assert beat.take(0.75) == 7
    assert beat.take(0.75) is None
    assert beat.skipped == 6


def test_the_last_few_are_made_up_for_if_asked() -> None:
    beat = Beat(0.02, 0.0, catch_up=4)
    beat.take(0.0)
    numbers = []
    while (number := beat.take(0.201)) is not None:
        numbers.append(number)
    assert numbers == [6, 7, 8, 9, 10]
    assert beat.skipped == 5


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 0.3), max_size=80),
    st.sampled_from([0, 1, 4]),
    st.sampled_from([1 / 30, 0.02, 1 / 7]),
    st.floats(0, 1e6),
)
def test_every_tick_is_done_once_or_counted(
    pauses: list[float], catch_up: int, interval: float, start: float
) -> None:
    beat = Beat(interval, start, catch_up)
    now, done = start, []
    for pause in pauses:
        now += pause
        at_once = 0
        while (number := beat.take(now)) is not None:
            done.append(number)
            at_once += 1
            assert start + number * interval <= now + 1e-9
        assert at_once <= catch_up + 1
        assert beat.due > now
    assert done == sorted(set(done))
    if done:
        assert len(done) + beat.skipped == done[-1] + 1
