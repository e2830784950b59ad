"""The architectures: who gets what, what publishers are told to send, and a switch between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

import rtclab
from forwarding_rig import rtp, vp8
from hall import Hall, Line
from rtclab.errors import RtclabError
from rtclab.forwarding.architecture import Architecture, Options, Stage, architecture, architectures, fenced
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.layers import SHORT_S, Choice, Layer, Reason
from rtclab.forwarding.mesh import Mesh
from rtclab.forwarding.producer import Producer, Upstream
from rtclab.forwarding.relay import Relay
from rtclab.forwarding.router import UNNEEDED_S, UNWATCHED_S
from rtclab.forwarding.sfu import Sfu
from rtclab.rtp import rtcp
from rtclab.signaling.tunnels import PATIENCE_S
from rtclab.transport.transport import Transport


class Theatre(Hall):
    """A hall with an architecture; what publishers are told is kept."""

    def __init__(self, kind: type[Architecture] = Sfu, **options: Any) -> None:
        super().__init__()
        self.options = Options(**options)
        self.asked: list[tuple[str, list[int], str | None]] = []
        self.count = 0
        self.router.on_upstream_changed = self._asked
        self.loop = asyncio.new_event_loop()
        self.take_up(kind)

    def _asked(self, producer: Producer) -> None:
        upstream = producer.upstream
        assert upstream is not None
        reason = upstream.reason.value if upstream.reason else None
        self.asked.append((producer.id, sorted(upstream.streams), reason))

    def take_up(self, kind: type[Architecture], now: float = 0.0) -> Architecture:
        chosen = fenced(kind(Stage(self.router, self.loop, self.options, str, lambda: None)))
        self.router.take_up(chosen, now)
        return chosen

    def simulcast(self, client: Client, now: float) -> Producer:
        """Publish three layers and send a picture of each."""
        track = self.publish(client, rids=("q", "h", "f"))
        self.layers(track, now, keyframe=True)
        return track

    def layers(self, track: Producer, now: float, keyframe: bool = False) -> None:
        for stream in track.streams:
            self.layer(track, stream.index, now, keyframe)

    def layer(self, track: Producer, index: int, now: float, keyframe: bool = False) -> None:
        self.count += 1
        payload = vp8(b"", self.count, keyframe=keyframe, size=(320 << index, 180 << index))
        stream = track.streams[index]
        packet, data = rtp(stream.packets, self.count * 90, payload, marker=True, ssrc=10 + index)
        stream.ssrc = 10 + index
        stored, _ = stream.receive(packet, data, now)
        assert stored is not None
        track.pending.append((stream, stored))
        track.forward(now)

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def theatre() -> Iterator[Theatre]:
    made = Theatre()
    yield made
    made.close()


def test_in_a_mesh_nothing_passes_and_back_from_it_everything_does(theatre: Theatre) -> None:
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.publish(alice)
    consumer = theatre.watch(bob, track)
    theatre.picture(alice, 1, 0.1, keyframe=True)
    theatre.picture(alice, 2, 0.2)
    assert len(theatre.seen("bob")) == 2
    theatre.take_up(Mesh, 0.3)
    assert theatre.asked == [("t1", [], "direct")]
    assert consumer.reason is Reason.DIRECT
    theatre.picture(alice, 3, 0.4, keyframe=True)
    assert theatre.seen("bob") == []
    theatre.take_up(Sfu, 5.0)
    assert theatre.asked[-1] == ("t1", [0], None)
    theatre.picture(alice, 4, 5.1, keyframe=True)
    theatre.picture(alice, 5, 5.2)
    sequences = [sent.sequence for sent in theatre.seen("bob")]
    assert len(sequences) == 2
    assert sequences[1] == sequences[0] + 1


@pytest.mark.parametrize("kind", [Sfu, Relay])
def test_a_publisher_sends_no_more_than_the_best_viewer_can_take(
    theatre: Theatre, kind: type[Architecture]
) -> None:
    theatre.take_up(kind)
    alice = theatre.join("alice")
    track = theatre.publish(alice)
    bob, carol = (theatre.watch(theatre.join(name), track) for name in ("bob", "carol"))
    theatre.picture(alice, 1, 0.1, keyframe=True)
    bob.selector.bitrate = 200_000
    theatre.router.review(track, 0.2)
    assert track.upstream.bitrate is None
    carol.selector.bitrate = 300_000
    theatre.router.review(track, 0.3)
    assert track.upstream == Upstream(frozenset([0]), Reason.BANDWIDTH, 300_000)
    carol.selector.bitrate = None
    theatre.router.review(track, 0.4)
    assert track.upstream == track.everything
    assert theatre.asked == [("t1", [0], "bandwidth"), ("t1", [0], None)]


def test_the_relay_adapts_to_nobody_but_viewers_without_udp(theatre: Theatre) -> None:
    theatre.take_up(Relay)
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.publish(alice)
    consumer = theatre.watch(bob, track)
    theatre.picture(alice, 1, 0.1, keyframe=True)
    remb = rtcp.remb(5, 200_000, [consumer.header.ssrc])
    lossy = rtcp.receiver_report(5, [rtcp.ReportBlock(consumer.header.ssrc, 128, 50, 100, 0, 0, 0)])

    def complain(begin: int) -> None:
        for now in range(begin, begin + 20):
            consumer.bitrate_bps = 1_000_000.0  # of pictures that are larger than these
            bob.on_rtcp(memoryview(lossy + remb), len(lossy + remb), float(now))
            theatre.picture(alice, now, float(now))
            theatre.tick(float(now))

    complain(1)
    assert consumer.estimate_bps == 200_000
    assert theatre.asked == []
    assert (consumer.temporal, consumer.reason) == (None, None)
    bob.patience_s = PATIENCE_S  # it has a tunnel now
    complain(30)
    assert theatre.asked == [("t1", [0], "bandwidth")]
    theatre.router.move(bob, cast(Transport, Line(7)), 60.0)
    bob.patience_s = SHORT_S
    complain(60)
    assert theatre.asked[1:] == [("t1", [0], None)]
    assert track.upstream == track.everything


def test_the_relay_stops_a_publisher_nobody_watches_and_wakes_it_at_once(theatre: Theatre) -> None:
    theatre.take_up(Relay)
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.publish(alice)
    theatre.tick(0.1)
    assert theatre.asked == []  # it may be watched in a moment
    theatre.tick(0.2 + UNWATCHED_S)
    assert theatre.asked == [("t1", [], "not_watched")]
    consumer = theatre.watch(bob, track)
    assert theatre.asked[-1] == ("t1", [0], None)
    theatre.picture(alice, 1, 2.0, keyframe=True)
    assert consumer.flowing()
    consumer.selector.visible = False
    theatre.router.decide(consumer, 2.1)
    assert consumer.reason is Reason.NOT_ASKED
    theatre.picture(alice, 2, 2.2)
    assert len(theatre.seen("bob")) == 1


def test_the_relay_has_one_encoding_of_each(theatre: Theatre) -> None:
    theatre.take_up(Relay)
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.simulcast(alice, 0.1)
    consumer = theatre.watch(bob, track)
    consumer.selector.view_height = 90
    theatre.router.decide(consumer, 0.2)
    assert consumer.target_rid == "f"
    for now in (0.3, 3.0, 0.4 + UNNEEDED_S):
        theatre.layers(track, now)
        theatre.tick(now)
    assert theatre.asked[-1] == ("t1", [2], "layer_not_needed")


def test_the_sfu_switches_off_layers_that_nobody_needs_and_on_at_once(theatre: Theatre) -> None:
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.simulcast(alice, 0.1)
    consumer = theatre.watch(bob, track)
    consumer.selector.view_height = 180
    theatre.router.decide(consumer, 0.2)
    assert consumer.target_rid == "q"
    assert theatre.asked == []
    for now in (0.3, 3.0, 0.4 + UNNEEDED_S):
        theatre.layers(track, now)
        theatre.tick(now)
    assert theatre.asked == [("t1", [0], "layer_not_needed")]
    # only the smallest arrives now; a large view wants the largest, and gets the smallest until that comes
    now = 10.0
    theatre.layer(track, 0, now, keyframe=True)
    consumer.selector.view_height = 720
    theatre.router.decide(consumer, now)
    assert theatre.asked[-1] == ("t1", [0, 2], "layer_not_needed")
    assert consumer.target_rid == "q"
    theatre.layer(track, 2, now + 0.1, keyframe=True)
    theatre.router.decide(consumer, now + 0.1)
    assert consumer.target_rid == "f"


def test_with_nobody_watching_the_sfu_keeps_the_smallest_layer(theatre: Theatre) -> None:
    track = theatre.simulcast(theatre.join("alice"), 0.1)
    for now in (0.3, 0.4 + UNNEEDED_S):
        theatre.layers(track, now)
        theatre.tick(now)
    assert theatre.asked == [("t1", [0], "layer_not_needed")]


def test_last_n_lets_through_who_spoke_last(theatre: Theatre) -> None:
    clients = [theatre.join(f"c{number}") for number in range(4)]
    tracks = [theatre.publish(client, f"t{number}", ssrc=number + 1) for number, client in enumerate(clients)]
    viewer = theatre.join("viewer")
    consumers = [theatre.watch(viewer, track, str(number)) for number, track in enumerate(tracks)]
    own = theatre.watch(clients[0], tracks[1], "9")

    def flowing(now: float) -> list[bool]:
        for number, client in enumerate(clients):
            theatre.picture(client, int(now * 10), now, keyframe=True, ssrc=number + 1)
        return [consumer.flowing() for consumer in consumers]

    assert flowing(0.1) == [True] * 4
    theatre.options.last_n = 2
    theatre.tick(0.2)
    assert flowing(0.3) == [True, True, False, False]
    assert own.flowing()
    assert consumers[3].reason is Reason.LAST_N
    for tenth in range(30):
        theatre.router.levels.receive("c3", -10.0, True, 0.3 + tenth / 10)
        theatre.tick(0.3 + tenth / 10)
    assert flowing(4.0) == [True, False, False, True]
    assert own.flowing()  # c0 does not count against its own two
    theatre.options.last_n = None
    theatre.tick(4.1)
    assert flowing(4.2) == [True] * 4


def test_who_stops_publishing_makes_room_in_last_n() -> None:
    theatre = Theatre(Sfu, last_n=1)
    alice, bob, viewer = theatre.join("alice"), theatre.join("bob"), theatre.join("viewer")
    first, second = theatre.publish(alice, "t1"), theatre.publish(bob, "t2", ssrc=2)
    consumers = [theatre.watch(viewer, first, "0"), theatre.watch(viewer, second, "1")]
    theatre.picture(alice, 1, 0.1, keyframe=True)
    theatre.picture(bob, 1, 0.1, keyframe=True, ssrc=2)
    assert [consumer.flowing() for consumer in consumers] == [True, False]
    theatre.router.unpublish(alice, "0", 0.2)
    theatre.tick(0.3)
    theatre.picture(bob, 2, 0.4, keyframe=True, ssrc=2)
    assert consumers[1].flowing()
    theatre.close()


class Guestbook(Architecture):
    """Writes down who comes and goes."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.lines: list[tuple[str, str, float]] = []

    def joined(self, client_id: str, now: float) -> None:
        assert client_id in self.stage.router.clients
        self.lines.append(("joined", client_id, now))

    def left(self, client_id: str, now: float) -> None:
        self.lines.append(("left", client_id, now))


def test_an_architecture_is_told_of_everybody_who_comes_and_goes(theatre: Theatre) -> None:
    theatre.join("alice")
    book = theatre.take_up(Guestbook, 1.0)
    theatre.join("bob", "connecting", 2.0)
    theatre.router.remove_client("alice", 3.0)
    assert isinstance(book, Guestbook)
    assert book.lines == [("joined", "alice", 1.0), ("joined", "bob", 2.0), ("left", "alice", 3.0)]


class Upside(Architecture):
    """The smallest layer for everybody; and it makes mistakes."""

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        alive = [layer for layer in layers if layer.alive]
        return Choice(alive[0].index if alive else None, None)

    def upstream(self, producer: Producer) -> Upstream:
        raise ZeroDivisionError


def test_an_architecture_of_ones_own(theatre: Theatre, caplog: pytest.LogCaptureFixture) -> None:
    registered = architecture("upside")(Upside)
    try:
        assert architectures["upside"] is registered is Upside
        assert Upside.name == "upside"
        alice, bob = theatre.join("alice"), theatre.join("bob")
        track = theatre.simulcast(alice, 0.1)
        consumer = theatre.watch(bob, track)
        with caplog.at_level(logging.ERROR):
            theatre.take_up(Upside, 0.2)
            for now in (0.3, 0.5, 0.7):
                theatre.tick(now)
        assert consumer.target_rid == "q"
        assert theatre.asked == []  # what failed is done as the base class does it: everything is sent
        assert [record.getMessage() for record in caplog.records] == [
            "architecture 'upside': upstream failed; the default is used"
        ]
    finally:
        del architectures["upside"]


def answering(**answers: object) -> type[Architecture]:
    """An architecture whose methods return these."""
    members = {name: lambda *arguments, answer=answer: answer for name, answer in answers.items()}
    return type("Answering", (Architecture,), {"name": "answering", **members})


WRONG: list[tuple[str, object]] = [
    ("choose", None),
    ("choose", 0),
    ("choose", Choice(3, None)),
    ("choose", Choice(-1, None)),
    ("choose", Choice("q", None)),  # type: ignore[arg-type]
    ("choose", Choice(0, "loud")),  # type: ignore[arg-type]
    ("choose", Choice(0, None, temporal="all")),  # type: ignore[arg-type]
    ("upstream", None),
    ("upstream", Upstream(frozenset([3]))),
    ("upstream", Upstream([0])),  # type: ignore[arg-type]
    ("upstream", Upstream(frozenset([0]), "loud")),  # type: ignore[arg-type]
    ("upstream", Upstream(frozenset([0]), None, "much")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("method", "answer"), WRONG)
def test_what_cannot_be_followed_is_logged_once_and_done_as_the_base_class_does_it(
    theatre: Theatre, caplog: pytest.LogCaptureFixture, method: str, answer: object
) -> None:
    alice, bob = theatre.join("alice"), theatre.join("bob")
    track = theatre.simulcast(alice, 0.1)
    consumer = theatre.watch(bob, track)
    with caplog.at_level(logging.ERROR):
        theatre.take_up(answering(**{method: answer}), 0.2)
        for now in (0.3, 0.5, 0.7):
            theatre.layers(track, now, keyframe=True)
            theatre.tick(now)
    assert (consumer.target_rid, consumer.wanted, consumer.flowing()) == ("f", 2, True)
    assert theatre.asked == []
    (record,) = caplog.records
    assert record.getMessage() == f"architecture 'answering': {method} failed; the default is used"
    assert record.exc_text is not None
    assert f"{method} must not return {answer!r}" in record.exc_text


@pytest.mark.parametrize("answer", ["alice", [None], 7])
def test_a_listing_that_is_none_is_that_of_the_base_class(
    theatre: Theatre, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    with caplog.at_level(logging.ERROR):
        chosen = theatre.take_up(answering(lists=answer))
        assert [chosen.lists("alice"), chosen.lists("bob")] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "architecture 'answering': lists failed; the default is used"
    ]


def test_an_architecture_has_to_begin_as_the_base_class_does(theatre: Theatre) -> None:
    former = theatre.router.architecture
    kind = type("Forgetful", (Architecture,), {"__init__": lambda self, stage: None})
    with pytest.raises(RtclabError, match=r"Forgetful.__init__ must call super\(\).__init__\(stage\)"):
        theatre.take_up(kind)
    assert theatre.router.architecture is former


def test_what_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match=r"derived from rtclab\.Architecture"):
        rtclab.architecture("thing")(dict)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="printable"):
        rtclab.architecture("")
    with pytest.raises(RtclabError, match="there is no architecture 'star'; known are '"):
        rtclab.Room(architecture="star")
    with pytest.raises(ValueError, match="last_n"):
        rtclab.Room(last_n=-1)
    with pytest.raises(ValueError, match="size"):
        rtclab.Room(size=(640, 359))
