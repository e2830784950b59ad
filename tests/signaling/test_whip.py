"""WHIP (RFC 9725) and WHEP as HTTP: what each right and each wrong request is answered."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import pytest

import rtclab
from http_tools import FRAGMENT, RECEIVING, SDP, SENDING, Reply, ask, on_engine, serving
from rtclab.serve import RoomServer
from rtclab.signaling.http_session import HttpSession
from rtclab.signaling.sdp import parse
from rtclab.transport import secure

TRICKLE = """a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:67dcf937
a=ice-pwd:b4d3e22e70181c21905dbd763b4e71a8
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host
"""
RESTART = "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n"
CANDIDATE = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
TURN = {"urls": ["turn:turn.example.net?transport=udp"], "username": 'a "user"', "credential": "secret"}


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room(ice_servers=[{"urls": "stun:stun.example.net"}, TURN]) as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room) as server:
        yield server


def post(server: RoomServer, path: str, offer: str = SENDING) -> Reply:
    return ask(server, "POST", path, offer, SDP)


def publish(server: RoomServer, name: str = "alice") -> Reply:
    reply = post(server, f"/whip/{name}")
    assert reply.status == 201, reply.body
    return reply


def watch(server: RoomServer) -> Reply:
    """A viewer's session, beside a publisher's."""
    publish(server)
    reply = post(server, "/whep/alice", RECEIVING)
    assert reply.status == 201, reply.body
    return reply


BEGIN = pytest.mark.parametrize("begin", [publish, watch], ids=["whip", "whep"])


def patch(server: RoomServer, session: Reply, body: str, match: str | None) -> Reply:
    headers = FRAGMENT | ({"If-Match": match} if match is not None else {})
    return ask(server, "PATCH", session.headers["Location"], body, headers)


# -- beginning ----------------------------------------------------------------------------------------------
def test_a_publisher_is_answered_with_a_session(server: RoomServer, room: rtclab.Room) -> None:
    reply = publish(server)
    assert reply.headers["Content-Type"] == "application/sdp"
    assert re.fullmatch(r"/sessions/[\w-]{20,}", reply.headers["Location"])
    assert re.fullmatch(r'"[0-9a-f]+"', reply.headers["ETag"])
    assert reply.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    assert reply.headers.get_all("Link") == [
        '<stun:stun.example.net>; rel="ice-server"',
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="a \\"user\\""; '
        'credential="secret"; credential-type="password"',
    ]
    answer = parse(reply.body)
    assert [media.direction for media in answer.media] == ["recvonly", "recvonly"]
    assert answer.media[0].candidates
    assert reply.body.count("a=rtcp-mux-only\r\n") == 2
    (alice,) = room.participants
    assert (alice.name, alice.role, alice.carrier) == ("alice", "participant", "http")
    assert [(track.kind, track.codec) for track in alice.tracks] == [("audio", "opus"), ("video", "H264")]


def test_without_a_name_the_room_chooses_one(server: RoomServer, room: rtclab.Room) -> None:
    for path in ("/whip", "/whip/"):
        assert post(server, path).status == 201
    assert [one.name for one in room.participants] == ["guest-1", "guest-2"]


def test_a_name_may_have_any_printable_letters(server: RoomServer, room: rtclab.Room) -> None:
    publish(server, "%C3%81d%C3%A1m%20%2F1")
    assert room.participants[0].name == "Ádám /1"


def test_a_viewer_gets_the_participant_it_asks_for(server: RoomServer, room: rtclab.Room) -> None:
    publish(server, "alice")
    publish(server, "bob")
    reply = post(server, "/whep/bob", RECEIVING)
    assert reply.status == 201, reply.body
    answer = parse(reply.body)
    assert [media.direction for media in answer.media] == ["sendonly", "sendonly"]
    assert len({media.msid[0] for media in answer.media if media.msid}) == 1, "one stream"
    viewers = {(track.participant, track.viewers) for track in room.tracks}
    assert viewers == {("alice", 0), ("bob", 1)}
    assert room.participants[-1].role == "viewer"


def test_a_viewer_that_names_nobody_gets_who_published_first(server: RoomServer, room: rtclab.Room) -> None:
    publish(server, "alice")
    publish(server, "bob")
    assert post(server, "/whep", RECEIVING).status == 201
    assert {track.participant for track in room.tracks if track.viewers} == {"alice"}


@pytest.mark.parametrize("path", ["/whep", "/whep/bob"])
def test_with_nothing_to_receive_a_viewer_is_told_to_come_back(server: RoomServer, path: str) -> None:
    if path == "/whep/bob":
        publish(server, "alice")
    reply = post(server, path, RECEIVING)
    assert (reply.status, reply.json["code"]) == (409, "nothing_live")
    assert int(reply.headers["Retry-After"]) > 0
    assert "publishes audio or video" in reply.json["detail"]


def test_what_the_participant_does_not_publish_is_answered_as_inactive(server: RoomServer) -> None:
    sections = re.split(r"(?m)^(?=m=)", SENDING)
    assert (
        post(server, "/whip/alice", (sections[0] + sections[2]).replace("BUNDLE 0 1", "BUNDLE 1")).status
        == 201
    )
    reply = post(server, "/whep/alice", RECEIVING)
    assert [media.direction for media in parse(reply.body).media] == ["inactive", "sendonly"]


def test_a_viewer_that_would_send_as_well_only_receives(server: RoomServer, room: rtclab.Room) -> None:
    sections = re.split(r"(?m)^(?=m=)", SENDING)
    post(server, "/whip/alice", (sections[0] + sections[2]).replace("BUNDLE 0 1", "BUNDLE 1"))
    reply = post(server, "/whep/alice", SENDING.replace("a=sendonly", "a=sendrecv"))
    assert [media.direction for media in parse(reply.body).media] == ["inactive", "sendonly"]
    assert {track.participant for track in room.tracks} == {"alice"}


def test_a_name_that_is_taken_is_a_conflict(server: RoomServer) -> None:
    publish(server)
    reply = post(server, "/whip/alice")
    assert (reply.status, reply.json["code"]) == (409, "name_taken")


# -- offers that are refused --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("offer", "status"),
    [
        ("", 400),
        ("this is no SDP", 400),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 400),
        (SENDING.replace("a=fingerprint", "a=fingerprin"), 400),
        (b"v=0\r\n\xff", 400),
        (RECEIVING, 422),
        (SENDING.replace("a=sendonly", "a=inactive", 1), 422),
        (SENDING.replace("H264/90000", "H265/90000"), 422),
        (SENDING.replace("H264/90000", "H265/90000").replace("opus/48000", "speex/48000"), 422),
        (SENDING + SENDING[SENDING.index("m=video") :].replace("a=mid:1", "a=mid:2"), 422),
    ],
    ids=[
        "empty", "text", "no m-line", "no fingerprint", "no UTF-8", "receives", "inactive", "video codec",
        "no codec", "two videos",
    ],
)  # fmt: skip
def test_an_offer_that_cannot_be_used_is_refused_whole(
    server: RoomServer, room: rtclab.Room, offer: str, status: int
) -> None:
    reply = ask(server, "POST", "/whip/alice", offer, SDP)
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert len(reply.json["detail"]) > 20
    assert room.participants == []
    assert server.desk.sessions == {}
    assert publish(server).status == 201, "the name is free"


def test_a_viewer_without_the_codec_is_refused(server: RoomServer, room: rtclab.Room) -> None:
    sections = re.split(r"(?m)^(?=m=)", RECEIVING)
    video = (sections[0] + sections[2]).replace("BUNDLE 0 1", "BUNDLE 1")
    publish(server)
    for another in (
        video.replace("H264/90000", "VP8/90000"),
        video.replace("packetization-mode=1", "packetization-mode=0"),
    ):
        assert another != video
        reply = post(server, "/whep/alice", another)
        assert (reply.status, reply.json["code"]) == (422, "no_codec")
        assert "H264" in reply.json["detail"]
    assert [one.name for one in room.participants] == ["alice"]


def test_a_viewer_that_offers_to_send_is_refused(server: RoomServer) -> None:
    publish(server)
    assert post(server, "/whep/alice").status == 422


def test_a_body_of_another_type_is_refused(server: RoomServer) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}):
        reply = ask(server, "POST", "/whip/alice", SENDING, headers)
        assert (reply.status, reply.headers["Accept-Post"]) == (415, "application/sdp")
    assert (
        ask(server, "POST", "/whip/alice", SENDING, {"Content-Type": "Application/SDP; charset=utf-8"}).status
        == 201
    )


def test_a_body_that_is_too_large_is_refused(server: RoomServer) -> None:
    reply = post(server, "/whip/alice", SENDING + "a=x:y\r\n" * 50_000)
    assert (reply.status, reply.json["code"]) == (413, "too_large")


@pytest.mark.parametrize("name", ["x" * 65, "%07", "%FF"])
def test_a_name_that_is_none_is_refused(server: RoomServer, name: str) -> None:
    assert post(server, f"/whip/{name}").status == 400


def test_sessions_are_bounded(server: RoomServer) -> None:
    server.desk.limit = 1
    session = publish(server)
    reply = post(server, "/whip/bob")
    assert (reply.status, "Retry-After" in reply.headers) == (503, True)
    ask(server, "DELETE", session.headers["Location"])
    publish(server, "bob")


def test_a_closed_room_is_unavailable(server: RoomServer, room: rtclab.Room) -> None:
    session = publish(server)
    room.close()
    assert ask(server, "GET", session.headers["Location"]).status == 404
    for path, offer in (("/whip/alice", SENDING), ("/whep/alice", RECEIVING)):
        reply = post(server, path, offer)
        assert (reply.status, reply.json["code"]) == (503, "room_closed")


# -- sessions -----------------------------------------------------------------------------------------------
@BEGIN
def test_candidates_trickle_into_the_trace(
    server: RoomServer, room: rtclab.Room, begin: Callable[[RoomServer], Reply]
) -> None:
    session = begin(server)
    reply = patch(server, session, TRICKLE, session.headers["ETag"])
    assert (reply.status, reply.body, reply.headers["ETag"]) == (204, "", None)
    (candidate,) = [entry.message for entry in room.signaling if entry.message["type"] == "candidate"]
    assert candidate["mid"] == "0"
    assert candidate["candidate"].startswith("candidate:1387637174 ")


@BEGIN
@pytest.mark.parametrize("match", ["*", '"*"'])
def test_other_credentials_restart_ice(
    server: RoomServer, room: rtclab.Room, begin: Callable[[RoomServer], Reply], match: str
) -> None:
    session = begin(server)
    reply = patch(server, session, RESTART + CANDIDATE, match)
    assert reply.status == 200, reply.body
    (told,) = [entry.message for entry in room.signaling if entry.message["type"] == "candidate"]
    assert told["candidate"] in CANDIDATE, "in place of the former ones"
    assert reply.headers["Content-Type"] == "application/trickle-ice-sdpfrag"
    assert reply.headers["ETag"] not in (None, session.headers["ETag"])
    before, after = parse(session.body).media[0], reply.body
    assert re.findall(r"a=ice-ufrag:(.+)\r", after) not in ([], [before.ufrag])
    assert re.findall(r"a=candidate:(.+)\r", after) == list(before.candidates)
    assert after.startswith("a=ice-lite\r\n")
    assert "a=end-of-candidates" in after
    assert len(room.tracks) == 2, "what is published goes on"

    later = RESTART + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host"
    assert patch(server, session, later, session.headers["ETag"]).status == 412, "another generation"
    assert patch(server, session, later, reply.headers["ETag"]).status == 204


@pytest.mark.parametrize(
    ("body", "match", "status"),
    [
        (TRICKLE, None, 428),
        (RESTART, None, 428),
        (TRICKLE, '"other"', 412),
        (RESTART, '"other", "another"', 412),
        ("nonsense", "*", 400),
        ("", "*", 400),
        (TRICKLE.replace("67dcf937", "76dcf937"), "*", 400),  # a new ufrag with the old password
        (b"\xff", "*", 400),
        ("a=x:y\r\n" * 10_000, "*", 413),
    ],
)
def test_a_wrong_patch_changes_nothing(
    server: RoomServer, room: rtclab.Room, body: str, match: str | None, status: int
) -> None:
    session = publish(server)
    assert patch(server, session, body, match).status == status
    weak = f"W/{session.headers['ETag']}"
    assert patch(server, session, TRICKLE, weak).status == 412, "a weak tag matches nothing"
    assert patch(server, session, TRICKLE, f'"x", {session.headers["ETag"]}').status == 204


def test_a_patch_of_another_type_is_refused(server: RoomServer) -> None:
    session = publish(server)
    reply = ask(server, "PATCH", session.headers["Location"], TRICKLE, {**SDP, "If-Match": "*"})
    assert (reply.status, reply.headers["Accept-Patch"]) == (415, "application/trickle-ice-sdpfrag")


def test_a_viewers_session_has_what_a_publishers_has_and_ends_alone(
    server: RoomServer, room: rtclab.Room
) -> None:
    session = watch(server)
    assert len(session.headers.get_all("Link") or []) == 2
    assert re.fullmatch(r'"[0-9a-f]+"', session.headers["ETag"])
    assert session.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    assert ask(server, "DELETE", session.headers["Location"]).status == 200
    assert [one.name for one in room.participants] == ["alice"]
    assert {track.viewers for track in room.tracks} == {0}


def test_deleting_a_session_ends_it(server: RoomServer, room: rtclab.Room) -> None:
    session = publish(server)
    assert ask(server, "DELETE", session.headers["Location"], headers={"If-Match": '"any"'}).status == 200
    assert room.participants == []
    for method in ("DELETE", "GET", "HEAD"):
        assert ask(server, method, session.headers["Location"]).status == 404
    assert patch(server, session, TRICKLE, "*").status == 404
    assert publish(server).headers["Location"] != session.headers["Location"]


def test_a_session_that_never_connects_is_given_up(
    server: RoomServer, room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = publish(server)
    gone = on_engine(lambda: _removal(server))
    monkeypatch.setattr(secure, "CHECK_TIMEOUT", 0.0)
    assert gone.wait(10)
    assert ask(server, "GET", session.headers["Location"]).status == 404
    assert room.participants == []


def _removal(server: RoomServer) -> threading.Event:
    """An event that is set when a session is over."""
    event = threading.Event()
    (session,) = server.desk.sessions.values()
    ended = session._on_end

    def on_end(session: HttpSession) -> None:
        ended(session)
        event.set()

    session._on_end = on_end
    return event


def test_stopping_the_server_ends_every_session(room: rtclab.Room) -> None:
    with serving(room) as server:
        publish(server)
        assert post(server, "/whep", RECEIVING).status == 201
        assert len(room.participants) == 2
    assert room.participants == []
    assert not room.closed


# -- the rest of HTTP ---------------------------------------------------------------------------------------
def test_what_has_no_representation_is_empty(server: RoomServer) -> None:
    location = publish(server).headers["Location"]
    for method in ("GET", "HEAD"):
        for path in ("/whip", "/whip/alice", location):
            assert ask(server, method, path)[::2] == (204, "")
        reply = ask(server, method, "/whep/alice")
        assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "application/sdp", "")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/whip/alice", "GET, HEAD, POST, OPTIONS"),
        ("PATCH", "/whip", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/whep", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/sessions/x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("BREW", "/whip", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_other_methods_are_not_allowed(server: RoomServer, method: str, path: str, allowed: str) -> None:
    reply = ask(server, method, path, "a body" if method in ("PUT", "POST") else None)
    assert (reply.status, reply.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/sessions/none", "/whip/a/b", "/nowhere", "/sessions/"])
def test_an_unknown_path_is_not_found(server: RoomServer, path: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        reply = ask(server, method, path, "x" if method == "PATCH" else None, FRAGMENT)
        assert reply.status == 404
        assert reply.json["detail"]


def test_options_say_what_is_accepted(server: RoomServer) -> None:
    for path in ("/whip", "/whep/alice"):
        reply = ask(server, "OPTIONS", path)
        assert (reply.status, reply.headers["Accept-Post"]) == (200, "application/sdp")
    reply = ask(server, "OPTIONS", "/sessions/any")
    assert (reply.status, reply.headers["Accept-Patch"]) == (200, "application/trickle-ice-sdpfrag")


def test_pages_of_this_machine_may_ask_and_others_not(server: RoomServer) -> None:
    page = {"Origin": "http://localhost:8888"}
    reply = ask(server, "POST", "/whip", SENDING, SDP | page)
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (201, page["Origin"])
    exposed = reply.headers["Access-Control-Expose-Headers"]
    assert {"Location", "ETag", "Link"} <= set(exposed.split(", "))
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    preflight = ask(server, "OPTIONS", reply.headers["Location"], headers=page | asked)
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    for origin in ("https://example.com", "null", "http://localhost.example.com", "http://[", "http://[x]"):
        reply = ask(server, "POST", "/whip", SENDING, SDP | {"Origin": origin})
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (403, None)


def test_a_foreign_name_for_this_machine_is_refused(server: RoomServer) -> None:
    for name in ("rebound.example.com", "[", "[x]", "localhost.example.com:1"):
        assert ask(server, "GET", "/whip", headers={"Host": name}).status == 403


def test_with_a_token_only_who_knows_it_is_let_in(room: rtclab.Room) -> None:
    with serving(room, token="s3cret/+=") as server:
        for header in ({}, {"Authorization": "Basic eDp5"}):
            reply = ask(server, "POST", "/whip/alice", SENDING, SDP | header)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="rtclab"')
        reply = ask(server, "POST", "/whip/alice", SENDING, SDP | {"Authorization": "Bearer other"})
        assert (reply.status, "invalid_token" in reply.headers["WWW-Authenticate"]) == (401, True)
        assert room.participants == []
        right = {"Authorization": "Bearer s3cret/+=", "Origin": "https://example.com"}
        session = ask(server, "POST", "/whip/alice", SENDING, SDP | right)
        assert (session.status, session.headers["Access-Control-Allow-Origin"]) == (201, "*")
        location = session.headers["Location"]
        for method in ("GET", "PATCH", "DELETE"):
            assert ask(server, method, location).status == 401
        assert ask(server, "OPTIONS", location, headers={"Origin": "https://example.com"}).status == 200
        assert ask(server, "DELETE", location, headers=right).status == 200
