"""Sender reports: each viewer's in its turn, the first at once, with the numbers that the viewer knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forwarding_rig import Outbox, feed, header, producer, vp8
from rtclab.forwarding.cast import KEEPS_GIL
from rtclab.forwarding.columns import Header
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.producer import Producer
from rtclab.forwarding.sender_reports import FEWEST, TURNS
from rtclab.rtp import rtcp
from rtclab.rtp.sequence import difference

UNIX = 1_700_000_000.0  # at monotonic time 0


class Scene:
    """A track, its viewers, and the reports they are sent."""

    def __init__(self, viewers: int, rids: tuple[str, ...] = ()) -> None:
        self.outbox = Outbox()
        self.track = producer(self.outbox, rids)
        self.track.cname = "rtclab-alice"
        self.viewers = [self.watch(number) for number in range(viewers)]
        self.number = 0

    def watch(self, number: int) -> Consumer:
        consumer = Consumer(f"viewer-{number}", "0", header(number), number)
        consumer.attach(self.track, header(number))
        return consumer

    def picture(self, now: float, stream: int = 0, keyframe: bool = False) -> None:
        self.number += 1
        payload = vp8(b"x" * 10, self.number, keyframe=keyframe)
        source = self.track.streams[stream]
        packet = feed(source, now, self.number, int(now * 90000), payload, True)
        self.track.pending.append((source, packet))
        self.track.forward(now)
        self.choose(now)

    def choose(self, now: float) -> None:
        for viewer in self.viewers:
            viewer.decide(now)

    def turn(self, number: int, now: float = 2.0) -> dict[int, rtcp.SenderReport]:
        """The reports of a turn, by viewer."""
        self.track.report(number, rtcp.to_ntp(UNIX + now), now)
        found = {}
        for viewer, (report, description) in self.outbox.reports.items():
            assert isinstance(report, rtcp.SenderReport)
            assert report.ssrc == 1000 + viewer
            assert description == rtcp.Sdes((rtcp.SdesChunk(1000 + viewer, self.track.cname),))
            found[viewer] = report
        self.outbox.reports.clear()
        return found


def test_the_first_comes_at_once_and_then_each_in_its_turn() -> None:
    count = FEWEST * TURNS + 5
    scene = Scene(count)
    assert scene.turn(0) == {}, "nothing flows yet"
    scene.picture(1.0, keyframe=True)
    assert sorted(scene.turn(3)) == list(range(count))
    for number in range(4, 4 + 2 * TURNS):
        assert list(scene.turn(number)) == list(range(number % TURNS, count, TURNS))
    scene.viewers.append(scene.watch(count))
    scene.choose(1.1)
    assert count in scene.turn(count + 1)
    assert count not in scene.turn(count + 2)


@pytest.mark.parametrize(("count", "turns"), [(1, 1), (2 * FEWEST - 1, 1), (3 * FEWEST, 3), (1000, TURNS)])
def test_few_viewers_take_few_turns(count: int, turns: int) -> None:
    scene = Scene(count)
    scene.picture(1.0, keyframe=True)
    scene.turn(0)
    told = [list(scene.turn(number)) for number in range(TURNS)]
    assert sorted(viewer for viewers in told for viewer in viewers) == list(range(count))
    assert [bool(viewers) for viewers in told] == [True] * turns + [False] * (TURNS - turns)


@pytest.mark.parametrize("clock", [None, 0, 1000 << 32])
def test_numbers_are_those_that_the_viewer_knows(clock: int | None) -> None:
    scene = Scene(3)
    offset = clock or 0
    scene.track.clock_offset = lambda: clock
    for number in range(5):
        scene.picture(1.0 + number / 10, keyframe=not number)
    ntp = rtcp.to_ntp(UNIX + 1.4) - offset
    scene.track.streams[0].reception.sender_report(ntp, int(1.4 * 90000), 1.4)
    reports = scene.turn(0, 2.0)
    for number, viewer in enumerate(scene.viewers):
        report, sent = reports[number], scene.outbox.take(number)
        assert (report.packets, report.octets) == viewer.sent == (5, sum(len(p.payload) for p in sent))
        assert report.ntp == rtcp.to_ntp(UNIX + 2.0)
        assert difference(report.rtp, sent[-1].timestamp, 32) == pytest.approx(0.6 * 90000, abs=2)


def test_an_ssrc_goes_on_counting_with_another_track() -> None:
    first, second = Scene(1), Scene(0)
    first.picture(1.0, keyframe=True)
    (viewer,) = first.viewers
    viewer.attach(second.track, header(0))
    second.viewers.append(viewer)
    second.picture(1.5, keyframe=True)
    second.picture(1.6)
    assert second.turn(0)[0].packets == viewer.sent[0] == 3


def test_viewers_of_each_layer_have_its_time() -> None:
    scene = Scene(2, ("q", "f"))
    for number, rid in enumerate(("q", "f")):
        scene.viewers[number].selector.picked = rid
    scene.picture(1.0, 0, keyframe=True)
    scene.number = 4000
    for now in (1.1, 1.25):
        scene.picture(now, 1, keyframe=True)
    reports = scene.turn(0, 2.0)
    for number, sent_at in enumerate((1.0, 1.25)):
        sent = scene.outbox.take(number)[-1]
        ahead = difference(reports[number].rtp, sent.timestamp, 32)
        assert ahead == pytest.approx((2.0 - sent_at) * 90000, abs=2)


def test_another_negotiation_and_another_name() -> None:
    scene = Scene(1)
    scene.picture(1.0, keyframe=True)
    scene.turn(0)
    (viewer,) = scene.viewers
    assert viewer.row is not None
    scene.track.fanout.set_header(viewer.row, replace(header(0), ssrc=4242))
    scene.track.cname = "rtclab-alicia"
    scene.track.report(TURNS, rtcp.to_ntp(UNIX), 2.0)
    report, description = scene.outbox.reports[0]
    assert isinstance(report, rtcp.SenderReport)
    assert report.ssrc == 4242
    assert description == rtcp.Sdes((rtcp.SdesChunk(4242, "rtclab-alicia"),))


def test_who_has_left_or_pauses_is_told_nothing() -> None:
    scene = Scene(3)
    scene.picture(1.0, keyframe=True)
    scene.viewers.pop(1).detach()
    assert scene.viewers[0].row is not None
    scene.track.fanout.pause(scene.viewers[0].row)
    assert {viewer for number in range(TURNS) for viewer in scene.turn(number)} == {2}


def test_more_newcomers_than_the_arena_holds() -> None:
    outbox = Outbox()
    track: Producer = producer(outbox)
    count = KEEPS_GIL + 7
    for number in range(count):
        track.fanout.add(number, Header(96, 10_000 + number))
        track.fanout.aim(number, 0, 0.0)
    source = track.streams[0]
    track.pending.append((source, feed(source, 1.0, 1, 0, vp8(b"x", keyframe=True), True)))
    track.forward(1.0)
    track.report(0, rtcp.to_ntp(UNIX), 1.0)
    assert sorted(outbox.reports) == list(range(count))


def test_a_full_socket_is_counted() -> None:
    scene = Scene(2)
    scene.picture(1.0, keyframe=True)
    scene.outbox.full.add(1)
    assert list(scene.turn(0)) == [0]
    fanout = scene.track.fanout
    assert fanout.dropped_socket_full[[0, 1]].tolist() == [0, 1]
