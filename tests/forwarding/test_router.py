"""The room's media plane: publishers, viewers, and what passes between them."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from forwarding_rig import PAYLOAD_TYPE, header, vp8
from hall import Hall
from rtclab.rtp import rtcp
from rtclab.rtp.packet import build_rtp
from rtclab.transport.port import Taken
from rtclab.transport.transport import Transport


def test_one_publisher_reaches_all_viewers_and_is_asked_once() -> None:
    hall = Hall()
    alice = hall.join("alice")
    track = hall.publish(alice)
    hall.picture(alice, 1, 0.0)
    viewers = [hall.join(f"viewer-{number}") for number in range(5)]
    for viewer in viewers:
        hall.watch(viewer, track)
    assert hall.lines["alice"].plis() == [1]
    hall.picture(alice, 2, 0.1, keyframe=True)
    hall.picture(alice, 3, 0.2)
    for viewer in viewers:
        assert [one.payload[-9:] for one in hall.seen(viewer.id)] == [b"picture 2", b"picture 3"]
    assert hall.seen("alice") == []


def test_what_a_viewer_gets_is_told_when_it_changes() -> None:
    hall = Hall()
    alice, bob = hall.join("alice"), hall.join("bob")
    track = hall.publish(alice)
    hall.watch(bob, track)
    hall.picture(alice, 1, 0.1)
    for now in (0.3, 0.6, 0.9):
        hall.tick(now)
    hall.picture(alice, 2, 1.0, keyframe=True)
    for now in (1.3, 1.6):
        hall.tick(now)
    assert [reason for _, _, reason in hall.told] == [
        "publisher_sends_nothing",
        "waiting_for_keyframe",
        None,
    ]


def test_nothing_flows_before_the_transport_is_connected() -> None:
    hall = Hall()
    alice, bob = hall.join("alice"), hall.join("bob", "connecting")
    track = hall.publish(alice)
    consumer = hall.watch(bob, track)
    hall.picture(alice, 1, 0.0, keyframe=True)
    hall.tick(0.25)
    assert not consumer.flowing()
    hall.lines["bob"].state = "connected"
    hall.router.connected(bob, 0.5)
    assert [one.payload[-9:] for one in hall.seen("bob")] == [b"picture 1"]


def test_a_viewer_is_pointed_at_another_track() -> None:
    hall = Hall()
    alice, carol, bob = hall.join("alice"), hall.join("carol"), hall.join("bob")
    first, second = hall.publish(alice), hall.publish(carol, "t2", ssrc=2)
    consumer = hall.watch(bob, first)
    hall.picture(alice, 1, 1.0, keyframe=True)
    hall.picture(carol, 500, 1.0, keyframe=True, ssrc=2)
    hall.tick(1.1)
    hall.router.point(consumer, second, header(2), 1.2)
    hall.picture(alice, 2, 1.3)
    seen = hall.seen("bob")
    assert [one.payload.rsplit(b" ")[-1] for one in seen] == [b"1", b"500"]
    assert seen[1].sequence == seen[0].sequence + 1
    assert len(first.fanout) == 0
    hall.router.point(consumer, None, consumer.header, 1.4)
    hall.picture(carol, 501, 1.5, ssrc=2)
    assert hall.seen("bob") == []


def test_a_new_negotiation_changes_the_header_and_nothing_else() -> None:
    hall = Hall()
    alice, bob = hall.join("alice"), hall.join("bob")
    track = hall.publish(alice)
    consumer = hall.watch(bob, track)
    hall.picture(alice, 1, 0.0, keyframe=True)
    hall.tick(0.3)
    hall.router.point(consumer, track, header(1, b"9"), 0.4)
    hall.picture(alice, 2, 0.5)
    seen = hall.seen("bob")
    assert [one.mid for one in seen] == ["0", "9"]
    assert seen[1].sequence == seen[0].sequence + 1


def test_the_end_of_a_track_and_of_a_client() -> None:
    hall = Hall()
    alice, bob, carol = hall.join("alice"), hall.join("bob"), hall.join("carol")
    track = hall.publish(alice)
    consumers = [hall.watch(bob, track), hall.watch(carol, track)]
    hall.picture(alice, 1, 0.0, keyframe=True)
    hall.tick(0.3)
    hall.router.remove_client("carol", 0.4)
    assert consumers[1].producer is None
    hall.router.remove_client("alice", 0.5)
    assert track.closed
    assert consumers[0].producer is None
    assert hall.told[-1] == ("bob", None, None)
    hall.tick(0.8)
    router = hall.router
    assert (list(router.clients), router.consumers, router.publisher) == (["bob"], {}, {})
    hall.router.remove_consumer(bob, consumers[0])
    assert bob.consumers == {}
    hall.router.remove_client("nobody", 1.0)


def test_a_viewer_may_leave_while_it_is_told() -> None:
    hall = Hall()
    alice, bob, carol = hall.join("alice"), hall.join("bob"), hall.join("carol")
    track = hall.publish(alice)
    for client in (bob, carol):
        hall.watch(client, track)
    hall.router.on_consumer_changed = lambda consumer: hall.router.remove_client(consumer.client_id, 0.0)
    hall.picture(alice, 1, 0.2, keyframe=True)
    hall.tick(0.3)
    assert list(hall.router.clients) == ["alice"]
    assert len(track.fanout) == 0


def test_a_keyframe_request_goes_to_the_stream_the_viewer_gets() -> None:
    hall = Hall()
    alice, bob = hall.join("alice"), hall.join("bob")
    track = hall.publish(alice)
    consumer = hall.watch(bob, track)
    bob.on_rtcp(memoryview(rtcp.pli(5, consumer.header.ssrc)), 12, 0.0)
    assert hall.lines["alice"].plis() == []
    hall.picture(alice, 1, 0.1, keyframe=True)
    hall.tick(0.3)
    bob.on_rtcp(memoryview(rtcp.pli(5, consumer.header.ssrc)), 12, 0.4)
    assert hall.lines["alice"].plis() == [1]
    assert consumer.plis == 2


def test_reports_of_many_are_read_at_once() -> None:
    hall = Hall()
    alice, bob, carol = (hall.join(name) for name in ("alice", "bob", "carol"))
    track = hall.publish(alice)
    viewers = [hall.watch(client, track) for client in (bob, carol)]
    hall.picture(alice, 1, 0.0, keyframe=True)
    middle = rtcp.middle_32(hall.router.ntp(9.9))
    block = rtcp.ReportBlock(viewers[0].header.ssrc, 64, 5, 7, 900, middle, 65536 // 50)
    report = rtcp.receiver_report(1, [block])
    (sent,) = hall.seen("bob")
    datagrams = [
        (bob, report + rtcp.sdes(1, "bob") + rtcp.nack(1, sent.ssrc, [sent.sequence])),
        (carol, rtcp.receiver_report(1, [block._replace(fraction_lost=255)])),  # not hers to report on
        (carol, rtcp.receiver_report(1, [block._replace(ssrc=4242)])),
        (carol, rtcp.pli(1, viewers[1].header.ssrc)),
    ]
    slots = np.zeros((len(datagrams) + 1, 256), np.uint8)
    taken = []
    for slot, (client, datagram) in enumerate(datagrams, 1):
        slots[slot, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        taken.append(Taken(slot, cast(Transport, client.transport), len(datagram), 10.0))
    rest = list(hall.router.read_reports(slots, taken))
    assert rest == [(taken[0], len(report)), (taken[3], 0)]
    bobs, carols = viewers
    assert (bobs.loss_fraction, bobs.packets_lost, bobs.jitter_s) == (0.25, 5, 0.01)
    assert bobs.rtt_s == pytest.approx(0.08, abs=0.001)
    assert (carols.loss_fraction, carols.rtt_s) == (None, None)
    hall.router.remove_client("bob", 10.0)
    hall.router.read_reports(slots, taken)
    assert bobs.loss_fraction == 0.25


def test_figures_are_sampled_each_second() -> None:
    hall = Hall()
    alice, bob = hall.join("alice"), hall.join("bob")
    track = hall.publish(alice)
    consumer = hall.watch(bob, track)
    for number in range(45):
        hall.picture(alice, number, number / 15, keyframe=number == 0)
        hall.tick(number / 15)
    assert 14 <= track.streams[0].fps <= 16
    assert abs(consumer.bitrate_bps - track.streams[0].bitrate_bps) < 0.2 * consumer.bitrate_bps


def test_a_picture_that_is_not_complete_leaves_no_time_for_other_things() -> None:
    hall = Hall()
    alice = hall.join("alice")
    hall.publish(alice)
    for number, marker in ((1, False), (2, True)):
        raw = build_rtp(PAYLOAD_TYPE, number, 3000, 1, vp8(b"x", 1, keyframe=True), marker=marker)
        alice.on_rtp(memoryview(raw), len(raw), 0.0)
        assert hall.router.drained(0.0) is marker
    assert hall.router.drained(0.1)
