"""Headless participants follow the room's architecture: what they watch goes on, by another way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

import rtclab
from room_tools import frame_number, readable_numbers
from rtclab.engine import Engine
from rtclab.errors import Closed
from rtclab.measure import read_frame_code
from rtclab.peers.sinks import GAP_S
from waiting import until

WAYS = {"mesh": "direct", "relay": "room", "sfu": "room", "mcu": "mix"}
TOUR = ("mesh", "mcu", "sfu", "relay", "mcu", "mesh", "sfu", "mesh", "relay")


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room(size=(320, 180), fps=15) as room:
        yield room


def small(stream: int | None = None, sound: bool = True) -> rtclab.TestPattern:
    return rtclab.TestPattern(160, 90, fps=10, stream=stream, sound=sound)


def flows(track: rtclab.RemoteTrack, architecture: str) -> None:
    """Wait until frames come by the way of this architecture."""
    until(lambda: track.via == WAYS[architecture], f"{track} still comes by {track.via} in {architecture}")
    before = track.received
    until(lambda: track.received >= before + 3, f"{track} has stopped in {architecture}")


def test_what_is_watched_goes_on_through_every_architecture(room: rtclab.Room) -> None:
    peers = [room.join(name) for name in ("ann", "ben", "cat")]
    for stream, peer in enumerate(peers):
        peer.publish(small(stream))
    tracks = [
        peer.watch(other.name, kind)
        for peer in peers
        for other in peers
        if other is not peer
        for kind in ("video", "audio")
    ]
    published = {track.id for track in room.tracks}
    numbers = [-1] * len(tracks)
    for name in TOUR:
        room.architecture = name
        for track in tracks:
            flows(track, name)
        if name == "mcu":
            continue
        for index, track in enumerate(tracks):
            if track.kind == "video":
                code = None
                while code is None:
                    code = read_frame_code(track.next_frame(10))
                assert code.stream == [peer.name for peer in peers].index(track.participant)
                assert code.frame > numbers[index]  # the source goes on: nothing was captured anew
                numbers[index] = code.frame
    assert not any(track.ended for track in tracks)
    assert {track.id for track in room.tracks} == published
    for peer in peers:
        peer.leave()
    for track in tracks:  # every silence is told of, whichever way the frames came before and after it
        silent = [(begin, end - begin) for begin, end in pairwise(track.times) if end - begin > GAP_S]
        assert [gap[:2] for gap in track.gaps if gap.start_s >= track.times[0]] == silent


def test_a_gap_says_why(room: rtclab.Room) -> None:
    alice, bob = room.join("alice"), room.join("bob")
    alice.publish(small(sound=False))
    video = bob.watch("alice")
    frame_number(video)
    client = bob._client
    assert client is not None
    mesh = client._mesh

    async def deaf() -> None:
        mesh.receive = lambda message: None  # type: ignore[method-assign]

    client._engine.run(deaf())
    room.architecture = "mesh"  # no connection comes up, so there is a gap
    before = video.received
    until(lambda: video.times[-1] < time.monotonic() - 2 * GAP_S, "it goes on through the room")
    room.architecture = "sfu"
    until(lambda: video.received > before + 2, "it does not come back")
    assert [gap.reason for gap in video.gaps][-1:] in (
        ["direct"],
        ["switching to mesh"],
        ["switching to sfu"],
    )


def test_in_a_mix_watches_share_an_m_line(room: rtclab.Room) -> None:
    ann, ben, cat = (room.join(name) for name in ("ann", "ben", "cat"))
    ann.publish(small(1, sound=False))
    ben.publish(small(2, sound=False))
    room.architecture = "mcu"
    watched = [cat.watch("ann"), cat.watch("ben"), cat.watch("everyone")]
    for track in watched:
        assert track.next_frame(15).shape == (180, 320, 3)
        assert track.via == "mix"
    rows = cat.stats()
    assert list(rows["direction"]) == ["down"]
    assert list(rows["participant"]) == ["everyone"]
    room.architecture = "sfu"
    for stream, track in ((1, watched[0]), (2, watched[1])):
        flows(track, "sfu")
        code = None
        while code is None:
            code = read_frame_code(track.next_frame(10))
        assert code.stream == stream
    assert [track.participant for track in watched] == ["ann", "ben", "everyone"]
    assert watched[0].source == "pattern"
    assert not watched[0].ended
    until(lambda: watched[2].ended, "there is no mix any more")
    assert set(cat.stats()["participant"]) == {"ann", "ben"}


@pytest.mark.parametrize("architecture", list(WAYS))
def test_who_stops_publishing_ends_what_was_watched(room: rtclab.Room, architecture: str) -> None:
    alice, bob, carol = (room.join(name) for name in ("alice", "bob", "carol"))
    for peer in (alice, carol):
        peer.publish(small(sound=False))
    first, other = bob.watch("alice"), bob.watch("carol")
    room.architecture = architecture
    flows(first, architecture)
    flows(other, architecture)
    alice.unpublish()
    if architecture == "mcu":  # the mix goes on, and does not say who is in it
        room.architecture = "relay"
    until(lambda: first.ended, "it has not ended")
    for _ in first.frames():
        pass
    with pytest.raises(Closed, match="not published any more"):
        first.next_frame()
    flows(other, room.architecture)
    alice.publish(small(9, sound=False))
    again = bob.watch("alice")
    flows(again, room.architecture)
    assert not other.ended


def test_nobody_watches_so_nothing_is_sent(room: rtclab.Room) -> None:
    room.architecture = "relay"
    alice, bob, carol = (room.join(name) for name in ("alice", "bob", "carol"))
    for peer in (alice, carol):
        peer.publish(small(sound=False))
    other = bob.watch("carol")

    def sent() -> int:
        return int(alice.stats()["packets"].iloc[0])

    def passed() -> list[int]:
        """Packets of alice's that came into the room and left it."""
        stats = room.stats()
        counts = stats[stats["publisher"] == "alice"].groupby("direction")["packets"].sum()
        return [int(counts.get(direction, 0)) for direction in ("in", "out")]

    def nothing_passes() -> bool:
        before, frames = passed(), other.received
        until(lambda: other.received > frames + 10, "what somebody watches has stopped, too")
        return passed() == before

    until(lambda: not alice.stats()["encoder_active"].any(), "it is sent although nobody watches")
    until(nothing_passes, "packets come although nobody watches")
    still = sent()
    frames = int(alice.stats()["frames"].iloc[0])
    video = bob.watch("alice")
    first = frame_number(video)  # a keyframe: aiortc shows nothing before one
    assert sent() > still
    assert int(alice.stats()["frames"].iloc[0]) > frames
    assert readable_numbers(video, 5)[-1] > first
    assert min(passed()) > 0
    video.close()
    until(lambda: not alice.stats()["encoder_active"].any(), "it is sent although nobody watches any more")
    until(nothing_passes, "packets come although nobody watches any more")


def test_frames_are_timed_from_the_encoder_to_the_listener(room: rtclab.Room) -> None:
    pattern = small(sound=False)
    room.join("alice").publish(pattern)
    video = room.join("bob").watch("alice")
    seen: list[tuple[int, float]] = []

    def on_frame(frame: object, now: float) -> None:
        code = read_frame_code(frame.to_ndarray(format="rgb24"))  # type: ignore[attr-defined]
        if code is not None:
            seen.append((code.frame, now))
        if len(seen) == 30:
            raise RuntimeError("enough")

    video.on_frame = on_frame
    until(lambda: len(seen) == 30, "on_frame is not called")
    until(lambda: video.on_frame is None, "what fails is called again")
    before = video.received
    until(lambda: video.received > before + 2, "an error of on_frame has ended the track")
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})
    for number, now in seen:
        assert pattern.sent[number] < now


def test_peers_live_on_an_engine_of_their_own(room: rtclab.Room) -> None:
    with_peers = Engine()
    before = room._engine.cpu_s()
    peers = [room.join(name, with_peers) for name in ("ann", "ben")]
    for peer in peers:
        peer.publish(small())
    tracks = [peers[0].watch("ben"), peers[1].watch("ann"), peers[1].watch("ann", "audio")]
    for name in ("sfu", "mesh", "mcu", "relay"):
        room.architecture = name
        for track in tracks:
            flows(track, name)
    theirs, ours = with_peers.cpu_s(), room._engine.cpu_s() - before
    assert theirs > 0
    assert ours > 0
    room.close()
    until(lambda: all(peer.closed for peer in peers), "the peers are still in the room")
    with_peers.stop()
