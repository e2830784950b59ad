"""Offers that cannot be answered, or only in part: the client learns what is wrong and the room goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import rtclab
from room_tools import frame_numbers
from rtclab.engine import get_engine
from rtclab.signaling import inprocess

T = TypeVar("T")
CHROMIUM = (Path(__file__).parent.parent / "signaling" / "chromium_156_offer.sdp").read_text("utf-8")


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


class RawClient:
    """A client that says exactly what a test tells it to."""

    def __init__(self, room: rtclab.Room, name: str = "raw") -> None:
        self.name = name
        self._room = room
        self.carrier = self._run(self._open())

    async def _open(self) -> inprocess.InProcessCarrier:
        return inprocess.open(self._room._server.connect)

    @staticmethod
    def _run(work: Coroutine[Any, Any, T]) -> T:
        return get_engine().run(asyncio.wait_for(work, 5))

    def ask(self, *messages: dict[str, Any], until: str) -> list[dict[str, Any]]:
        """Send messages and return what comes, up to the first of type `until`."""

        async def exchange() -> list[dict[str, Any]]:
            for message in messages:
                self.carrier.send_to_room(message)
            replies = [await self.carrier.receive()]
            while replies[-1]["type"] != until:
                replies.append(await self.carrier.receive())
            return replies

        return self._run(exchange())

    def join(self, session: str | None = None) -> dict[str, Any]:
        message = {"type": "join", "id": 1, "version": 1, "name": self.name, "role": "participant"}
        replies = self.ask(message | {"session": session, "agent": "test"}, until="welcome")
        return replies[-1]

    def lose(self) -> None:
        async def lose() -> None:
            self.carrier.lose("the test cut it")
            await asyncio.sleep(0)

        self._run(lose())


def offer(sdp: str, id: int = 2) -> dict[str, Any]:
    sent = [
        {"mid": mid, "direction": "send", "source": "camera", "muted": False}
        for mid in re.findall(r"a=mid:(\S+)", sdp)
    ]
    return {"type": "offer", "id": id, "sdp": sdp, "tracks": sent}


def without_codecs(sdp: str, kind: str) -> str:
    """The offer with the codecs of one kind renamed to something that nobody knows."""
    sections = re.split(r"(?m)^(?=m=)", sdp)
    return "".join(
        re.sub(r"(a=rtpmap:\d+) [\w-]+/", r"\1 X-UNKNOWN/", section)
        if section.startswith(f"m={kind}")
        else section
        for section in sections
    )


def test_an_offer_without_a_usable_codec_is_refused(room: rtclab.Room) -> None:
    client = RawClient(room)
    client.join()
    sdp = without_codecs(without_codecs(CHROMIUM, "video"), "audio")
    error = client.ask(offer(sdp), until="error")[-1]
    assert (error["re"], error["code"]) == (2, "no_codec")
    assert "VP8" in error["message"] or "opus" in error["message"]


def test_an_m_line_without_a_usable_codec_is_rejected_and_the_rest_accepted(room: rtclab.Room) -> None:
    client = RawClient(room)
    client.join()
    answer = client.ask(offer(without_codecs(CHROMIUM, "video")), until="answer")[-1]
    assert {section["code"] for section in answer["rejected"]} == {"no_codec"}
    assert re.search(r"(?m)^m=video 0 ", answer["sdp"])
    assert re.search(r"(?m)^m=audio 9 ", answer["sdp"])
    assert [track.kind for track in room.tracks] == ["audio"]


def test_an_m_line_that_the_client_rejected_stays_rejected(room: rtclab.Room) -> None:
    client = RawClient(room)
    client.join()
    sdp = re.sub(r"(?m)^m=video 9 ", "m=video 0 ", CHROMIUM)
    answer = client.ask(offer(sdp), until="answer")[-1]
    assert re.search(r"(?m)^m=video 0 ", answer["sdp"])
    assert [track.kind for track in room.tracks] == ["audio"]


def test_a_second_offer_during_the_first_is_refused(
    room: rtclab.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = RawClient(room)
    client.join()
    waiting: list[Any] = []
    desk = room._server._desk
    answer = desk.answer
    monkeypatch.setattr(desk, "answer", lambda member, event: waiting.append((member, event)))
    replies = client.ask(offer(CHROMIUM, 2), offer(CHROMIUM, 3), until="error")
    assert (replies[-1]["re"], replies[-1]["code"]) == (3, "offer_pending")
    member, event = waiting[0]

    async def answer_now() -> None:
        answer(member, event)
        room._server.flush(member)

    get_engine().run(answer_now())
    assert client.ask({"type": "ping", "id": 9}, until="pong")[0]["re"] == 2
    monkeypatch.undo()
    assert client.ask(offer(CHROMIUM, 4), until="answer")[-1]["re"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sdp: "v=0\r\n", "m="),
        (lambda sdp: re.sub(r"(?m)^a=fingerprint.*\r?\n", "", sdp), "fingerprint"),
        (lambda sdp: re.sub(r"(?m)^a=ice-pwd.*\r?\n", "", sdp), "ice-pwd"),
        (lambda sdp: "no sdp at all", "line"),
    ],
)
def test_sdp_that_cannot_be_used_is_refused(room: rtclab.Room, change: Any, said: str) -> None:
    client = RawClient(room)
    client.join()
    error = client.ask(offer(change(CHROMIUM)), until="error")[-1]
    assert error["code"] == "bad_sdp"
    assert len(error["message"]) > 10
    assert client.ask(offer(CHROMIUM, 5), until="answer")[-1]["re"] == 5


def test_a_client_that_lost_its_carrier_comes_back_to_the_same_place(room: rtclab.Room) -> None:
    alice = room.join("alice")
    alice.publish(rtclab.TestPattern(160, 90, fps=10, sound=False))
    first = RawClient(room, "bob")
    welcome = first.join()
    first.lose()
    assert {participant.name: participant.state for participant in room.participants}["bob"] == "lost"
    second = RawClient(room, "bob")
    again = second.join(session=welcome["session"])
    assert again["resumed"]
    assert again["participant"] == welcome["participant"]
    assert [track["participant"]["name"] for track in again["tracks"]] == ["alice"]
    assert {participant.name: participant.state for participant in room.participants}["bob"] == "joined"
    frame_numbers(room.join("carol").watch("alice"), 2)


def test_a_session_that_the_room_has_forgotten_is_refused(room: rtclab.Room) -> None:
    client = RawClient(room)
    message = {"type": "join", "id": 1, "version": 1, "name": "raw", "role": "viewer", "agent": "test"}
    error = client.ask(message | {"session": "no such token"}, until="error")[-1]
    assert error["code"] == "unknown_session"
    client.join()


def test_a_lost_client_is_given_up_after_a_while(room: rtclab.Room, monkeypatch: pytest.MonkeyPatch) -> None:
    client = RawClient(room)
    client.join()
    client.lose()
    now = get_engine().loop.time()

    async def later() -> None:
        room._server.tick(now + 16)

    get_engine().run(later())
    assert room.participants == []
