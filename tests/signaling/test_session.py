"""One client's session: joining, offers one at a time, losing the carrier and coming back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.signaling import session as session_module
from rtclab.signaling.session import (
    CandidateReported,
    Joined,
    LayerPicked,
    Left,
    MuteChanged,
    Offered,
    PeerAddressed,
    PhaseReported,
    Resumed,
    Session,
    StatsReported,
    ViewChanged,
)

JOIN = {"type": "join", "id": 1, "version": 1, "name": "alice", "role": "participant", "agent": "test"}
ALICE = {"id": "p1", "name": "alice"}
ROOM = {"id": "r1", "name": "room", "architecture": "sfu"}
TRACK = {"id": "t1", "kind": "video"}


def offer(number: int) -> dict[str, Any]:
    return {"type": "offer", "id": number, "sdp": "v=0", "tracks": [{"mid": "0", "direction": "receive"}]}


def joined() -> Session:
    session = Session()
    assert session.receive(JOIN, 0.0) == [Joined("alice", "participant", "test", 1)]
    session.welcome(1, ALICE, ROOM, [TRACK])
    (welcome,) = session.take()
    assert welcome["type"] == "welcome"
    return session


def only(session: Session, kind: str) -> dict[str, Any]:
    (message,) = session.take()
    assert message["type"] == kind
    return message


def test_joining() -> None:
    session = Session()
    session.receive(JOIN, 0.0)
    assert session.state == "joining"
    session.welcome(1, ALICE, ROOM, [TRACK])
    assert session.state == "joined"
    assert only(session, "welcome") == {
        "type": "welcome",
        "re": 1,
        "version": 1,
        "session": session.token,
        "participant": ALICE,
        "room": ROOM,
        "ice_servers": [],
        "ice_transport_policy": "all",
        "transport": "auto",
        "resumed": False,
        "tracks": [TRACK],
    }


def test_tokens_are_long_and_differ() -> None:
    tokens = {Session().token for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 32 for token in tokens)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (offer(5), Offered(5, "v=0", ({"mid": "0", "direction": "receive", "track": None},))),
        ({"type": "candidate", "mid": "0", "candidate": "c"}, CandidateReported("0", "c")),
        (
            {"type": "layer", "id": 6, "track": "t1", "rid": "q", "temporal": 0},
            LayerPicked("t1", "q", 0, 6),
        ),
        (
            {"type": "view", "track": "t1", "width": 320, "height": 180, "visible": False},
            ViewChanged("t1", 320, 180, False),
        ),
        ({"type": "mute", "track": "t1", "muted": True}, MuteChanged("t1", True)),
        ({"type": "phase", "phase": "ICE", "elapsed_s": 0.5}, PhaseReported("ICE", 0.5, None)),
        (
            {"type": "stats", "time": 1.0, "tracks": [{"track": "t1", "fps": 30}]},
            StatsReported(1.0, ({"track": "t1", "fps": 30.0},)),
        ),
        ({"type": "leave"}, Left()),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_message_becomes_its_event(message: dict[str, Any], event: object) -> None:
    session = joined()
    assert session.receive(message, 1.0) == [event]
    assert session.take() == []


def test_ping_is_answered() -> None:
    session = joined()
    assert session.receive({"type": "ping", "id": 9}, 1.0) == []
    assert only(session, "pong") == {"type": "pong", "re": 9}


@pytest.mark.parametrize(
    "message", [offer(3), {"type": "ping", "id": 3}, {"type": "mute", "track": "t", "muted": True}]
)
def test_nothing_is_done_before_joining(message: dict[str, Any]) -> None:
    session = Session()
    assert session.receive(message, 0.0) == []
    error = only(session, "error")
    assert (error["code"], error["re"]) == ("not_joined", message.get("id"))


def test_phases_are_reported_before_joining() -> None:
    phase = {"type": "phase", "phase": "permission", "elapsed_s": 0.1}
    assert Session().receive(phase, 0.0) == [PhaseReported("permission", 0.1, None)]


def test_joining_twice_is_refused() -> None:
    session = joined()
    assert session.receive({**JOIN, "id": 2}, 0.0) == []
    assert only(session, "error")["code"] == "already_joined"
    assert session.state == "joined"


def test_another_version_is_refused_and_may_try_again() -> None:
    session = Session()
    assert session.receive({**JOIN, "version": 2}, 0.0) == []
    assert only(session, "error")["code"] == "version"
    assert session.receive(JOIN, 0.0) != []


def test_a_refused_join_may_be_repeated() -> None:
    session = Session()
    session.receive(JOIN, 0.0)
    session.error(1, "name_taken", "somebody is called alice")
    assert only(session, "error")["re"] == 1
    assert session.receive({**JOIN, "id": 2, "name": "bob"}, 0.0) == [Joined("bob", "participant", "test", 2)]


def test_a_wrong_message_is_answered_not_raised() -> None:
    session = joined()
    assert session.receive({"type": "mute", "track": "t1", "muted": 3}, 0.0) == []
    assert only(session, "error") == {
        "type": "error",
        "re": None,
        "code": "bad_message",
        "message": "mute: muted must be true or false, not 3",
    }


def test_a_second_offer_waits_for_the_first_answer() -> None:
    session = joined()
    session.receive(offer(2), 0.0)
    assert session.receive(offer(3), 0.0) == []
    error = only(session, "error")
    assert (error["re"], error["code"]) == (3, "offer_pending")
    session.answer(2, "v=0", [{"mid": "0", "track": "t1", "ssrc": 5}])
    assert only(session, "answer")["re"] == 2
    assert len(session.receive(offer(4), 0.0)) == 1
    session.error(4, "bad_sdp", "line 1")
    assert len(session.receive(offer(5), 0.0)) == 1


def test_only_the_waiting_offer_is_answered() -> None:
    session = joined()
    session.answer(2, "v=0", [])
    assert session.take() == []
    session.receive(offer(2), 0.0)
    session.answer(1, "v=0", [])
    assert session.take() == []


def test_tracks_are_sent_when_they_change() -> None:
    session = joined()
    session.tracks([TRACK])
    assert session.take() == []
    session.tracks([])
    assert only(session, "tracks") == {"type": "tracks", "revision": 1, "tracks": []}
    session.tracks([TRACK])
    session.tracks([TRACK, {**TRACK, "id": "t2"}])
    assert only(session, "tracks")["revision"] == 3


def test_only_the_newest_state_waits() -> None:
    session = joined()
    for number in range(100):
        session.consumer("t1", str(number), None, None, None)
        session.consumer("t2", str(number), None, None, None)
        session.levels({"p1": -number}, "p1")
    messages = session.take()
    assert [message["type"] for message in messages] == ["consumer", "consumer", "levels"]
    assert messages[0]["rid"] == messages[1]["rid"] == "99"
    assert messages[2] == {"type": "levels", "levels": {"p1": -99}, "active": "p1"}


def test_what_waits_is_bounded() -> None:
    session = joined()
    for number in range(3000):
        session.receive({"type": "ping", "id": number}, 0.0)
    assert len(session.take()) == session_module.MAX_OUTGOING


def test_stats_that_come_too_fast_are_ignored() -> None:
    session = joined()
    stats = {"type": "stats", "time": 1.0, "tracks": []}
    taken = [bool(session.receive(stats, tenth / 10)) for tenth in range(12)]
    assert [tenth for tenth, was in enumerate(taken) if was] == [0, 5, 10]


def test_a_lost_place_is_kept_for_a_while() -> None:
    session = joined()
    session.lost(10.0)
    assert session.state == "lost"
    assert not session.expired(21.9)
    assert session.expired(22.0)
    assert session.receive({"type": "ping", "id": 1}, 11.0) == []
    assert session.take() == []


def test_losing_twice_does_not_prolong_it() -> None:
    session = joined()
    session.lost(10.0)
    session.lost(20.0)
    assert session.expired(22.0)


def test_a_client_that_never_joined_leaves_nothing() -> None:
    session = Session()
    session.lost(0.0)
    assert session.state == "closed"
    assert not session.expired(100.0)


def test_resuming_gives_back_the_newest_states() -> None:
    session = joined()
    session.consumer("t1", "q", "f", None, "waiting_for_keyframe")
    session.lost(10.0)
    session.consumer("t2", "q", None, None, None)
    session.consumer("t2", "f", None, None, None)
    session.tracks([])
    session.levels({"p1": -10}, None)

    fresh = Session()
    assert fresh.receive({**JOIN, "id": 7, "session": session.token}, 12.0) == [Resumed(session.token, 7)]
    session.resumed(12.0)
    assert not session.expired(100.0)
    session.welcome(7, ALICE, ROOM, [TRACK], resumed=True)
    welcome, *consumers = session.take()
    assert welcome["resumed"]
    assert welcome["re"] == 7
    assert welcome["tracks"] == [TRACK]
    assert [(message["track"], message["rid"]) for message in consumers] == [("t1", "q"), ("t2", "f")]
    assert len(session.receive(offer(1), 13.0)) == 1


def test_an_offer_does_not_outlive_its_carrier() -> None:
    session = joined()
    session.receive(offer(2), 0.0)
    session.lost(1.0)
    session.answer(2, "v=0", [])
    session.resumed(2.0)
    session.welcome(3, ALICE, ROOM, [], resumed=True)
    assert [message["type"] for message in session.take()] == ["welcome"]
    assert len(session.receive(offer(4), 3.0)) == 1


def test_resuming_before_the_loss_was_noticed() -> None:
    session = joined()
    session.resumed(5.0)
    session.welcome(2, ALICE, ROOM, [], resumed=True)
    assert only(session, "welcome")["resumed"]
    assert session.state == "joined"


def test_an_unknown_session_may_join_anew() -> None:
    session = Session()
    session.receive({**JOIN, "session": "gone"}, 0.0)
    session.error(1, "unknown_session", "the room does not know it")
    assert session.receive({**JOIN, "id": 2}, 0.0) == [Joined("alice", "participant", "test", 2)]


def test_what_is_kept_while_lost_is_bounded() -> None:
    session = joined()
    session.lost(0.0)
    for number in range(1000):
        session.consumer(f"t{number}", None, None, None, "paused")
    session.resumed(1.0)
    session.welcome(1, ALICE, ROOM, [], resumed=True)
    messages = session.take()
    assert len(messages) == 1 + session_module.MAX_CONSUMERS
    assert messages[-1]["track"] == "t999"


def test_good_bye_is_the_last_word() -> None:
    session = joined()
    session.bye("room_closed", "the room was closed")
    session.bye("room_closed", "the room was closed")
    session.tracks([])
    session.levels({}, None)
    session.error(None, "not_allowed", "no")
    assert only(session, "bye")["code"] == "room_closed"
    assert session.receive({"type": "ping", "id": 1}, 0.0) == []
    session.lost(1.0)
    assert session.state == "closed"


MESSAGES = st.sampled_from(
    [
        JOIN,
        {**JOIN, "session": "token"},
        offer(2),
        offer(3),
        {"type": "ping", "id": 4},
        {"type": "leave"},
        {"type": "stats", "time": 0, "tracks": []},
        {"type": "?"},
        None,
        {"type": "offer", "id": 5},
    ]
)
ROOM_SIDE = st.sampled_from(["welcome", "answer", "tracks", "consumer", "error", "lost", "resumed", "bye"])


@settings(deadline=None)
@given(st.lists(MESSAGES | ROOM_SIDE, max_size=40))
def test_no_order_of_events_breaks_it(steps: list[Any]) -> None:
    session = Session()
    for now, step in enumerate(steps):
        match step:
            case "welcome":
                session.welcome(1, ALICE, ROOM, [])
            case "answer":
                session.answer(2, "v=0", [])
            case "tracks":
                session.tracks([TRACK])
            case "consumer":
                session.consumer("t1", None, None, None, None)
            case "error":
                session.error(2, "bad_sdp", "no")
            case "lost":
                session.lost(float(now))
            case "resumed":
                session.resumed(float(now))
            case "bye":
                session.bye("room_closed", "closed")
            case _:
                events = session.receive(step, float(now))
                assert len(events) <= 1
        assert session.state in ("new", "joining", "joined", "lost", "closed")
        assert len(session.outgoing) <= session_module.MAX_OUTGOING
        json.dumps(session.take(), allow_nan=False)


def test_the_architecture_is_told_when_it_changes_and_after_a_welcome_where_it_matters() -> None:
    session = joined()
    session.architecture("relay", False, False, [])
    session.architecture("relay", False, False, [])
    expected = {"type": "architecture", "name": "relay", "direct": False, "mixed": False, "peers": []}
    assert session.take() == [expected]
    peers = [{"id": "p2", "name": "bob", "polite": True}]
    session.architecture("mesh", True, False, peers)
    session.architecture("mesh", True, False, [])
    assert only(session, "architecture")["peers"] == []  # only the newest waits
    session.architecture("mesh", True, False, peers)
    session.lost(1.0)
    session.resumed(2.0)
    session.welcome(2, ALICE, ROOM, [TRACK], resumed=True)
    assert [message["type"] for message in session.take()] == ["welcome", "architecture"]


def test_what_to_send_is_told_again_to_a_client_that_comes_back() -> None:
    session = joined()
    session.encodings("t1", ["q"], True, "layer_not_needed")
    session.encodings("t2", None, False, "direct")
    session.encodings("t1", None, True, None)
    assert [(one["track"], one["rids"], one["active"]) for one in session.take()] == [
        ("t2", None, False),
        ("t1", None, True),
    ]
    session.forget_encodings("t2")
    session.lost(1.0)
    session.resumed(2.0)
    session.welcome(2, ALICE, ROOM, [TRACK], resumed=True)
    assert [message.get("track") for message in session.take()] == [None, "t1"]


def test_messages_between_clients() -> None:
    session = joined()
    description = {"type": "offer", "sdp": "v=0"}
    message = {
        "type": "peer",
        "to": "p2",
        "description": description,
        "tracks": [{"mid": "0", "track": "t1"}],
    }
    (event,) = session.receive(message, 0.0)
    content = {"description": description, "candidate": None, "tracks": [{"mid": "0", "track": "t1"}]}
    assert event == PeerAddressed("p2", content)
    session.peer("p2", content)
    assert session.take() == [{"type": "peer", "from": "p2", **content}]
    assert session.receive({**message, "description": {"type": "rollback", "sdp": ""}}, 0.0) == []
    assert "type must be one of offer, answer" in only(session, "error")["message"]
