"""One viewer of one track: its layer and the reason for it, its reports, its retransmissions."""

from __future__ import annotations

from forwarding_rig import Outbox, feed, header, producer, vp8
from rtclab.forwarding.consumer import MAX_NACKED, MAX_RESENDS, Consumer
from rtclab.forwarding.layers import Reason
from rtclab.forwarding.producer import Producer
from rtclab.rtp.drops import Drop
from rtclab.rtp.rtcp import ReportBlock

HEIGHTS = {"q": 180, "h": 360, "f": 720}


class Scene:
    """A simulcast track and one consumer of it."""

    def __init__(self, rids: tuple[str, ...] = ("q", "h", "f")) -> None:
        self.outbox = Outbox()
        self.track = producer(self.outbox, rids)
        self.sequence = 0
        self.consumer = Consumer("bob", "0", header(0), 0)
        self.consumer.attach(self.track, header(0))

    def picture(self, rid: str | None, now: float, keyframe: bool = False, temporal: int = 0) -> None:
        picture(self.track, rid, self.sequence, now, keyframe, temporal)
        self.sequence += 1


def picture(
    track: Producer, rid: str | None, sequence: int, now: float, keyframe: bool, temporal: int = 0
) -> None:
    stream = track.by_rid(rid)
    assert stream is not None
    height = HEIGHTS.get(rid or "", 360)
    size = (height * 16 // 9, height)
    payload = vp8(b"x", sequence, temporal_id=temporal, keyframe=keyframe, size=size)
    number = 1 if stream.reception.highest is None else stream.reception.highest + 1
    track.pending.append((stream, feed(stream, now, number, int(now * 90000), payload, True)))
    track.forward(now)


def block(loss: float = 0, lost: int = 0, lsr: int = 0, dlsr: int = 0, jitter: int = 0) -> ReportBlock:
    return ReportBlock(1000, int(loss * 256), lost, 0, jitter, lsr, dlsr)


def test_it_waits_for_the_keyframe_it_asks_for() -> None:
    scene = Scene()
    consumer = scene.consumer
    assert (consumer.decide(0.0), consumer.reason) == (None, Reason.PUBLISHER_SENDS_NOTHING)
    for rid in HEIGHTS:
        scene.picture(rid, 1.0)
    for now in (1.0, 1.1):
        assert (consumer.decide(now), consumer.reason) == (2, Reason.WAITING_FOR_KEYFRAME)
    assert (consumer.current_rid, consumer.target_rid) == (None, "f")
    scene.picture("f", 1.2, keyframe=True)
    assert consumer.decide(1.3) is None
    assert (consumer.current_rid, consumer.reason, consumer.flowing()) == ("f", None, True)


def test_it_follows_its_view_and_a_layer_that_ends() -> None:
    scene = Scene()
    consumer = scene.consumer
    for now in (1.0, 1.5):
        for rid in HEIGHTS:
            scene.picture(rid, now, keyframe=True)
        consumer.decide(now)
    assert consumer.current_rid == "f"
    consumer.selector.view_height = 200
    assert consumer.decide(1.6) == 1
    assert (consumer.current_rid, consumer.target_rid, consumer.reason) == ("f", "h", Reason.VIEW_SIZE)
    scene.picture("h", 1.7, keyframe=True)
    assert consumer.decide(1.8) is None
    assert consumer.current_rid == "h"
    for tenth in range(18, 60):
        scene.picture("q", tenth / 10, keyframe=tenth == 45)
        consumer.decide(tenth / 10)
    assert consumer.current_rid == "q"


def test_a_muted_track_says_so() -> None:
    scene = Scene()
    scene.track.muted = True
    scene.consumer.decide(0.0)
    assert scene.consumer.reason is Reason.MUTED


def test_an_unsupported_codec_stops_what_flows() -> None:
    scene = Scene(())
    consumer = scene.consumer
    scene.picture(None, 1.0, keyframe=True)
    consumer.decide(1.0)
    assert consumer.flowing()
    consumer.supported = False
    assert consumer.decide(1.1) is None
    assert (consumer.flowing(), consumer.reason) == (False, Reason.CODEC_NOT_SUPPORTED)
    assert consumer.wanted is None, "the layer need not be sent for who cannot play it"
    consumer.supported = True
    scene.picture(None, 1.2, keyframe=True)
    consumer.decide(1.3)
    assert consumer.flowing()


def test_a_lossy_viewer_of_the_smallest_layer_gets_fewer_pictures() -> None:
    scene = Scene(())
    consumer = scene.consumer
    scene.picture(None, 1.0, keyframe=True)
    consumer.decide(1.0)
    for number in range(4):
        scene.picture(None, 1.1 + number / 10, temporal=number % 2)
    assert (len(scene.outbox.take(0)), consumer.highest_temporal, consumer.settled(1.4)) == (5, 1, True)
    consumer.report(block(loss=0.3), 0, 2.0)
    assert not consumer.settled(2.0)
    assert consumer.decide(2.0) is None
    assert (consumer.temporal, consumer.reason) == (0, Reason.LOSS)
    for number in range(4):
        scene.picture(None, 2.1 + number / 10, temporal=number % 2)
    assert len(scene.outbox.take(0)) == 2
    assert consumer.settled(2.5)


def test_it_keeps_its_numbers_from_track_to_track() -> None:
    first, second = Scene(()), Scene(())
    consumer = first.consumer
    first.picture(None, 1.0, keyframe=True)
    consumer.decide(1.0)
    consumer.limit_temporal(1)
    assert consumer.sent == (1, first.track.streams[0].bytes)
    consumer.sample(1.0)
    consumer.detach()
    assert (consumer.producer, consumer.flowing(), consumer.current_rid) == (None, False, None)
    assert consumer.decide(1.0) is None
    second.consumer.detach()
    consumer.attach(second.track, header(0))
    assert consumer.row is not None
    assert second.track.fanout.temporal_target[consumer.row] == 1
    second.picture(None, 2.0, keyframe=True)
    consumer.decide(2.0)
    before, after = first.outbox.take(0)[-1], second.outbox.take(0)[0]
    assert after.sequence == before.sequence + 1
    assert consumer.sent[0] == 2
    consumer.sample(2.0)
    assert consumer.bitrate_bps == second.track.streams[0].bytes * 8


def test_reports_give_round_trip_loss_and_jitter() -> None:
    scene = Scene()
    scene.consumer.report(block(0.25, 12, lsr=0xFFFFFF00, dlsr=65536 // 2, jitter=900), 0x00020000, 0.0)
    consumer = scene.consumer
    assert (consumer.loss_fraction, consumer.packets_lost, consumer.jitter_s) == (0.25, 12, 0.01)
    assert consumer.rtt_s is not None
    assert abs(consumer.rtt_s - 1.504) < 0.001
    consumer.report(block(lsr=0x30000, dlsr=0x10000), 0x20000, 1.0)  # an impossible one
    assert abs(consumer.rtt_s - 1.504) < 0.001
    for rid in HEIGHTS:
        scene.picture(rid, 1.0, keyframe=True)
    consumer.decide(1.0)
    assert (consumer.current_rid, consumer.reason) == ("h", Reason.LOSS)


def test_lost_packets_are_sent_again_not_too_soon_and_not_too_often() -> None:
    scene = Scene(())
    consumer = scene.consumer
    scene.picture(None, 0.0, keyframe=True)
    consumer.decide(0.0)
    (sent,) = scene.outbox.take(0)
    consumer.rtt_s = 0.1
    for now in (1.0, 1.05, 1.2, 1.4, 1.6):
        consumer.resend((sent.sequence,), now)
    assert len(scene.outbox.take(0)) == MAX_RESENDS
    consumer.resend((sent.sequence + 1, sent.sequence - 1), 2.0)
    assert consumer.drops == {Drop.RTX_TOO_SOON: 1, Drop.RTX_TOO_OFTEN: 1, Drop.RTX_TOO_OLD: 2}
    assert consumer.nacks == 7


def test_a_packet_named_twice_is_sent_once_and_a_huge_nack_is_cut_short() -> None:
    scene = Scene(())
    scene.picture(None, 1.0, keyframe=True)
    scene.consumer.decide(1.0)
    (sent,) = scene.outbox.take(0)
    scene.consumer.resend((sent.sequence, sent.sequence), 2.0)
    assert len(scene.outbox.take(0)) == 1
    others = tuple((sent.sequence + 1 + number) & 0xFFFF for number in range(MAX_NACKED + 10))
    scene.consumer.resend(others, 3.0)
    assert dict(scene.consumer.drops.items()) == {
        Drop.RTX_TOO_OLD: MAX_NACKED,
        Drop.RTX_TOO_OFTEN: 10,
    }


def test_without_a_way_to_send_again_it_is_counted() -> None:
    scene = Scene(())
    scene.consumer.detach()
    scene.consumer.resend((1, 2), 0.0)
    assert scene.consumer.drops == {Drop.RTX_UNKNOWN: 2}


def test_it_is_settled_until_something_changes_that_its_choice_depends_on() -> None:
    scene = Scene()
    consumer = scene.consumer
    for rid in HEIGHTS:
        scene.picture(rid, 1.0, keyframe=True)
    assert not consumer.settled(1.0)
    assert consumer.decide(1.0) is None
    assert consumer.settled(1.0)
    for rid in HEIGHTS:
        scene.picture(rid, 1.1)
    assert consumer.settled(1.1)

    consumer.selector.view_height = 180
    assert not consumer.settled(1.2)
    consumer.decide(1.2)
    assert not consumer.settled(1.2)  # it waits for a keyframe of the smaller layer
    scene.picture("q", 1.3, keyframe=True)
    consumer.decide(1.3)
    assert consumer.settled(1.3)

    scene.track.muted = True
    assert not consumer.settled(1.4)
    consumer.decide(1.4)
    assert consumer.settled(1.4)

    scene.track.fanout.restart(0)
    assert not consumer.settled(1.5)
    scene.picture("q", 1.6, keyframe=True)
    consumer.decide(1.6)
    assert consumer.settled(1.6)
    assert not consumer.settled(9.0)  # its layer is no longer alive
    consumer.detach()
    assert not consumer.settled(9.0)
