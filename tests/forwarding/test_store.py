"""The packet store: a ring by sequence number that never gives a packet for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.forwarding.store import PAYLOAD_LIMIT, PacketStore
from rtclab.rtp.payload import PayloadInfo

INFO = PayloadInfo(keyframe=False, start=True)


def put(store: PacketStore, sequence: int, payload: bytes = b"x") -> bool:
    return store.put(sequence, sequence * 10, True, payload, INFO, 0.5) is not None


def test_a_packet_is_found_by_its_whole_and_its_short_number() -> None:
    store = PacketStore(8)
    assert put(store, 70000, b"hello")
    packet = store.get(70000)
    assert packet is not None
    assert packet is store.get16(70000 - 65536)
    assert store.data[packet.slot, : packet.length].tobytes() == b"hello"
    assert (packet.timestamp, packet.marker, packet.arrival) == (700000, True, 0.5)
    assert store.get(70008) is None
    assert store.get(70000 - 65536) is None
    assert store.get16(70008 & 0xFFFF) is None


def test_duplicates_and_packets_without_a_place_are_refused() -> None:
    store = PacketStore(8)
    assert put(store, 100)
    assert not put(store, 100)
    assert put(store, 107)
    assert put(store, 101)
    assert put(store, 109)
    assert not put(store, 101)
    assert not put(store, 100), "its slot is empty, but it is too old"
    assert [packet.sequence for packet in store.since(0)] == [107, 109]


def test_payloads_keep_to_their_slots() -> None:
    store = PacketStore(4)
    for sequence in range(4):
        assert put(store, sequence, bytes([sequence + 1]) * PAYLOAD_LIMIT)
    assert [set(row.tolist()) for row in store.data] == [{1}, {2}, {3}, {4}]


def test_the_capacity_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        PacketStore(12)


@given(st.lists(st.integers(0, 100), max_size=200))
def test_it_holds_what_was_put_last(sequences: list[int]) -> None:
    store = PacketStore(16)
    kept: dict[int, bytes] = {}
    for sequence in sequences:
        fits = sequence not in kept and sequence > max(kept, default=-1) - 16
        assert put(store, sequence, b"%d" % sequence) == fits
        if fits:
            kept[sequence] = b"%d" % sequence
            kept = {number: body for number, body in kept.items() if number > max(kept) - 16}
    found = {packet.sequence: store.data[packet.slot, : packet.length].tobytes() for packet in store.since(0)}
    assert found == kept
