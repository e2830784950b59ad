"""The MCU's decisions: who is listed what, which layers come in, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from forwarding_rig import header, producer
from hall import Hall
from mixing_rig import Camera, Microphone
from rtclab.forwarding.architecture import Options, Stage
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.layers import Reason
from rtclab.forwarding.mcu import Mcu
from rtclab.forwarding.producer import Producer, Upstream
from rtclab.rtp.drops import Drop
from rtclab.rtp.packet import build_rtp, parse_rtp


class Theatre(Hall):
    """A hall whose loop is run by hand, with an MCU; its threads are real."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.changes = 0
        stage = Stage(self.router, self.loop, Options(size=(640, 360), fps=30, **options), str, self._change)
        self.mcu = Mcu(stage)
        self.router.take_up(self.mcu, self.loop.time())

    def _change(self) -> None:
        self.changes += 1

    def publish(
        self,
        client: Client,
        id: str = "t1",
        mid: str = "0",
        ssrc: int = 1,
        rids: tuple[str, ...] = (),
        codec: str = "VP8",
    ) -> Producer:
        track = producer(self.outbox, rids, codec)
        track.id = id
        self.router.publish(client, mid, track, {ssrc: None}, self.loop.time())
        return track

    def feed(self, track: Producer, index: int, camera: Camera | Microphone) -> None:
        """Send a picture, or 20 ms of sound, into a stream of a track."""
        fragments = camera.shoot(100, keyframe=True) if isinstance(camera, Camera) else [camera.speak()]
        stream = track.streams[index]
        stream.ssrc = stream.ssrc or 10 + index
        now = self.loop.time()
        for one in fragments:
            raw = build_rtp(96, one.sequence, one.timestamp, 1, one.payload, marker=one.marker)
            packet = parse_rtp(raw, len(raw))
            stored, _ = stream.receive(packet, memoryview(raw)[packet.payload_start :], now)
            assert stored is not None
            track.pending.append((stream, stored))
        track.forward(now)

    def until(self, condition: Callable[[], object], meanwhile: Callable[[], object] = bool) -> None:
        """Run the room until something is so."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            meanwhile()
            self.tick(self.loop.time())
            self.loop.run_until_complete(asyncio.sleep(0.01))

    def watch_mix(self, client: Client, listed: int = 0) -> Producer:
        track = self.mcu.lists(client.id)[listed].producer
        mid, number = str(90 + listed), 100 + client.transport.row + 50 * listed
        consumer = Consumer(client.id, mid, header(number), 0)
        self.router.add_consumer(client, consumer)
        self.router.point(consumer, track, header(number), self.loop.time())
        return track

    def close(self) -> None:
        self.mcu.close()
        assert self.mcu._video is None or (self.mcu.pictures.join(20) and self.mcu.sound.join(20))
        self.loop.close()


@pytest.fixture
def theatre() -> Iterator[Theatre]:
    made = Theatre()
    yield made
    made.close()


def test_everyone_is_listed_one_picture_and_the_sound_of_others(theatre: Theatre) -> None:
    ann = theatre.join("ann")
    theatre.join("ben")
    assert theatre.mcu.lists("ann") == ()
    theatre.publish(ann, "picture")
    assert [output.id for output in theatre.mcu.lists("ben")] == ["mix-video"]
    theatre.publish(ann, "voice", "1", 2, codec="opus")
    assert [output.id for output in theatre.mcu.lists("ann")] == ["mix-video"]  # nobody else speaks
    video, audio = theatre.mcu.lists("ben")
    assert (video.listener, audio.id, audio.listener) == (None, "mix-audio-ben", "ben")
    assert theatre.mcu.lists("ben") == (video, audio)
    assert (video.of, audio.of) == (frozenset(["ann"]), frozenset(["ann"]))
    theatre.until(lambda: theatre.changes)
    theatre.router.remove_client("ben", 1.0)
    assert set(theatre.router.outputs) == {"mix-video"}


def test_the_sound_of_who_never_connected_is_not_kept(theatre: Theatre) -> None:
    theatre.publish(theatre.join("ann"), "voice", codec="opus")
    assert len(theatre.mcu.lists("stranger")) == 2
    theatre.until(lambda: "mix-audio-stranger" not in theatre.router.outputs)


def test_what_participants_send_is_not_passed_on(theatre: Theatre) -> None:
    ann, ben = theatre.join("ann"), theatre.join("ben")
    track = theatre.publish(ann)
    consumer = theatre.watch(ben, track)
    theatre.feed(track, 0, Camera())
    theatre.tick(theatre.loop.time())
    assert consumer.reason is Reason.MIXED
    assert theatre.seen("ben") == []


def test_viewers_get_the_mix_from_a_keyframe_on(theatre: Theatre) -> None:
    ann, ben = theatre.join("ann"), theatre.join("ben")
    track, camera = theatre.publish(ann), Camera(640, 360)
    mix = theatre.watch_mix(ben)
    got: list[Any] = []

    def send() -> None:
        theatre.feed(track, 0, camera)
        got.extend(theatre.seen("ben"))

    theatre.until(lambda: len(got) > 20, send)
    assert got[0].payload[4] & 1 == 0  # a VP8 keyframe
    steps = {(later.sequence - one.sequence) & 0xFFFF for one, later in itertools.pairwise(got)}
    assert steps == {1}
    assert mix.streams[0].width == 640
    assert theatre.mcu.cpu_s() > 0


def test_a_picture_nobody_watches_is_not_sent(theatre: Theatre) -> None:
    ann, ben = theatre.join("ann"), theatre.join("ben")
    track = theatre.publish(ann)
    assert theatre.mcu.upstream(track) == Upstream(frozenset(), Reason.NOT_WATCHED)
    theatre.watch_mix(ben)
    theatre.tick(theatre.loop.time())
    assert theatre.mcu.upstream(track) == Upstream(frozenset([0]))
    theatre.router.remove_client("ben", theatre.loop.time())
    theatre.tick(theatre.loop.time())
    assert theatre.mcu.upstream(track).reason is Reason.NOT_WATCHED


def test_the_layer_that_fills_its_rectangle_comes_in(theatre: Theatre) -> None:
    ann = theatre.join("ann")
    track = theatre.publish(ann, rids=("q", "h", "f"))
    cameras = [Camera(160, 90), Camera(320, 180), Camera(640, 360)]
    theatre.watch_mix(theatre.join("ben"))

    def send() -> None:
        for index, camera in enumerate(cameras):
            theatre.feed(track, index, camera)

    theatre.until(
        lambda: theatre.mcu.upstream(track) == Upstream(frozenset([2]), Reason.LAYER_NOT_NEEDED), send
    )
    assert theatre.mcu.pictures.shown("t1") is track.streams[2]
    for number in range(3):  # with four people a quarter of the canvas each
        theatre.publish(theatre.join(f"guest-{number}"), f"g{number}", ssrc=20 + number)
    theatre.until(lambda: theatre.mcu.upstream(track).streams == {1}, send)
    assert theatre.mcu.pictures.shown("t1") is track.streams[1]
    assert 11 in theatre.lines["ann"].plis()


def test_until_a_better_layer_comes_the_other_is_kept(theatre: Theatre) -> None:
    track = theatre.publish(theatre.join("ann"), rids=("q", "f"))
    camera = Camera(160, 90)
    theatre.watch_mix(theatre.join("ben"))
    theatre.until(lambda: theatre.mcu.pictures.shown("t1"), lambda: theatre.feed(track, 0, camera))
    theatre.until(lambda: theatre.mcu.upstream(track).streams == {0, 1})
    assert theatre.mcu.pictures.shown("t1") is track.streams[0]


def test_a_stream_that_begins_anew_is_followed(theatre: Theatre) -> None:
    track = theatre.publish(theatre.join("ann"))
    theatre.watch_mix(theatre.join("ben"))
    camera = Camera()
    theatre.until(lambda: theatre.mcu.pictures.shown("t1"), lambda: theatre.feed(track, 0, camera))
    fresh, camera = track.bind(track.streams[0], 77, theatre.loop.time()), Camera()
    theatre.until(lambda: theatre.mcu.pictures.shown("t1") is fresh, lambda: theatre.feed(track, 0, camera))


@pytest.mark.parametrize("codec", ["VP9", "AV1"])
def test_what_cannot_be_decoded_is_said_and_counted(theatre: Theatre, codec: str) -> None:
    track = theatre.publish(theatre.join("ann"), codec=codec)
    theatre.watch_mix(theatre.join("ben"))
    assert theatre.mcu.upstream(track) == Upstream(frozenset(), Reason.CODEC_NOT_SUPPORTED)
    theatre.until(lambda: theatre.mcu.pictures.places)
    assert theatre.mcu.pictures.places[0].note == f"cannot be mixed: {codec}"
    assert track.tap is not None
    track.tap(track.streams[0], [], 0.0)
    theatre.mcu._refuse(theatre.mcu._sources["t1"], track.streams[0], [None] * 3, 0.0)  # type: ignore[list-item]
    assert track.streams[0].drops[Drop.CODEC_NOT_SUPPORTED] == 3


def test_who_is_only_heard_has_a_tile_with_the_name(theatre: Theatre) -> None:
    ann = theatre.join("ann")
    theatre.publish(ann, "voice", codec="opus")
    theatre.watch_mix(theatre.join("ben"))
    theatre.until(lambda: theatre.mcu.pictures.places)
    assert [(place.tile.name, place.note) for place in theatre.mcu.pictures.places] == [("ann", "no picture")]
    theatre.publish(ann, "picture", "1", 2)
    theatre.until(lambda: [place.tile.id for place in theatre.mcu.pictures.places] == ["picture"])
    theatre.router.unpublish(ann, "1", theatre.loop.time())
    theatre.until(lambda: [place.tile.id for place in theatre.mcu.pictures.places] == ["ann"])
    theatre.router.unpublish(ann, "0", theatre.loop.time())
    theatre.until(lambda: not theatre.mcu.pictures.places)


def test_sound_and_picture_have_one_clock(theatre: Theatre) -> None:
    ann, ben = theatre.join("ann"), theatre.join("ben")
    voice, microphone = theatre.publish(ann, "voice", codec="opus"), Microphone(500)
    theatre.publish(ann, "picture", "1", 2)
    mixes = [theatre.watch_mix(ben, listed) for listed in (0, 1)]
    theatre.until(
        lambda: all(mix.streams[0].packets > 5 for mix in mixes), lambda: theatre.feed(voice, 0, microphone)
    )
    for mix in mixes:
        assert mix.cname == "rtclab-room"
        stream = mix.streams[0]
        sent = stream.reception.ntp_at(stream.last_timestamp)
        assert sent is not None
        age = (theatre.router.ntp(stream.last_arrival) - sent) / 2**32
        assert -0.01 < age < 2  # it left after the moment that its timestamp names
    video, audio = (mix.streams[0].reception for mix in mixes)
    moment = theatre.router.ntp(theatre.loop.time())
    picture, sound = video.rtp_at(moment), audio.rtp_at(moment)
    assert picture is not None
    assert sound is not None
    # the two clocks began within a few milliseconds of each other
    assert abs(picture / 90_000 - sound / 48_000) < 0.5


def test_layouts_follow_the_room_and_a_wrong_one_changes_nothing(theatre: Theatre) -> None:
    theatre.publish(theatre.join("ann"))
    theatre.watch_mix(theatre.join("ben"))
    theatre.mcu.stage.options.layout = lambda tiles, size: [(0, 0, 64, 64)]
    theatre.until(lambda: [place.rect for place in theatre.mcu.pictures.places] == [(0, 0, 64, 64)])
    with pytest.raises(ValueError, match="layout must be"):
        Theatre(layout="gird")


def test_closing_leaves_nothing_behind(theatre: Theatre) -> None:
    ann, ben = theatre.join("ann"), theatre.join("ben")
    track = theatre.publish(ann)
    theatre.publish(ann, "voice", "1", 2, codec="opus")
    theatre.watch_mix(ben)
    theatre.until(lambda: theatre.mcu.pictures.figures().frames)
    theatre.mcu.close()
    assert theatre.router.outputs == {}
    assert track.tap is None
    assert theatre.mcu.pictures.join(20)
    assert theatre.mcu.sound.join(20)
    theatre.loop.run_until_complete(asyncio.sleep(0.01))  # what was on its way arrives, and does nothing
    assert "mix-video" not in theatre.router.consumers
