"""Which track serves a watch, by what the room lists."""

from __future__ import annotations

import pytest

from rtclab.peers.following import Situation


def track(id, name, kind="video", source="pattern", participant=None):
    return {
        "id": id,
        "participant": {"id": participant or f"p-{name}", "name": name},
        "kind": kind,
        "source": source,
    }


OWN = [
    track("t1", "alice"),
    track("t2", "alice", "audio"),
    track("t3", "alice", source="screen"),
    track("t4", "bob"),
]
MIX = [
    track("mix-video", "everyone", source="mix", participant="room"),
    track("mix-a", "everyone", "audio", "mix", "room"),
]


def situation(tracks, mixed=False):
    return Situation("any", False, mixed, {entry["id"]: entry for entry in tracks})


@pytest.mark.parametrize(
    ("name", "kind", "source", "expected"),
    [
        ("alice", "video", None, "t1"),
        ("p-alice", "video", None, None),
        ("alice", "audio", None, "t2"),
        ("alice", "video", "screen", "t3"),
        ("alice", "video", "camera", None),
        ("carol", "video", None, None),
    ],
)
def test_a_participants_own_track(name, kind, source, expected):
    served = situation(OWN).serving(None, name, kind, source)
    assert (served["id"] if served else None) == expected


def test_a_name_that_is_the_id_of_another_is_a_name():
    tracks = [track("t1", "p2", participant="p1"), track("t2", "p1", participant="p2")]
    assert [situation(tracks).serving(None, name, "video", None)["id"] for name in ("p1", "p2")] == [
        "t2",
        "t1",
    ]


def test_once_known_a_track_is_not_mistaken_for_another():
    room = situation(OWN[2:])
    assert room.serving("t1", "alice", "video", None) is None
    assert room.serving("t3", "alice", "video", None)["id"] == "t3"


@pytest.mark.parametrize("own", ["t1", None])
def test_the_mix_serves_everybody(own):
    room = situation(MIX, mixed=True)
    assert room.serving(own, "alice", "video", "pattern")["id"] == "mix-video"
    assert room.serving(own, "alice", "audio", None)["id"] == "mix-a"
    assert room.serving(None, "everyone", "video", None)["id"] == "mix-video"


def test_who_is_known_not_to_be_in_the_mix_is_not_served_by_it():
    room = situation([{**MIX[0], "of": ["alice"]}, {**MIX[1], "of": ["alice", "bob"]}], mixed=True)
    assert room.serving(None, "alice", "video", None)["id"] == "mix-video"
    assert room.serving(None, "bob", "audio", None)["id"] == "mix-a"
    assert room.serving(None, "bob", "video", None) is None
    assert room.publishing == ["alice", "bob"]
    assert situation(OWN).publishing == ["alice", "bob"]


def test_what_is_not_listed_has_ended_only_where_the_list_is_complete():
    assert situation(OWN).complete
    assert situation([]).complete
    assert not situation(MIX, mixed=True).complete
    assert not situation([], mixed=True).complete  # the mix is still being made
    assert not situation(MIX).complete  # the list of the others' own tracks is on its way
