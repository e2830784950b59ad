"""Headless participants in a mesh: every pair is connected, and the room forwards nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rtclab
from room_tools import readable_numbers
from waiting import until


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room(architecture="mesh") as room:
        yield room


def tiny(sound: bool = False) -> rtclab.TestPattern:
    return rtclab.TestPattern(160, 90, fps=5, sound=sound)


def connected(peer: rtclab.Peer) -> set[str]:
    """With whom a peer exchanges frames."""
    rows = peer.stats()
    rows = rows[(rows["connection"] != "room") & (rows["encoder_active"] | rows["decoder_active"])]
    return set(rows["connection"])


def test_eight_in_a_mesh(room: rtclab.Room) -> None:
    names = [f"peer-{number}" for number in range(8)]
    peers = [room.join(name) for name in names]
    for peer in peers:
        peer.publish(tiny())
    tracks = [peer.watch(name) for peer in peers for name in names if name != peer.name]
    until(lambda: all(track.received > 2 for track in tracks), "somebody does not see somebody")
    assert {track.via for track in tracks} == {"direct"}
    for peer in peers:
        rows = peer.stats()
        direct = rows[rows["connection"] != "room"]
        assert sorted(direct["direction"]) == ["down"] * 7 + ["up"] * 7
        assert set(direct[direct["direction"] == "up"]["participant"]) == {peer.name}
        assert (direct["connection"] == direct["participant"])[direct["direction"] == "down"].all()
        assert connected(peer) == set(names) - {peer.name}
        assert not rows[rows["connection"] == "room"]["encoder_active"].any()


def test_the_room_forwards_nothing_and_wire_costs_more_than_payload(room: rtclab.Room) -> None:
    peers = [room.join(name) for name in ("ann", "ben", "cat")]
    for peer in peers:
        peer.publish(tiny(sound=True))
    tracks = [peer.watch(other.name) for peer in peers for other in peers if other is not peer]
    until(lambda: all(track.received > 10 for track in tracks), "somebody does not see somebody")
    before = [peer.stats() for peer in peers]
    passed = room.stats()["packets"].fillna(0).sum()
    marks = [track.received for track in tracks]
    until(lambda: all(t.received > mark + 10 for t, mark in zip(tracks, marks, strict=True)), "it stops")
    for peer, earlier in zip(peers, before, strict=True):
        rows = peer.stats()
        through = rows["connection"] == "room"
        assert (rows["packets"] - earlier["packets"])[through].sum() == 0
        assert (rows["packets"] - earlier["packets"])[~through].min() > 0
        packets, wire, payload = (rows[~through][name] for name in ("packets", "wire_bytes", "payload_bytes"))
        overhead = (wire - payload) / packets
        assert overhead.between(12 + 10 + 28, 12 + 20 + 16 + 28).all()  # RTP, its extensions, SRTP, UDP/IP
    streams = room.stats()
    assert list(streams["direction"].value_counts()[["in", "out"]]) == [2 * len(peers), len(tracks)]
    assert streams["packets"].fillna(0).sum() == passed


def test_only_those_are_connected_who_have_something_for_each_other(room: rtclab.Room) -> None:
    watchers = [room.join(name) for name in ("ann", "ben")]
    cat = room.join("cat")
    cat.publish(tiny())
    for watcher in watchers:
        readable_numbers(watcher.watch("cat"), 3)
    assert [connected(peer) for peer in (*watchers, cat)] == [{"cat"}, {"cat"}, {"ann", "ben"}]
    watchers[0].publish(tiny())
    readable_numbers(watchers[1].watch("ann"), 3)
    readable_numbers(cat.watch("ann"), 3)
    assert connected(watchers[0]) == {"ben", "cat"}


def test_who_leaves_closes_only_its_own_connections(room: rtclab.Room) -> None:
    ann, ben, cat = peers = [room.join(name) for name in ("ann", "ben", "cat")]
    for peer in peers:
        peer.publish(tiny())
    gone, stays = ann.watch("ben"), ann.watch("cat")
    back = cat.watch("ann")
    until(lambda: min(track.received for track in (gone, stays, back)) > 2, "somebody does not see somebody")
    client = ann._client
    assert client is not None
    links = dict(client._mesh._links)
    ben.leave()
    until(lambda: gone.ended, "who has left is still there")
    assert client._mesh._links == {id: link for id, link in links.items() if link.name == "cat"}
    marks = stays.received, back.received
    until(lambda: stays.received > marks[0] + 5 and back.received > marks[1] + 5, "the others are affected")
    newcomer = room.join("ben")
    newcomer.publish(tiny())
    readable_numbers(ann.watch("ben"), 3)
    readable_numbers(newcomer.watch("cat"), 3)
