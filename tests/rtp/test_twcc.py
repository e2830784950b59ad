"""Transport-wide feedback: what is reported is what arrived, read back by the RTCP parser."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.rtcp import TransportFeedback, parse_rtcp
from rtclab.rtp.twcc import FeedbackRecorder

TICK_S = 0.00025


def read(packets: list[bytes]) -> list[TransportFeedback]:
    feedback = []
    for packet in packets:
        assert len(packet) % 4 == 0
        assert len(packet) <= 1200
        (parsed,) = parse_rtcp(packet)
        assert isinstance(parsed, TransportFeedback)
        assert len(parsed.arrivals) == parsed.count
        feedback.append(parsed)
    return feedback


def arrivals(packets: list[bytes]) -> dict[int, float | None]:
    return {number: at for feedback in read(packets) for number, at in feedback.arrivals}


def test_known_bytes() -> None:
    recorder = FeedbackRecorder()
    recorder.receive(10, 0.128)
    recorder.receive(11, 0.129)
    recorder.receive(13, 0.128)
    (packet,) = recorder.build(1, 2)
    # base 10, 4 packets, reference 2; two bits: small, small, missing, large; 0, 1 ms, -1 ms; padding
    assert packet == bytes.fromhex("afcd0006 00000001 00000002 000a0004 00000200 d480 0004fffc 0002")


def test_nothing_to_report() -> None:
    recorder = FeedbackRecorder()
    assert recorder.build(1, 2) == []
    recorder.receive(1, 0.0)
    assert len(recorder.build(1, 2)) == 1
    assert recorder.build(1, 2) == []


def test_reports_continue_where_the_last_one_ended() -> None:
    recorder = FeedbackRecorder()
    for number in (65533, 65534):
        recorder.receive(number, 1.0)
    first = read(recorder.build(1, 2))
    recorder.receive(1, 1.1)
    second = read(recorder.build(1, 2))
    assert [(part.base, part.count, part.feedback_count) for part in first + second] == [
        (65533, 2, 0),
        (65535, 3, 1),
    ]
    assert [at for _, at in second[0].arrivals] == [None, None, 1.1]


def test_a_late_packet_is_reported_with_what_followed_it() -> None:
    recorder = FeedbackRecorder()
    for number in (1, 3, 4):
        recorder.receive(number, 1.0 + number / 1000)
    assert arrivals(recorder.build(1, 2))[2] is None
    recorder.receive(2, 1.5)
    assert arrivals(recorder.build(1, 2)) == pytest.approx({2: 1.5, 3: 1.003, 4: 1.004})


def test_only_the_first_arrival_counts() -> None:
    recorder = FeedbackRecorder()
    recorder.receive(1, 1.0)
    recorder.receive(1, 2.0)
    assert arrivals(recorder.build(1, 2)) == {1: 1.0}
    recorder.receive(1, 3.0)
    assert recorder.build(1, 2) == []


def test_a_pause_too_long_for_a_delta_begins_a_new_packet() -> None:
    recorder = FeedbackRecorder()
    recorder.receive(1, 1.0)
    recorder.receive(3, 1.0 + 8.191)
    recorder.receive(5, 30.0)
    recorder.receive(6, 10.0)
    feedback = read(recorder.build(1, 2))
    assert [(part.base, part.count) for part in feedback] == [(1, 3), (4, 2), (6, 1)]
    assert [number for number, at in feedback[1].arrivals if at is None] == [4]


def test_the_window_is_bounded_however_the_numbers_jump() -> None:
    recorder = FeedbackRecorder()
    for step in range(200):
        recorder.receive(30000 * step & 0xFFFF, step / 1000)
    assert sum(part.count for part in read(recorder.build(1, 2))) <= 4096


def test_many_arrivals_between_two_reports_keep_the_newest() -> None:
    recorder = FeedbackRecorder()
    for number in range(20000):
        recorder.receive(number & 0xFFFF, number / 10000)
    reported = arrivals(recorder.build(1, 2))
    assert len(reported) == 4096
    assert reported[19999] == pytest.approx(1.9999, abs=TICK_S)


def test_a_sender_that_begins_anew_is_reported_again() -> None:
    recorder = FeedbackRecorder()
    recorder.receive(20000, 1.0)
    recorder.build(1, 2)
    recorder.receive(5, 2.0)
    recorder.receive(6, 2.0)
    assert arrivals(recorder.build(1, 2)) == {5: 2.0, 6: 2.0}


def test_the_time_base_wraps_like_its_field() -> None:
    recorder = FeedbackRecorder()
    wrap = 0.064 * 2**24
    recorder.receive(1, wrap + 1.0)
    assert arrivals(recorder.build(1, 2)) == {1: 1.0}


def test_the_worst_patterns_fit_a_datagram() -> None:
    generator = random.Random(7)
    for spread in (0.0001, 0.02, 1.0):
        recorder = FeedbackRecorder()
        expected = {}
        for number in range(4000):
            if generator.random() < 0.5:
                expected[number] = 100 + generator.random() * spread * 8
                recorder.receive(number, expected[number])
        reported = arrivals(recorder.build(1, 2))
        assert {number for number, at in reported.items() if at is not None} == set(expected)


@given(
    st.integers(0, 65535),
    st.floats(0, 1e5),
    st.lists(
        st.tuples(
            st.one_of(st.integers(-20, 20), st.integers(-300, 3000)),
            st.one_of(st.floats(0, 0.01), st.floats(0, 0.2), st.floats(-9, 20)),
            st.booleans(),
        ),
        max_size=120,
    ),
)
def test_round_trip(start: int, time: float, steps: list[tuple[int, float, bool]]) -> None:
    recorder = FeedbackRecorder()
    sent: dict[int, float] = {}
    reported: dict[int, float] = {}
    position = start
    for step, elapsed, build in steps:
        position += step
        time = max(time + elapsed, 0.0)
        if not sent or position > max(sent) - 4096:
            recorder.receive(position & 0xFFFF, time)
            sent.setdefault(position, time)
        if build:
            reported.update({key: at for key, at in arrivals(recorder.build(1, 2)).items() if at is not None})
    reported.update({key: at for key, at in arrivals(recorder.build(1, 2)).items() if at is not None})
    newest = max(sent, default=0)
    wrap = 0.064 * 2**24
    recent = {position & 0xFFFF: at for position, at in sent.items() if position > newest - 4096}
    for number, at in recent.items():
        if number in reported:
            assert (at - reported[number] + TICK_S / 2) % wrap < 1.01 * TICK_S
    if not any(build for *_, build in steps):
        assert set(recent) <= set(reported)
