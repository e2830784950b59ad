"""Share links on a port of the kernel's own: what they let somebody do, and how a visit ends."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import rtclab
from http_tools import LIMIT, RECEIVING, SDP, SENDING, At, Reply, ask, on_engine, wait_until
from rtclab.engine import get_engine
from rtclab.errors import Closed, RtclabError
from rtclab.share import Share, seconds_of
from rtclab.signaling.messages import VERSION
from rtclab.signaling.web import ShareAccess

HERE = "127.0.0.1:0"
ROLES = ("viewer", "participant")


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


def token_of(share: Share) -> str:
    return share.url.partition("#token=")[2]


def request(
    share: Share, method: str, path: str, body: str | None = None, token: str | None = None, **headers: str
) -> Reply:
    """Ask the port of a share, with its token unless there is another."""
    bearer = {"Authorization": f"Bearer {token_of(share) if token is None else token}"}
    return ask(At(share.url), method, path, body, {**bearer, **headers})


class Page:
    """Somebody who comes by a share, at its WebSocket."""

    def __init__(self, share: Share, token: str | None = None, **headers: str) -> None:
        parts = urlsplit(share.url)
        url = f"ws://{parts.netloc}/signaling?token={token_of(share) if token is None else token}"

        async def connect() -> WebSocketClientConnection:
            return await websocket_connect(HTTPRequest(url, headers=headers))

        self.socket = get_engine().run(asyncio.wait_for(connect(), LIMIT))

    def say(self, type: str, **fields: object) -> None:
        """Send a message."""

        async def write() -> None:
            await self.socket.write_message(json.dumps({"type": type, **fields}))

        get_engine().run(write(), LIMIT)

    def ask(self, type: str, **fields: object) -> list[dict[str, Any]]:
        """Make a request; everything that comes up to its reply, which is the last."""
        self.say(type, id=7, **fields)

        async def read() -> list[dict[str, Any]]:
            messages: list[dict[str, Any]] = [{}]
            while messages[-1].get("re") != 7:
                messages.append(json.loads(await self.socket.read_message() or "null"))
            return messages[1:]

        return get_engine().run(asyncio.wait_for(read(), LIMIT))

    def join(self, role: str = "viewer", **fields: object) -> dict[str, Any]:
        """Join the room; returns the reply."""
        return self.ask("join", version=VERSION, role=role, **fields)[-1]

    def offer(self, direction: str, **fields: object) -> dict[str, Any]:
        """Offer to send or to receive; returns the reply."""
        return self.ask("offer", **{**offer(direction), **fields})[-1]

    def rest(self) -> list[dict[str, Any]]:
        """Everything up to the end."""

        async def read() -> list[dict[str, Any]]:
            messages = []
            while (text := await self.socket.read_message()) is not None:
                messages.append(json.loads(text))
            return messages

        return get_engine().run(asyncio.wait_for(read(), LIMIT))


def offer(direction: str) -> dict[str, Any]:
    """The fields of an offer that sends, or receives nothing in particular."""
    sdp = SENDING if direction == "send" else RECEIVING
    mids = re.findall(r"(?m)^a=mid:(\S+)", sdp)
    more: dict[str, Any] = {"source": "camera"} if direction == "send" else {"track": None}
    return {"sdp": sdp, "tracks": [{"mid": mid, "direction": direction, **more} for mid in mids]}


# -- what a share is --------------------------------------------------------------------------------------


def test_a_share_says_what_it_is_and_keeps_its_secret(room: rtclab.Room) -> None:
    share = room.share(expires="90m", listen=HERE)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=viewer\.[\w.-]+", share.url)
    left = share.expires_at - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=89) < left <= datetime.timedelta(minutes=90, seconds=1)
    assert repr(share).startswith(f"<Share {share.id} to watch, ends at ")
    assert token_of(share) not in repr(share)
    assert token_of(share) not in repr(room)
    data = share._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert data["text/html"].count('src="data:image/svg+xml') == 1, "a QR code"
    assert f'href="{share.url}"' in data["text/html"]
    assert "only from this machine" in data["text/html"]
    assert room.shares == [share]
    share.revoke()
    share.revoke()
    assert (room.shares, share.live) == ([], False)
    assert repr(share) == f"<Share {share.id} to watch, ended>"
    assert token_of(share) not in share._repr_html_()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("0.5d", 43200),
        (2.5, 2.5),
        (datetime.timedelta(minutes=1), 60),
    ],
)
def test_durations_are_written_as_people_do(text: Any, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1y", "1h!", "-1h", "1h1", None, True, float("inf")])
def test_what_is_no_duration_is_said(text: Any) -> None:
    with pytest.raises(ValueError, match="1h30m"):
        seconds_of(text)


def test_one_port_serves_every_share_that_names_it_until_the_room_closes(room: rtclab.Room) -> None:
    first, second = room.share(listen=HERE), room.share("participant", listen=HERE)
    assert first.url.partition("#")[0] == second.url.partition("#")[0]
    assert [share.id for share in room.shares] == [first.id, second.id]
    first.revoke()
    assert ask(At(first.url), "GET", "/").status == 200
    room.close()
    with socket.create_server(("127.0.0.1", At(first.url).port)):
        assert (room.shares, second.live, second.people) == ([], False, [])
    second.revoke()
    with pytest.raises(Closed):
        room.share(listen=HERE)


def test_a_wildcard_is_shown_as_an_address_that_others_reach(room: rtclab.Room) -> None:
    url = room.share(listen=":0").url
    assert urlsplit(url).hostname in [candidate.split()[4] for candidate in room.host_candidates]


@pytest.mark.parametrize("listen", ["", "8090", "0.0.0.0", "0.0.0.0:", "0.0.0.0:99999", "a:b:1", "[::1:80"])
def test_what_cannot_be_listened_on_is_said(room: rtclab.Room, listen: str) -> None:
    with pytest.raises(ValueError, match=r"0\.0\.0\.0:8090"):
        room.share(listen=listen)
    assert room.shares == []


@pytest.mark.parametrize("wrong", [{"role": "admin"}, {"uses": 0}, {"expires": 0}, {"expires": "99d"}])
def test_what_is_no_share_opens_no_port(room: rtclab.Room, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"role|uses|lasts"):
        room.share(**wrong, listen=HERE)
    assert (room.shares, room._doors) == ([], {})


def test_a_port_in_use_is_said(room: rtclab.Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(RtclabError, match="another port"):
        room.share(listen=f"127.0.0.1:{busy.getsockname()[1]}")
    assert room.shares == []


def test_outside_of_jupyter_there_must_be_a_port(room: rtclab.Room) -> None:
    with pytest.raises(RtclabError, match='listen="0'):
        room.share()


def test_a_fault_of_ours_puts_no_token_into_the_log(
    room: rtclab.Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    share = room.share(listen=HERE)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(ShareAccess, "check", broken)
    assert ask(At(share.url), "GET", f"/whip?token={token_of(share)}").status == 500
    with pytest.raises(HTTPClientError):
        Page(share)
    for path in ("/whip", "/signaling"):
        assert f"Uncaught exception GET {path} (127.0.0.1)" in caplog.text
    assert "RuntimeError: a fault of ours" in caplog.text
    assert token_of(share) not in caplog.text


# -- what it allows ---------------------------------------------------------------------------------------


def test_nothing_but_the_page_answers_without_a_token(room: rtclab.Room) -> None:
    share = room.share(listen=HERE)
    for path in ("/", "/page.js", "/viewer.js", "/page.css"):
        assert ask(At(share.url), "GET", path).status == 200
    for method, path in (
        ("GET", "/signaling"),
        ("POST", "/whip/alice"),
        ("POST", "/whep"),
        ("GET", "/sessions/x"),
        ("GET", "/stats"),
        ("GET", "/elsewhere"),
    ):
        reply = ask(At(share.url), method, path, SENDING if method == "POST" else None, SDP)
        assert (reply.status, reply.json["code"]) == (401, "share_none"), path
    with pytest.raises(HTTPClientError) as refused:
        Page(share, token="")
    assert refused.value.code == 401


def test_a_viewer_watches_and_cannot_publish(room: rtclab.Room) -> None:
    share = room.share("viewer", listen=HERE)
    page = Page(share)
    refused = page.join("participant")
    assert (refused["type"], refused["code"]) == ("error", "not_allowed")
    assert "watching only" in refused["message"]
    assert page.join("viewer", name="eve")["type"] == "welcome"
    assert page.offer("send")["code"] == "not_allowed"
    assert page.offer("receive", sdp=SENDING)["code"] == "not_allowed"
    assert page.offer("receive")["type"] == "answer"
    assert (share.people, room.tracks) == (["eve"], [])
    whip = request(share, "POST", "/whip/mallory", SENDING, **SDP)
    assert (whip.status, whip.json["code"]) == (403, "not_allowed")
    assert request(share, "POST", "/whep", RECEIVING, **SDP).status == 409, "nobody publishes"
    assert [one.name for one in room.participants] == ["eve"]


def test_a_participant_publishes_and_a_viewer_watches_it_by_whep(room: rtclab.Room) -> None:
    share, viewing = room.share("participant", listen=HERE), room.share(listen=HERE)
    page = Page(share)
    assert page.join("participant", name="alice")["type"] == "welcome"
    assert page.offer("send")["type"] == "answer"
    assert {track.participant for track in room.tracks} == {"alice"}
    assert request(share, "POST", "/whip/bob", SENDING, **SDP).status == 201
    assert sorted(share.people) == ["alice", "bob"]
    assert request(viewing, "POST", "/whep/alice", RECEIVING, **SDP).status == 201


def test_in_a_mesh_a_viewer_sends_nothing_to_others_either(room: rtclab.Room) -> None:
    room.architecture = "mesh"
    alice, eve = Page(room.share("participant", listen=HERE)), Page(room.share(listen=HERE))
    to = alice.join("participant", name="alice")["participant"]["id"]
    eve.join(name="eve")

    def refusals(**content: object) -> list[str]:
        eve.say("peer", to=to, **content)
        return [message["code"] for message in eve.ask("ping") if message["type"] == "error"]

    assert refusals(description={"type": "offer", "sdp": SENDING}) == ["not_allowed"]
    watching = {"type": "answer", "sdp": RECEIVING}
    assert refusals(description=watching, tracks=[{"mid": "0", "track": "t1"}]) == ["not_allowed"]
    assert refusals(description=watching) == []


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://127.0.0.1:1", "http://["])
def test_a_page_of_another_origin_is_not_let_in(room: rtclab.Room, origin: str) -> None:
    share = room.share("participant", listen=HERE)
    with pytest.raises(HTTPClientError) as refused:
        Page(share, Origin=origin)
    assert refused.value.code == 403
    reply = request(share, "POST", "/whip/alice", SENDING, Origin=origin, **SDP)
    assert reply.status == 403
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert Page(share, Origin=f"http://{urlsplit(share.url).netloc}").join()["type"] == "welcome"


# -- who is refused ---------------------------------------------------------------------------------------


def test_what_is_no_valid_token_is_refused_with_a_sentence(room: rtclab.Room) -> None:
    share, revoked = room.share(listen=HERE), room.share(listen=HERE)
    good = token_of(share)
    revoked.revoke()
    with rtclab.Room() as other:
        elsewhere = token_of(other.share("participant", listen=HERE))
    refused = {
        good.replace("viewer", "participant"): "share_forged",
        good[:-1]: "share_forged",
        elsewhere: "share_room",
        token_of(revoked): "share_revoked",
    }
    for token, code in refused.items():
        reply = request(share, "GET", "/signaling", token=token)
        assert (reply.status, reply.json["code"]) == (401, code)
        assert "ask" in reply.json["detail"]
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert token not in reply.body
        with pytest.raises(HTTPClientError):
            Page(share, token)
    assert request(share, "GET", "/signaling").status == 400, "no WebSocket, but let in"


def test_guessing_is_slowed_down(room: rtclab.Room) -> None:
    share = room.share(listen=HERE)
    replies = [request(share, "GET", "/signaling", token=f"guess{number}") for number in range(30)]
    assert [reply.status for reply in replies[:3]] == [401] * 3
    assert replies[-1].status == 429
    assert int(replies[-1].headers["Retry-After"]) > 0
    assert Page(share).join()["type"] == "welcome"


def test_few_are_connected_at_once_by_one_link(room: rtclab.Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtclab.signaling.shares.MAX_OF_ADDRESS", 2)
    share = room.share("participant", listen=HERE)
    first, second = Page(share), Page(share)
    first.join()
    with pytest.raises(HTTPClientError, match="429"):
        Page(share)
    why = request(share, "GET", "/signaling")
    assert (why.status, why.json["code"], why.headers["Retry-After"]) == (429, "share_full", "10")
    assert request(share, "POST", "/whip/bob", SENDING, **SDP).status == 201, "connected once is enough"
    on_engine(second.socket.close)
    second.rest()
    wait_until(lambda: len(room._server.guests.shares.networks(share.id)) == 2)
    assert request(share, "GET", "/signaling").status == 429
    share.revoke()
    assert room._server.guests.shares.networks(share.id) == []


def test_a_session_is_resumed_by_its_own_share_only(room: rtclab.Room) -> None:
    share, viewing = room.share("participant", listen=HERE), room.share(listen=HERE)
    session = Page(share).join("participant", name="alice")["session"]
    assert Page(viewing).join(session=session)["code"] == "unknown_session"
    with pytest.raises(HTTPClientError):
        Page(share, token="")
    back = Page(share).join("participant", session=session)
    assert (back["resumed"], back["participant"]["name"]) == (True, "alice")


def test_as_many_come_at_once_as_were_asked(room: rtclab.Room) -> None:
    share = room.share(listen=HERE, uses=1)
    first, second = Page(share), Page(share)
    assert first.join()["type"] == "welcome"
    refused = second.join()
    assert refused["code"] == "not_allowed"
    assert "one person at once" in refused["message"]
    on_engine(lambda: first.socket.close(1001))
    wait_until(lambda: room._server.guests.members(share.id)[0].session.state == "lost")
    assert second.join()["type"] == "welcome", "who was lost gives way"
    assert len(room.participants) == 1


# -- how a visit ends -------------------------------------------------------------------------------------


def test_revoking_ends_every_visit(room: rtclab.Room) -> None:
    share, other = room.share("participant", listen=HERE), room.share("participant", listen=HERE)
    joined, waiting, stays = Page(share), Page(share), Page(other)
    joined.join("participant")
    stays.join("participant", name="stays")
    whip = request(share, "POST", "/whip/bob", SENDING, **SDP).headers["Location"]
    assert len(share.people) == 2
    share.revoke()
    for page in (joined, waiting):
        bye = page.rest()[-1]
        assert (bye["type"], bye["code"]) == ("bye", "share_ended")
        assert "was revoked" in bye["message"]
        assert page.socket.close_code == 1000
    assert request(other, "GET", whip).status == 404
    assert request(share, "DELETE", whip).status == 401
    assert [one.name for one in room.participants] == ["stays"]


@pytest.fixture
def tick(room: rtclab.Room, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The room's guests hear of no other time than what a test says."""
    guests = room._server.guests
    heard = guests.tick
    monkeypatch.setattr(guests, "tick", lambda now: None)
    return lambda now: on_engine(lambda: heard(now))


def test_the_end_of_its_time_ends_every_visit(room: rtclab.Room, tick: Callable[[float], None]) -> None:
    share = room.share(listen=HERE, expires="1h")
    page, waiting = Page(share), Page(share)
    page.join()
    end = share.expires_at.timestamp()
    tick(end - 0.01)
    assert share.live
    tick(end)
    for one in (page, waiting):
        bye = one.rest()[-1]
        assert (bye["type"], bye["code"]) == ("bye", "share_ended")
        assert "expired" in bye["message"]
    assert request(share, "GET", "/signaling").status == 401
    assert room.shares == []
    assert room._server.guests.dismissed == {"share_ended": 2}


def test_who_does_not_join_is_sent_away(room: rtclab.Room, tick: Callable[[float], None]) -> None:
    """Connections that nobody uses take places of those who want to watch."""
    dismissed = room._server.guests.dismissed
    share = room.share("participant", listen=HERE)
    idle, joined, late = Page(share), Page(share), Page(share)
    joined.join()
    now = time.time()
    tick(now)
    tick(now + 9.9)
    assert dismissed == {}
    late.join()
    tick(now + 11)
    bye = idle.rest()[-1]
    assert (bye["type"], bye["code"]) == ("bye", "not_joined")
    assert bye["message"] == "Nobody joined by this connection within 10 s."
    assert idle.socket.close_code == 1000
    tick(now + 100)
    assert dismissed == {"not_joined": 1}
    for page in (joined, late):
        assert page.ask("ping")[-1]["type"] == "pong"


def test_who_is_lost_cannot_come_back_by_a_share_that_ended(room: rtclab.Room) -> None:
    share = room.share(listen=HERE)
    page = Page(share)
    page.join()
    on_engine(lambda: page.socket.close(1001))
    wait_until(lambda: [one.state for one in room.participants] == ["lost"])
    share.revoke()
    assert room.participants == []


def test_shares_may_be_made_and_ended_on_any_thread(room: rtclab.Room) -> None:
    room.share(listen=HERE)

    def work() -> None:
        for _ in range(20):
            share = room.share(listen=HERE)
            assert share.live
            share.revoke()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result(LIMIT)
    assert len(room.shares) == 1
