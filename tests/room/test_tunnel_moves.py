"""A client's media moves to the tunnel and back while it runs: viewers go on, ids and m-lines stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import rtclab
from http_tools import wait_until
from room_tools import readable_numbers
from rtclab.engine import get_engine
from rtclab.rtp.drops import Drop
from rtclab.transport.tunnel_format import Ack, Frame, parse
from tunnel_rig import PictureDecoder, PictureEncoder, call


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


class Both:
    """A headless peer, connected by UDP, that also uses a tunnel over its own carrier."""

    def __init__(self, room: rtclab.Room, name: str) -> None:
        self.peer = room.join(name)
        self._room = room

    @property
    def member(self) -> Any:
        members = self._room._server.members.values()
        return next(member for member in members if member.name == self.peer.name)

    def tunnel(self, open: bool) -> None:
        """Open or close the tunnel."""

        async def send() -> None:
            self.peer._client._carrier.send_to_room(  # type: ignore[union-attr]
                {"type": "tunnel", "id": 7000, "open": open, "reason": "the test wants it"}
            )

        get_engine().run(send())

        wait_until(lambda: (self.member.tunnel is not None) == open)

    def take(self) -> Frame:
        """The next frame that the tunnel brings, acknowledged."""

        async def take() -> Frame:
            carrier = self.peer._client._carrier  # type: ignore[union-attr]
            while True:
                message = parse(await carrier.receive_media())  # type: ignore[union-attr]
                if isinstance(message, Frame):
                    carrier.send_media_to_room(Ack(message.number).encode())  # type: ignore[union-attr]
                    return message

        return get_engine().run(asyncio.wait_for(take(), 10))

    def send(self, number: int, mid: str, payload: bytes, keyframe: bool) -> None:
        """Send a frame through the tunnel."""
        time_us = 1_700_000_000_000_000 + 40_000 * number
        frame = Frame(number, time_us, mid, "", payload, keyframe, width=160, height=90)

        async def send() -> None:
            self.peer._client._carrier.send_media_to_room(frame.encode())  # type: ignore[union-attr]

        get_engine().run(send())


def participant(room: rtclab.Room, name: str) -> rtclab.Participant:
    return next(one for one in room.participants if one.name == name)


def test_a_viewer_moves_to_the_tunnel_and_back(room: rtclab.Room) -> None:
    room.join("alice").publish(rtclab.TestPattern(160, 90, fps=20, sound=False))
    bob = Both(room, "bob")
    video = bob.peer.watch("alice")
    (first,) = readable_numbers(video, 1)
    subscription = next(iter(bob.member.subscriptions.values()))
    ssrc, track = subscription.consumer.header.ssrc, subscription.track
    bob.tunnel(True)
    assert participant(room, "bob").transport == "websocket"
    frames = [bob.take() for _ in range(10)]
    assert frames[0].keyframe
    numbers = PictureDecoder("VP8").numbers(*(frame.payload for frame in frames))
    assert numbers == sorted(set(numbers))
    bob.tunnel(False)
    assert participant(room, "bob").transport == "webrtc"
    later = [number for number in readable_numbers(video, 30) if number > numbers[-1]]
    assert later
    assert later == sorted(set(later))
    assert min(later) > first
    assert (subscription.consumer.header.ssrc, subscription.track) == (ssrc, track)
    (again,) = readable_numbers(video, 1)
    bob.tunnel(True)  # and once more
    while (frame := bob.take()).number != 1:  # the others are left over
        pass
    assert frame.keyframe
    bob.tunnel(False)
    assert max(readable_numbers(video, 30)) > again


def test_a_publisher_moves_to_the_tunnel_and_back(room: rtclab.Room) -> None:
    alice = Both(room, "alice")
    alice.peer.publish(rtclab.TestPattern(160, 90, fps=20, sound=False))
    video = room.join("bob").watch("alice")
    assert readable_numbers(video, 1)
    (publication,) = alice.member.publications.values()
    alice.tunnel(True)
    encoder = PictureEncoder("VP8")
    shown: list[int] = []
    for number in range(300):
        payload, keyframe = encoder.encode(40_000 + number, number % 50 == 0)
        alice.send(number + 1, publication.mid, payload, keyframe)
        if number >= 10:
            shown += readable_numbers(video, 1)
            if sum(one >= 40_000 for one in shown) >= 10:
                break
    assert max(shown) >= 40_009
    wait_until(lambda: alice.member.client.drops[Drop.OTHER_WAY] > 0)
    alice.tunnel(False)
    for _ in range(200):
        if readable_numbers(video, 1)[0] < 40_000:
            break
    assert all(number < 40_000 for number in readable_numbers(video, 20))
    assert next(iter(alice.member.publications.values())) is publication


def undamaged(frames: Sequence[Frame]) -> bool:
    """Whether every frame can be decoded and read."""
    return -1 not in PictureDecoder("VP8").numbers(*(frame.payload for frame in frames))


def test_the_end_of_udp_does_no_harm_while_the_tunnel_is_open(room: rtclab.Room) -> None:
    with call(room) as (alice, bob, _, watched):
        bob.until(lambda: bob.frames[watched])

        states: list[str] = []

        async def end() -> None:
            for member in room._server.members.values():
                assert member.transport is not None
                states.append(member.transport.state)
                member.transport.tick(get_engine().loop.time() + 60)
                states.append(member.transport.state)
                member.transport.close()

        get_engine().run(end())
        assert states == ["checking", "failed"] * 2
        shown = len(bob.frames[watched])
        bob.until(lambda: len(bob.frames[watched]) > shown + 10)
        assert {one.state for one in room.participants} == {"connected"}
        assert alice.offer()["type"] == "answer"  # with a transport of its own again
        bob.until(lambda: len(bob.frames[watched]) > shown + 20)
    assert undamaged(bob.frames[watched])


def test_a_lost_carrier_is_resumed_and_the_tunnel_opened_again(room: rtclab.Room) -> None:
    with call(room) as (_, bob, _, watched):
        bob.until(lambda: len(bob.frames[watched]) > 5)
        bob.lose()
        bob.connect()
        assert bob.join()["resumed"]
        assert participant(room, "bob").state == "disconnected"
        bob.frames.clear()
        bob.open()
        bob.until(lambda: len(bob.frames[watched]) > 5)
    frames = bob.frames[watched]
    assert frames[0].keyframe
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert undamaged(frames)


def test_a_new_peer_connection_keeps_what_goes_through_the_tunnel(room: rtclab.Room) -> None:
    with call(room) as (alice, bob, published, watched):
        bob.until(lambda: bob.frames[watched])
        for one in (alice, bob):
            one.fingerprint = "C4"
            assert one.offer()["type"] == "answer"
        assert participant(room, "alice").tracks[0].id == published["track"]
        shown = len(bob.frames[watched])
        bob.until(lambda: len(bob.frames[watched]) > shown + 10)
    assert undamaged(bob.frames[watched])


def test_a_mesh_leaves_the_tunnel_alone_and_it_goes_on_afterwards(room: rtclab.Room) -> None:
    with call(room) as (_, bob, _, watched):
        bob.until(lambda: bob.frames[watched])
        room.architecture = "mesh"
        peers = bob.until(lambda: [m for m in bob.messages if m["type"] == "architecture"])[-1]["peers"]
        assert [peer["name"] for peer in peers] == ["alice"]
        stats = room.stats()
        assert set(stats[stats.direction == "out"].reason) == {"direct"}
        room.architecture = "relay"
        shown = len(bob.frames[watched])
        bob.until(lambda: len(bob.frames[watched]) > shown + 5)
    assert undamaged(bob.frames[watched])


def test_the_mix_goes_through_the_tunnel(room: rtclab.Room) -> None:
    room.architecture = "mcu"
    with call(room, "everyone") as (_, bob, _, watched):
        frames = bob.until(lambda: bob.frames[watched] if len(bob.frames[watched]) > 20 else [])
    assert frames[0].keyframe
    assert (frames[0].width, frames[0].height) == (1280, 720)
    assert len(PictureDecoder("VP8").numbers(*(frame.payload for frame in frames))) >= 20
