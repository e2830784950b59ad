"""Headless peers against a room that answers with aiortc: publish, watch, change, leave, fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from peers.answering_room import AnsweringRoom
from rtclab.engine import Engine
from rtclab.errors import Closed, NegotiationError, SignalingError, SourceError, Timeout
from rtclab.measure import read_frame_code
from rtclab.peers import Peer, TestPattern
from waiting import until


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture
def room(engine: Engine) -> Iterator[AnsweringRoom]:
    async def make() -> AnsweringRoom:
        return AnsweringRoom()

    room = engine.run(make())
    yield room
    engine.run(room.close())


@pytest.fixture
def join(engine: Engine, room: AnsweringRoom) -> Iterator[Callable[[str], Peer]]:
    peers: list[Peer] = []

    def join(name: str) -> Peer:
        peers.append(Peer(engine, room.connect, name).join())
        return peers[-1]

    yield join
    for peer in peers:
        peer.leave()


def small(stream: int | None = None, label: str | None = None, sound: bool = True) -> TestPattern:
    return TestPattern(320, 180, 20, stream=stream, label=label, sound=sound)


def test_frames_and_sound_arrive(join, room):
    alice, bob = join("alice"), join("bob")
    ids = alice.publish(small(stream=7, label="alice"))
    assert len(ids) == 2
    video = bob.watch("alice")
    assert (video.kind, video.source, video.participant) == ("video", "pattern", "alice")
    numbers = []
    for frame in video.frames():
        assert frame.shape == (180, 320, 3)
        assert frame.dtype == np.uint8
        code = read_frame_code(frame)
        assert code is not None
        assert code.stream == 7
        numbers.append(code.frame)
        if len(numbers) == 8:
            break
    assert numbers == sorted(set(numbers))
    assert video.received >= 8
    assert len(video.times) == video.received
    assert "320x180" in repr(video)

    sound = bob.watch("alice", kind="audio")
    samples = sound.next_frame()
    assert samples.dtype == np.int16
    assert samples.shape == (960, 2)
    with pytest.raises(TypeError):
        sound.snapshot()
    phases = [message["phase"] for message in room.messages("alice", "phase")]
    assert phases == ["signaling", "ICE", "DTLS", "first frame"]


def test_watching_waits_for_the_publisher(join):
    alice, bob = join("alice"), join("bob")
    publisher = threading.Timer(0.2, alice.publish, [small(sound=False)])
    publisher.start()
    assert read_frame_code(bob.watch("alice").next_frame()) is not None
    publisher.join()


def test_the_awaitable_twins(join):
    alice, bob = join("alice"), join("bob")

    async def main() -> list[np.ndarray]:
        await alice.apublish(small(sound=False))
        video = await bob.awatch("alice")
        frames = [await video.anext_frame()]
        async for frame in video.frames():
            frames.append(frame)
            if len(frames) == 3:
                break
        await video.aclose()
        await alice.aunpublish()
        await bob.aleave()
        return frames

    assert len(asyncio.run(main())) == 3
    assert bob.closed


def test_a_function_is_a_camera(join):
    alice, bob = join("alice"), join("bob")
    threads = set()

    def red(seconds: float) -> np.ndarray:
        threads.add(threading.current_thread().name)
        return np.full((91, 161, 3), (200, 20, 20), np.uint8)

    alice.publish(red, fps=20)
    frame = bob.watch("alice", source="function").next_frame()
    assert frame.shape == (90, 160, 3)
    assert frame[..., 0].mean() > 150 > 60 > frame[..., 1].mean()
    assert threads == {"rtclab-source"}


def test_a_source_that_fails_ends_its_track_and_is_kept(join, caplog):
    alice, bob = join("alice"), join("bob")

    def frames() -> Iterator[np.ndarray]:
        for _ in range(10):
            yield np.full((90, 160, 3), 90, np.uint8)
        raise RuntimeError("out of film")

    alice.publish(frames())
    source = alice.sources[0]
    video = bob.watch("alice")
    assert len(list(video.frames())) >= 1
    assert video.ended
    with pytest.raises(Closed, match="not published any more"):
        video.next_frame()
    assert isinstance(source.error, SourceError)
    assert "out of film" in str(source.error)
    until(lambda: alice.sources == [], "the source was not taken back")
    assert [record.getMessage() for record in caplog.records] == [f"alice stopped publishing: {source.error}"]


def test_a_track_ends_and_its_line_is_used_again(join, room):
    alice, bob, carol = join("alice"), join("bob"), join("carol")
    alice.publish(small(stream=1, sound=False))
    first = bob.watch("alice")
    first.next_frame()
    alice.unpublish()
    for _ in first.frames():
        pass
    assert first.ended
    carol.publish(small(stream=3, sound=False))
    alice.publish(small(stream=2, sound=False))
    again, other = bob.watch("alice"), bob.watch("carol")
    for track, stream in ((again, 2), (other, 3)):
        codes = [read_frame_code(track.next_frame()) for _ in range(5)]
        assert [code.stream if code else None for code in codes] == [stream] * 5
    offers = room.messages("bob", "offer")
    assert offers[-1]["sdp"].count("m=video") == 2
    assert room.messages("alice", "offer")[-1]["sdp"].count("m=video") == 1


def test_closing_a_track_leaves_the_others(join, room):
    alice, bob = join("alice"), join("bob")
    alice.publish(small(sound=False))
    one, two = bob.watch("alice"), bob.watch("alice")
    offers = len(room.messages("bob", "offer"))
    one.close()
    assert one.ended
    received = two.received
    until(lambda: two.received > received + 2, "the other track stopped")
    assert len(room.messages("bob", "offer")) == offers  # one m-line for both
    two.close()
    assert len(room.messages("bob", "offer")) == offers + 1
    assert room.messages("bob", "offer")[-1]["tracks"] == []


def test_frames_nobody_takes_are_dropped_and_counted(join):
    alice, bob = join("alice"), join("bob")
    alice.publish(small(sound=False))
    video = bob.watch("alice")
    until(lambda: video.received >= 6, "no frames")
    assert video.dropped >= 4
    assert read_frame_code(video.next_frame()).frame >= 4
    picture = video.snapshot()
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert picture.image.size == (320, 180)
    assert repr(picture) == "<Snapshot of alice, 320x180>"


def test_nobody_publishes(join):
    alice = join("alice")
    with pytest.raises(
        Timeout, match=r"'bob' has published no video within 0\.05 s; nobody publishes"
    ) as caught:
        alice.watch("bob", timeout=0.05)
    assert caught.value.phase == "signaling"


def test_the_room_refuses(join, room, engine):
    alice = join("alice")
    with pytest.raises(SignalingError, match="'alice' is taken") as caught:
        join("alice")
    assert caught.value.code == "name_taken"
    room.refuse = {"audio"}
    with pytest.raises(NegotiationError, match="no audio here"):
        alice.publish(small())
    assert alice.sources == []
    until(lambda: not room.published, "the accepted half was not taken back")
    alice.publish(small(sound=False))
    assert len(room.published) == 1


def test_a_silent_room_is_a_timeout_that_names_the_phase(engine, room):
    room.deaf = True
    peer = Peer(engine, room.connect, "alice")
    with pytest.raises(Timeout, match="signaling hangs") as caught:
        peer.join(timeout=0.1)
    assert caught.value.phase == "signaling"
    until(lambda: peer.closed, "it has not given up")


def test_the_room_closes(join, room, engine):
    left = []
    alice, bob = join("alice"), Peer(engine, room.connect, "bob", left.append).join()
    alice.publish(small(sound=False))
    video = bob.watch("alice")
    video.next_frame()
    engine.run(room.close())
    until(lambda: bob.closed and alice.closed, "the peers did not notice")
    until(lambda: left == [bob], "nobody was told")
    for _ in video.frames():
        pass
    assert video.ended
    with pytest.raises(Closed, match="the room has closed"):
        bob.watch("alice")
    bob.leave()
    assert left == [bob]
    assert "gone" in repr(bob)


def test_leaving_leaves_nothing_behind(room, engine):
    def cycle() -> None:
        with (
            Peer(engine, room.connect, "alice").join() as alice,
            Peer(engine, room.connect, "bob").join() as bob,
        ):
            alice.publish(TestPattern(width=160, height=90, fps=20))
            bob.watch("alice").next_frame()

    async def tasks() -> set[str]:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return {str(task.get_coro()) for task in others}

    def threads() -> list[str]:
        # asyncio's pool, which the encoders use, keeps its threads
        return [thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio")]

    cycle()
    until(lambda: not room.clients, "the room still has somebody")
    before = len(threads())
    for _ in range(3):
        cycle()
    until(lambda: not room.clients, "the room still has somebody")
    until(lambda: len(threads()) <= before, "threads are left")
    until(lambda: not engine.run(tasks()), "tasks are left")


def test_an_outsider_is_told_so(engine, room):
    peer = Peer(engine, room.connect, "alice")
    assert repr(peer) == "<Peer 'alice', outside>"
    with pytest.raises(Closed, match="call join"):
        peer.publish(TestPattern())
    peer.leave()
    with pytest.raises(SourceError):
        peer.publish(3)
