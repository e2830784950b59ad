"""Reception statistics: wrap-around, jumps, loss, jitter and reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.reception import Reception


def feed(reception: Reception, *sequences: int) -> list[int | None]:
    return [
        reception.receive(sequence & 0xFFFF, 3000 * sequence & 0xFFFFFFFF, sequence / 30)
        for sequence in sequences
    ]


def test_nothing_received() -> None:
    reception = Reception(90000)
    block = reception.report(7, 1.0)
    assert block == (7, 0, 0, 0, 0, 0, 0)
    assert (reception.highest, reception.expected, reception.lost) == (None, 0, 0)


def test_extended_numbers_across_the_wrap() -> None:
    reception = Reception(90000)
    first, *rest = feed(reception, 65534, 65535, 65536, 65538, 65537)
    assert first is not None
    assert rest == [first + 1, first + 2, first + 4, first + 3]
    assert (reception.received, reception.expected, reception.lost) == (5, 5, 0)
    assert first & 0xFFFF == 65534
    assert reception.report(1, 0).highest == 65538


def test_late_packets_before_the_first_one_are_not_negative() -> None:
    reception = Reception(90000)
    first, late = feed(reception, 3, -2)
    assert first is not None
    assert late == first - 5 > 0


@pytest.mark.parametrize(("step", "accepted"), [(2999, True), (3000, False), (-1499, True), (-1500, False)])
def test_windows(step: int, accepted: bool) -> None:
    reception = Reception(90000)
    first, second = feed(reception, 10000, 10000 + step)
    assert first is not None
    assert second == (first + step if accepted else None)


def test_a_single_stray_packet_is_refused() -> None:
    reception = Reception(90000)
    feed(reception, 1, 2, 3)
    assert feed(reception, 30000) == [None]
    assert not reception.resynced
    feed(reception, 4)
    assert (reception.received, reception.lost) == (4, 0)


def test_two_packets_in_a_row_after_a_jump_are_a_restart() -> None:
    reception = Reception(90000)
    last = feed(reception, 40000, 40001, 40002)[-1]
    assert last is not None
    assert feed(reception, 100) == [None]
    (restarted,) = feed(reception, 101)
    assert reception.resynced
    assert restarted is not None
    assert restarted > last
    assert restarted & 0xFFFF == 101
    assert (reception.received, reception.expected, reception.lost) == (4, 4, 0)
    assert feed(reception, 103) == [restarted + 2]
    assert not reception.resynced
    assert reception.lost == 1


@given(st.integers(0, 65535), st.lists(st.booleans(), max_size=300), st.randoms(use_true_random=False))
def test_counts_of_a_lossy_reordered_run(start: int, kept: list[bool], random: object) -> None:
    sequences = [start, *(start + 1 + offset for offset, keep in enumerate(kept) if keep)]
    reception = Reception(90000)
    origin = reception.receive(start, 0, 0.0)
    assert origin is not None
    for at in range(1, len(sequences), 5):
        part = sequences[at : at + 5]
        random.shuffle(part)  # type: ignore[attr-defined]
        for sequence in part:
            assert reception.receive(sequence & 0xFFFF, 0, 0.0) == origin + sequence - start
    assert reception.received == len(sequences)
    assert reception.lost == sequences[-1] - start + 1 - len(sequences) if len(sequences) > 1 else True


@given(st.lists(st.integers(0, 65535), max_size=200))
def test_any_sequence_numbers(sequences: list[int]) -> None:
    reception = Reception(48000)
    highest = -1
    for sequence in sequences:
        extended = reception.receive(sequence, 0, 0.0)
        if extended is None:
            continue
        assert extended & 0xFFFF == sequence
        assert extended > highest - 1500
        highest = max(highest, extended)
    assert reception.highest == (highest if sequences else None)
    assert 0 <= reception.report(1, 0.0).fraction_lost <= 255


def test_steady_arrival_has_no_jitter_whatever_the_clock_wraps_to() -> None:
    reception = Reception(90000)
    for number in range(50):
        reception.receive(number, (0xFFFFFFFF - 60000 + 3000 * number) & 0xFFFFFFFF, 100 + number / 30)
    assert reception.jitter_s == pytest.approx(0, abs=1e-9)


def test_jitter_is_that_of_frames_not_of_packets() -> None:
    reception = Reception(90000)
    for number in range(100):
        for part in range(5):
            reception.receive(5 * number + part, 3000 * number, number / 30 + part * 0.005)
    assert reception.jitter_s == pytest.approx(0, abs=1e-9)


def test_jitter_converges_to_the_mean_difference_of_transit() -> None:
    reception = Reception(90000)
    for number in range(400):
        reception.receive(number, 3000 * number, number / 30 + (number % 2) * 0.010)
    assert reception.jitter_s == pytest.approx(0.010, rel=0.01)
    assert reception.report(1, 0).jitter == pytest.approx(900, abs=10)


def test_a_jump_of_the_media_clock_is_not_jitter() -> None:
    reception = Reception(90000)
    reception.receive(1, 0, 0.0)
    reception.receive(2, 0x40000000, 0.033)
    reception.receive(3, 0x40000000 + 3000, 0.033 + 1 / 30)
    assert reception.jitter_s == pytest.approx(0, abs=1e-6)


def test_fraction_lost_is_that_since_the_last_report() -> None:
    reception = Reception(90000)
    feed(reception, *(number for number in range(100) if number % 4))
    feed(reception, 100)
    first = reception.report(1, 0)
    assert (first.fraction_lost, first.lost) == (256 * 24 // 100, 24)
    feed(reception, *range(101, 201))
    second = reception.report(1, 0)
    assert (second.fraction_lost, second.lost) == (0, 24)
    assert reception.report(1, 0).fraction_lost == 0


def test_duplicates_make_the_loss_negative() -> None:
    reception = Reception(90000)
    feed(reception, 1, 2, 2, 2, 3)
    block = reception.report(1, 0)
    assert (block.lost, block.fraction_lost) == (-2, 0)


def test_sender_reports_come_back_in_the_block() -> None:
    reception = Reception(90000)
    feed(reception, 1)
    reception.sender_report(0x1122334455667788, 0, 10.0)
    block = reception.report(1, 11.5)
    assert (block.lsr, block.dlsr) == (0x33445566, 98304)
    assert reception.report(1, 9.0).dlsr == 0
    assert reception.report(1, 1e9).dlsr == 0xFFFFFFFF


def test_times_are_mapped_through_the_last_sender_report() -> None:
    reception = Reception(48000)
    assert reception.rtp_at(1 << 32) is None
    assert reception.ntp_at(5) is None
    ntp = 3_900_000_000 << 32
    reception.sender_report(ntp, 0xFFFFFF00, 0.0)
    assert reception.rtp_at(ntp) == 0xFFFFFF00
    assert reception.rtp_at(ntp + (1 << 31)) == (0xFFFFFF00 + 24000) & 0xFFFFFFFF
    assert reception.rtp_at(ntp - (1 << 32)) == 0xFFFFFF00 - 48000
    assert reception.ntp_at((0xFFFFFF00 + 24000) & 0xFFFFFFFF) == ntp + (1 << 31)


@given(st.integers(1 << 40, (1 << 64) - 1), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_mapping_there_and_back(ntp: int, reported: int, rtp: int) -> None:
    reception = Reception(90000)
    reception.sender_report(ntp, reported, 0.0)
    mapped = reception.ntp_at(rtp)
    assert mapped is not None
    assert reception.rtp_at(mapped) == rtp
