"""Latency by frame number: pairing, wrap-around, duplicates, and what never came."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.measure import latency, summary


def test_pairs_by_number_not_by_order() -> None:
    sent = {n: 10 + n / 10 for n in range(5)}
    seen = [(3, 10.38), (1, 10.15), (2, 10.25), (4, 10.52)]
    frame = latency(sent, seen)
    assert frame["frame"].tolist() == [1, 2, 3, 4]
    assert frame["latency_s"].tolist() == pytest.approx([0.05, 0.05, 0.08, 0.12])


def test_a_repeated_picture_counts_when_it_was_first_seen() -> None:
    frame = latency({7: 1.0}, [(7, 1.3), (7, 1.2), (7, 1.4)])
    assert frame["seen_s"].tolist() == [1.2]
    assert frame["views"].tolist() == [3]


def test_what_never_came_is_a_row_of_its_own() -> None:
    frame = latency({n: float(n) for n in range(6)}, [(1, 1.1), (4, 4.3), (77, 5.0)])
    assert frame["frame"].tolist() == [1, 2, 3, 4]
    assert frame["seen_s"].isna().tolist() == [False, True, True, False]
    found = summary(frame)
    assert (found.frames, found.missing) == (2, 2)
    assert found.p50_s == pytest.approx(0.2)
    assert found.max_s == pytest.approx(0.3)


@settings(deadline=None)
@given(st.integers(0, 1 << 20), st.integers(1, 300), st.integers(0, 1000))
def test_numbers_wrap_around_in_the_picture(first: int, count: int, seed: int) -> None:
    generator = random.Random(seed)
    sent = {n: n / 30 for n in range(first, first + count)}
    delays = {n: generator.uniform(0, 2) for n in sent}
    seen = [(n & 0xFFFF, sent[n] + delays[n]) for n in sent]
    generator.shuffle(seen)
    frame = latency(sent, seen)
    assert frame["frame"].tolist() == list(sent)
    assert np.allclose(frame["latency_s"], [delays[n] for n in sent])


def test_what_was_seen_before_the_frame_of_its_number_was_sent_is_older() -> None:
    now_sent = {n: 100 + n / 30 for n in range(60)}  # published anew: numbers begin at 0 again
    former = [(n, 90 + n / 30 + 0.05) for n in range(60)]
    frame = latency(now_sent, [*former, *((n, now_sent[n] + 0.07) for n in range(10, 60))])
    assert frame["frame"].tolist() == list(range(10, 60))
    assert frame["latency_s"].to_numpy() == pytest.approx(0.07)
    assert set(frame["views"]) == {1}
    assert latency(now_sent, former).empty


def test_of_frames_that_share_a_number_the_one_just_sent_was_seen() -> None:
    sent = {n: n / 30 for n in (7, 8, 65536 + 7, 65536 + 8)}
    seen = [(7, sent[7] + 0.1), (8, sent[8] + 0.1), (7, sent[65543] + 0.2), (8, sent[65544] + 0.2)]
    frame = latency(sent, seen)
    assert frame["frame"].tolist() == list(sent)
    assert frame["latency_s"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_percentiles_over_several_viewers() -> None:
    sent = {n: float(n) for n in range(101)}
    each = [latency(sent, [(n, n + n / 100) for n in sent]) for _ in range(2)]
    found = summary(pd.concat(each))
    assert found.frames == 202
    assert [found.p50_s, found.p95_s] == pytest.approx([0.5, 0.95])


def test_nothing_seen() -> None:
    frame = latency({1: 1.0}, [])
    assert frame.empty
    assert math.isnan(summary(frame).p95_s)


def test_arrays_series_and_frames_are_taken() -> None:
    sent = {n: 10 + n / 10 for n in range(5)}
    seen = [(65536 + 1, 10.15), (3, 10.38), (4, 10.52)]
    expected = latency(sent, seen)
    assert expected["latency_s"].isna().tolist() == [False, True, False, False]
    for same_sent in (sent, pd.Series(sent)):
        for same_seen in (seen, np.array(seen), pd.DataFrame(seen, columns=["number", "at_s"])):
            pd.testing.assert_frame_equal(latency(same_sent, same_seen), expected)
    with pytest.raises(ValueError, match=r"two columns.*\['viewer', 'frame', 'at_s'\]"):
        latency(sent, pd.DataFrame([("bob", 3, 10.38)], columns=["viewer", "frame", "at_s"]))


def test_all_that_was_sent_in_a_span_has_a_row() -> None:
    sent = {n: float(n) for n in range(10)}
    frame = latency(sent, [(4, 4.5), (5, 5.5)], (2.5, 7.0))
    assert frame["frame"].tolist() == [3, 4, 5, 6, 7]
    assert frame["seen_s"].isna().tolist() == [True, False, False, True, True]
    assert latency(sent, [(1, 1.5), (8, 8.5)], (2.5, 7.0))["frame"].tolist() == list(range(1, 9))
    found = summary(latency(sent, [], (2.5, 7.0)))
    assert (found.frames, found.missing) == (0, 5)
    assert latency(sent, [], (7.5, 7.0)).empty
