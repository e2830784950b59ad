"""The NACK list: what is asked for, when again, and when it is given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.nack import MAX_ASKED, MAX_MISSING, MAX_TRIES, NackGenerator


def test_a_gap_is_asked_for_at_once_and_only_once() -> None:
    nack = NackGenerator(0.1)
    assert nack.receive(100, False, 0.0) == ()
    assert nack.receive(101, False, 0.0) == ()
    assert nack.receive(104, False, 0.0) == (102, 103)
    assert nack.receive(106, False, 0.0) == (105,)
    assert nack.due(0.05) == ()


def test_sixteen_bits_across_the_wrap() -> None:
    nack = NackGenerator(0.1)
    nack.receive(65534, False, 0.0)
    assert nack.receive(65538, False, 0.0) == (65535, 0, 1)
    assert nack.due(0.1) == (65535, 0, 1)


def test_asked_again_after_a_round_trip_until_recovered() -> None:
    nack = NackGenerator(0.1)
    nack.receive(1, False, 0.0)
    nack.receive(4, False, 0.0)
    assert nack.due(0.06, rtt=0.05) == (2, 3)
    assert nack.receive(2, False, 0.07) == ()
    assert nack.due(0.12) == (3,)
    nack.receive(3, False, 0.13)
    assert nack.due(9.0) == ()
    assert len(nack) == 0


def test_not_asked_again_sooner_than_a_sender_can_answer() -> None:
    nack = NackGenerator(0.0)
    nack.receive(1, False, 0.0)
    nack.receive(3, False, 0.0)
    assert nack.due(0.01) == ()
    assert nack.due(0.02) == (2,)


def test_given_up_after_ten_tries() -> None:
    nack = NackGenerator(0.1)
    nack.receive(1, False, 0.0)
    nack.receive(3, False, 0.0)
    tries = 1 + sum(len(nack.due(0.1 * step)) for step in range(1, 50))
    assert tries == MAX_TRIES
    assert len(nack) == 0
    assert not nack.overflow


def test_given_up_when_too_old() -> None:
    nack = NackGenerator(0.1)
    nack.receive(1, False, 0.0)
    for sequence in range(3, 5 + MAX_MISSING):
        nack.receive(sequence, False, 0.0)
    assert nack.due(1.0) == ()


def test_one_request_fits_one_datagram() -> None:
    nack = NackGenerator(0.1)
    nack.receive(0, False, 0.0)
    nack.receive(600, False, 0.0)
    asked = [nack.due(1.0) for _ in range(4)]
    assert [len(part) for part in asked] == [MAX_ASKED, MAX_ASKED, 99, 0]
    assert sum(asked, ()) == tuple(range(1, 600))


def test_overflow_wants_a_keyframe() -> None:
    nack = NackGenerator(0.1)
    nack.receive(0, True, 0.0)
    assert len(nack.receive(MAX_MISSING + 1, False, 0.0)) == MAX_MISSING
    assert not nack.overflow
    assert nack.receive(MAX_MISSING + 3, False, 0.0) == (MAX_MISSING + 2,)  # the oldest made room
    assert nack.receive(9000, False, 0.0) == ()
    assert nack.overflow
    assert nack.due(1.0) == ()
    nack.receive(9001, True, 1.0)
    assert not nack.overflow


def test_overflow_gives_up_what_lies_before_the_newest_keyframe() -> None:
    nack = NackGenerator(0.1)
    nack.receive(0, True, 0.0)
    nack.receive(600, False, 0.0)
    nack.receive(601, True, 0.0)
    assert len(nack.receive(1100, False, 0.0)) == 498
    assert not nack.overflow
    assert nack.due(1.0)[0] == 602


def test_a_gap_right_before_a_keyframe_is_not_asked_for_when_there_is_no_room() -> None:
    nack = NackGenerator(0.1)
    nack.receive(0, False, 0.0)
    assert nack.receive(5000, True, 0.0) == ()
    assert not nack.overflow
    assert nack.receive(5002, False, 0.0) == (5001,)


@given(st.lists(st.tuples(st.integers(-40, 60), st.booleans()), max_size=80))
def test_asks_for_exactly_the_packets_not_received(steps: list[tuple[int, bool]]) -> None:
    nack = NackGenerator(0.1)
    position = first = 1000
    received = {first}
    nack.receive(first, False, 0.0)
    for step, keyframe in steps:
        position = max(position + step, first)
        nack.receive(position, keyframe, 0.0)
        received.add(position)
    missing = set(range(first, max(received))) - received
    assert len(nack) <= MAX_MISSING
    if len(missing) <= MAX_MISSING and max(received) - first < MAX_MISSING:
        asked: set[int] = set()
        while part := nack.due(1.0):
            asked.update(part)
        assert asked == missing


@given(st.lists(st.integers(0, 5000), max_size=60))
def test_the_list_is_bounded(gaps: list[int]) -> None:
    nack = NackGenerator(0.1)
    position = 0
    for gap in gaps:
        position += 1 + gap
        assert len(nack.receive(position, gap % 7 == 0, 0.0)) <= MAX_MISSING
        assert len(nack) <= MAX_MISSING
