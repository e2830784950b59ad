"""Packets become frames: in order, at once, and after a loss only from a keyframe on."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.rtp.assembly import MOST_PACKETS, PATIENCE_S, Assembler, Fragment


def frames(
    count: int, packets: int = 3, keyframes: tuple[int, ...] = (0,), first: int = 100, marker: bool = True
) -> list[list[Fragment]]:
    """Frames whose payloads say their number and their part."""
    made = []
    for number in range(count):
        start = first + number * packets
        made.append(
            [
                Fragment(
                    start + part,
                    number * 3000,
                    marker and part == packets - 1,
                    number in keyframes and part == 0,
                    bytes((number, part)),
                )
                for part in range(packets)
            ]
        )
    return made


def taken(assembler: Assembler, now: float = 0.0) -> list[int]:
    """The numbers of the frames that can be taken, each of which must be whole."""
    numbers = []
    while (frame := assembler.take(now)) is not None:
        assert [fragment.payload[1] for fragment in frame] == list(range(len(frame)))
        assert len({fragment.payload[0] for fragment in frame}) == 1
        numbers.append(frame[0].payload[0])
    return numbers


def test_a_frame_is_there_with_its_last_packet() -> None:
    assembler = Assembler()
    first, second = frames(2)
    for fragment in first[:2]:
        assembler.add(fragment)
        assert taken(assembler) == []
    assembler.add(first[2])
    assert taken(assembler) == [0]
    for fragment in second:
        assembler.add(fragment)
    assert taken(assembler) == [1]
    assert not assembler.waiting


def test_it_begins_with_a_keyframe() -> None:
    assembler = Assembler()
    for frame in frames(5, keyframes=(3,)):
        for fragment in frame:
            assembler.add(fragment)
    assert assembler.waiting
    assert taken(assembler) == [3, 4]
    assert not assembler.waiting


def test_a_hole_is_waited_for() -> None:
    assembler = Assembler()
    made = [fragment for frame in frames(4) for fragment in frame]
    late = made.pop(4)
    for fragment in made:
        assembler.add(fragment)
    assert taken(assembler, 1.0) == [0]
    assert not assembler.waiting
    assembler.add(late)
    assert taken(assembler, 1.2) == [1, 2, 3]
    assert assembler.lost == 0


def test_a_hole_that_stays_needs_a_keyframe() -> None:
    assembler = Assembler()
    made = frames(8, keyframes=(0, 6))
    for frame in made[:5]:
        for fragment in frame:
            if fragment.sequence != 104:
                assembler.add(fragment)
    assert taken(assembler, 1.0) == [0]
    assert taken(assembler, 1.0 + PATIENCE_S * 0.9) == []
    assert not assembler.waiting
    assert taken(assembler, 1.0 + PATIENCE_S * 1.1) == []
    assert assembler.waiting
    for frame in made[5:]:
        for fragment in frame:
            assembler.add(fragment)
    assert taken(assembler, 2.0) == [6, 7]
    assert assembler.lost == 1


def test_a_keyframe_ends_the_wait_for_a_hole() -> None:
    assembler = Assembler()
    got = []
    for frame in frames(6, keyframes=(0, 4)):
        for fragment in frame:
            if fragment.sequence != 104:
                assembler.add(fragment)
        got += taken(assembler, 1.0)
    assert got == [0, 4, 5]
    assert assembler.lost == 1


def test_a_keyframe_begins_with_its_parameter_sets() -> None:
    """Of H.264 the packet of the parameter sets and that of the first slice both look like a beginning."""
    for order in ((0, 1, 2), (1, 2, 0)):
        assembler = Assembler()
        (made,) = frames(1)
        made[1].opens = True
        for place in order:
            assembler.add(made[place])
        assert taken(assembler) == [0]


def test_who_begins_late_begins_with_the_newest_keyframe() -> None:
    assembler = Assembler()
    for frame in frames(6, keyframes=(0, 4)):
        for fragment in frame:
            assembler.add(fragment)
    assert taken(assembler) == [4, 5]


def test_without_markers_the_next_frame_ends_one() -> None:
    assembler = Assembler()
    for frame in frames(3, marker=False):
        for fragment in frame:
            assembler.add(fragment)
    assert taken(assembler) == [0, 1]


def test_padding_is_part_of_nothing() -> None:
    assembler = Assembler()
    first, second = frames(2, first=100)
    shifted = [
        Fragment(one.sequence + 2, one.timestamp, one.marker, one.opens, one.payload) for one in second
    ]
    padding = [Fragment(103 + place, first[0].timestamp, False, False, b"") for place in range(2)]
    for fragment in [*first, *padding, *shifted]:
        assembler.add(fragment)
    assert taken(assembler) == [0, 1]


def test_what_is_broken_goes_on_with_a_keyframe() -> None:
    assembler = Assembler()
    made = frames(4, keyframes=(0, 3))
    for fragment in made[0]:
        assembler.add(fragment)
    assert taken(assembler) == [0]
    assembler.restart()
    assert assembler.waiting
    for frame in made[1:]:
        for fragment in frame:
            assembler.add(fragment)
    assert taken(assembler) == [3]


def test_it_is_bounded() -> None:
    assembler = Assembler()
    for sequence in range(5 * MOST_PACKETS):
        assembler.add(Fragment(sequence, sequence, False, False, b"x"))
        assert len(assembler._kept) <= MOST_PACKETS
    assert taken(assembler) == []


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.0, 0.02, 0.2]))
def test_disorder_and_loss_never_give_a_broken_frame(seed: int, packets: int, loss: float) -> None:
    generator = random.Random(seed)
    made = [fragment for frame in frames(40, packets, keyframes=(0, 13, 29)) for fragment in frame]
    made = [fragment for fragment in made if generator.random() >= loss]
    order = sorted(made, key=lambda one: one.sequence + generator.uniform(0, 6))
    assembler = Assembler()
    got: list[int] = []
    for place, fragment in enumerate(order):
        assembler.add(fragment)
        if generator.random() < 0.1:
            assembler.add(fragment)  # twice
        got += taken(assembler, place * 0.01)
    assert got == sorted(set(got))
    known: set[int] = set()
    for number in got:
        assert number in (0, 13, 29) or number - 1 in known  # every frame after its predecessor
        known.add(number)
    if loss == 0 and got:
        assert 39 in got
