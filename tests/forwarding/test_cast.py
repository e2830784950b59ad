"""What is noted of what went out: each packet is found by the number it had, and old ones are forgotten."""

from __future__ import annotations

import numpy as np

from forwarding_rig import Outbox, vp8
from rtclab.forwarding.cast import MAX_SHIPMENTS, Cast, Sent, Shipment, Shipments, wholes
from rtclab.forwarding.columns import ViewerColumns
from rtclab.forwarding.store import Packet, PacketStore
from rtclab.rtp.payload import describer
from rtclab.transport.batch import SLOTS


def columns(viewers: int) -> ViewerColumns:
    found = ViewerColumns()
    for viewer in range(viewers):
        row = found.take_row()
        found.path[row] = 50 + viewer
        found.header[row] = viewer % 256
        found.sequence_offset[row] = 100 * viewer
        found.timestamp_offset[row] = 1000 * viewer
        found.picture_offset[row] = viewer
        found.tl0_offset[row] = 2 * viewer
    return found


def packets(store: PacketStore, first: int, count: int) -> list[Packet]:
    found = []
    for number in range(first, first + count):
        payload = vp8(b"x", number, number)
        packet = store.put(number, number * 3000, True, payload, describer("VP8")(payload), 0.0)
        assert packet is not None
        found.append(packet)
    return found


def find(shipments: Shipments, row: int, number: int) -> Sent | None:
    return shipments.find(row, {number}).get(number)


def test_each_row_finds_its_packets_by_its_own_numbers() -> None:
    store, shipments = PacketStore(64), Shipments()
    everybody = columns(3)
    sent = packets(store, 10, 4)
    shipments.add(Shipment(Cast(everybody, np.array([0, 2])), sent, False), 0)
    for row in (0, 2):
        for packet in sent:
            found = find(shipments, row, packet.sequence + 100 * row)
            assert found is not None
            assert found.packet is packet
            assert found.timestamp == packet.timestamp + 1000 * row
            assert found.numbers == packet.sequence + row << 8 | packet.sequence + 2 * row
        assert find(shipments, row, 9 + 100 * row) is None
        assert find(shipments, row, 14 + 100 * row) is None
    assert find(shipments, 1, 110) is None


def test_a_cast_keeps_what_was_added_when_it_was_made() -> None:
    store, shipments = PacketStore(64), Shipments()
    everybody = columns(2)
    (early,) = packets(store, 10, 1)
    shipments.add(Shipment(Cast(everybody, np.array([1])), [early], False), 0)
    everybody.sequence_offset[1] -= 1
    (late,) = packets(store, 12, 1)
    shipments.add(Shipment(Cast(everybody, np.array([1])), [late], False), 0)
    found = [find(shipments, 1, number) for number in (110, 111)]
    assert [one.packet for one in found if one] == [early, late]


def test_what_is_no_longer_stored_is_forgotten() -> None:
    store, shipments = PacketStore(8), Shipments()
    cast = Cast(columns(1), np.array([0]))
    for number in range(50):
        shipments.add(Shipment(cast, packets(store, number, 1), False), store.newest - store.capacity + 1)
    assert len(shipments) == store.capacity
    assert find(shipments, 0, 41) is None
    assert find(shipments, 0, 42) is not None
    for _ in range(2 * MAX_SHIPMENTS):
        shipments.add(Shipment(cast, packets(PacketStore(8), 60, 1), False), 0)
    assert len(shipments) == MAX_SHIPMENTS


def test_a_search_goes_back_no_further_than_it_must() -> None:
    store, shipments = PacketStore(64), Shipments()
    cast = Cast(columns(1), np.array([0]))
    before, early, after, hole = (packets(store, number, 1) for number in (9, 10, 12, 11))
    for sent in (before, early, after):
        shipments.add(Shipment(cast, sent, False), 0)
    shipments.add(Shipment(cast, hole, True), 0)
    wanted = {9, 11, 12, 40}
    assert sorted(shipments.find(0, wanted)) == [9, 11, 12]
    assert wanted == {40}
    before[0].sequence = 11  # nobody looks there any more
    assert find(shipments, 0, 12) is not None
    assert find(shipments, 0, 13) is None


def test_parts_cover_a_cast_and_fit_the_arena() -> None:
    batch = Outbox()
    cast = Cast(columns(300), np.arange(300))
    for count in (1, 3, 4, SLOTS // 4):
        parts = cast.parts(count, batch)
        assert np.concatenate([part.rows for part in parts]).tolist() == list(range(300))
        assert np.concatenate([part.clients.rows for part in parts]).tolist() == list(range(50, 350))
        assert all(part.slots.shape[:2] == (len(part.rows), count) for part in parts)
        assert all(part.slots.base is not None and len(part.rows) * count <= SLOTS for part in parts)
        assert cast.parts(count, batch) is parts


def test_renumbering_is_needed_only_where_numbers_change() -> None:
    everybody = columns(2)
    assert Cast(everybody, np.array([0, 1])).renumbers
    assert not Cast(everybody, np.array([0])).renumbers
    everybody.picture_offset[0], everybody.tl0_offset[0] = 0x8000, 0x100
    assert not Cast(everybody, np.array([0])).renumbers


def test_wholes_are_views() -> None:
    block = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert wholes(block).shape == (2, 2)
    wholes(block)[0, 1] = wholes(block)[1, 0]
    assert block[0, 1].tolist() == [6, 7, 8]
