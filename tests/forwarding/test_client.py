"""One client's media: where packets belong, what is asked of a publisher, what a viewer is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarding_rig import PAYLOAD_TYPE, RTX_PAYLOAD_TYPE, Outbox, header, producer, vp8
from rtclab.forwarding.client import MAX_SSRCS, Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.producer import Producer
from rtclab.rtp import extensions, rtcp
from rtclab.rtp.drops import Drop, Drops
from rtclab.rtp.packet import build_rtp
from rtclab.rtp.sequence import difference
from rtclab.transport.transport import Transport

IDS = {
    extensions.MID: 1,
    extensions.RID: 2,
    extensions.REPAIRED_RID: 3,
    extensions.AUDIO_LEVEL: 4,
    extensions.TRANSPORT_SEQUENCE: 5,
}
UNIX = 1_700_000_000.0  # at monotonic time 0


class Line:
    """A transport that keeps the RTCP it is given."""

    def __init__(self) -> None:
        self.state = "connected"
        self.row = 0
        self.drops = Drops()
        self.packets: list[Any] = []
        self.datagrams: list[bytes] = []

    def send_rtcp(self, data: bytes) -> None:
        self.datagrams.append(data)
        self.packets += rtcp.parse_rtcp(data)

    def take(self, kind: type) -> list[Any]:
        found = [packet for packet in self.packets if isinstance(packet, kind)]
        self.packets = [packet for packet in self.packets if not isinstance(packet, kind)]
        return found


class Desk:
    """A client and what it tells the room."""

    def __init__(self, name: str = "alice") -> None:
        self.line = Line()
        self.dirty: list[Producer] = []
        self.levels: list[tuple[str, float, bool, float]] = []
        self.client = Client(
            name,
            cast(Transport, self.line),
            99,
            lambda now: rtcp.to_ntp(UNIX + now),
            self.dirty.append,
            lambda *level: self.levels.append(level),
        )
        self.client.extension_ids = dict(IDS)

    def publish(self, mid: str = "0", rids: tuple[str, ...] = (), **ssrcs: int | None) -> Producer:
        track = producer(Outbox(), rids)
        self.client.publish(mid, track, {int(name[1:]): rtx for name, rtx in ssrcs.items()})
        track.clock_offset = self.client.clock_offset
        track.cname = self.client.cname
        return track

    def rtp(
        self,
        sequence: int,
        payload: bytes | None = None,
        ssrc: int = 1,
        payload_type: int = PAYLOAD_TYPE,
        now: float = 0.0,
        timestamp: int | None = None,
        values: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        payload = vp8(b"x", sequence, keyframe=True) if payload is None else payload
        raw = build_rtp(
            payload_type,
            sequence & 0xFFFF,
            sequence * 3000 & 0xFFFFFFFF if timestamp is None else timestamp,
            ssrc,
            payload,
            marker=True,
            extensions=[(IDS[uri], value) for uri, value in values],
            padding=0 if payload else 10,
        )
        self.client.on_rtp(memoryview(raw), len(raw), now)

    def rtcp(self, data: bytes, now: float = 0.0) -> None:
        self.client.on_rtcp(memoryview(data), len(data), now)


def named(mid: str = "0", rid: str | None = None, repaired: str | None = None) -> list[tuple[str, bytes]]:
    values = [(extensions.MID, mid.encode())]
    if rid:
        values.append((extensions.RID, rid.encode()))
    if repaired:
        values.append((extensions.REPAIRED_RID, repaired.encode()))
    return values


def received(track: Producer) -> list[int]:
    return [stream.packets for stream in track.streams]


def test_ssrcs_of_the_description_need_no_extensions() -> None:
    desk = Desk()
    track = desk.publish("0", _1=2)
    desk.rtp(10)
    desk.rtp(12)
    desk.rtp(500, b"\x00\x0b" + vp8(b"again"), ssrc=2, payload_type=RTX_PAYLOAD_TYPE)
    assert (received(track), track.streams[0].recovered) == ([3], 1)
    assert [packet.sequence & 0xFFFF for _, packet in track.pending] == [10, 12, 11]
    assert desk.dirty == [track]


def test_simulcast_streams_are_told_apart_by_rid_and_then_by_ssrc() -> None:
    desk = Desk()
    track = desk.publish("0", ("q", "f"))
    desk.publish("1", ("q", "f"))
    desk.rtp(1, ssrc=11, values=named("0", "q"))
    desk.rtp(1, ssrc=12, values=named("0", "f"))
    desk.rtp(3, ssrc=12)
    desk.rtp(7, b"\x00\x02" + vp8(b"x"), 22, RTX_PAYLOAD_TYPE, values=named("0", None, "f"))
    assert received(track) == [1, 3]
    assert [stream.ssrc for stream in track.streams] == [11, 12]
    assert track.streams[1].rtx_ssrc == 22
    desk.rtp(1, ssrc=13)
    desk.rtp(1, ssrc=13, values=named("0", "x"))
    desk.rtp(1, ssrc=13, values=named("9", "q"))
    desk.rtp(1, ssrc=13, payload_type=50, values=named("0", "q"))
    assert desk.client.drops == {Drop.UNKNOWN_SSRC: 4}


def test_a_payload_type_of_one_track_alone_is_enough() -> None:
    desk = Desk()
    track = desk.publish("0")
    desk.rtp(1, ssrc=77)
    assert received(track) == [1]
    other = desk.publish("1")
    desk.rtp(1, ssrc=78)
    assert (received(track), received(other)) == ([1], [0])


def test_a_new_ssrc_takes_over_and_stragglers_do_not_take_it_back() -> None:
    desk = Desk()
    track = desk.publish("0")
    desk.rtp(1, ssrc=1, values=named())
    desk.rtp(900, ssrc=2, values=named())
    for number in range(2, 5):
        desk.rtp(number, ssrc=1, values=named())
        desk.rtp(900 + number, ssrc=2)
    assert track.streams[0].ssrc == 2
    assert received(track) == [4]
    assert desk.client.drops[Drop.UNKNOWN_SSRC] == 3


def test_ssrcs_are_bounded() -> None:
    desk = Desk()
    desk.publish("0")
    for ssrc in range(1, 5 * MAX_SSRCS):
        desk.rtp(ssrc, ssrc=ssrc, values=named())
    assert len(desk.client._routes) <= MAX_SSRCS
    assert len(desk.client._retired) <= MAX_SSRCS


def test_an_m_line_used_again_may_have_the_same_ssrc() -> None:
    desk = Desk()
    desk.publish("0", _1=None)
    desk.rtp(1)
    desk.client.unpublish("0")
    desk.rtp(2)
    assert desk.client.drops == {Drop.UNKNOWN_SSRC: 1}
    track = desk.publish("0", _1=None)
    desk.rtp(3)
    assert received(track) == [1]


def test_what_is_missing_is_asked_for_again_and_again() -> None:
    desk = Desk()
    track = desk.publish("0", _1=2)
    desk.rtp(1)
    desk.rtp(4)
    (nack,) = desk.line.take(rtcp.Nack)
    assert (nack.sender, nack.media, nack.sequences) == (99, 1, (2, 3))
    desk.client.tick(0.3)
    assert [one.sequences for one in desk.line.take(rtcp.Nack)] == [(2, 3)]
    desk.rtp(1, b"\x00\x02" + vp8(b"x"), ssrc=2, payload_type=RTX_PAYLOAD_TYPE)
    desk.client.tick(0.6)
    assert [one.sequences for one in desk.line.take(rtcp.Nack)] == [(3,)]
    assert track.streams[0].nacks_sent == 5


def test_many_keyframe_requests_become_one() -> None:
    desk = Desk()
    track = desk.publish("0", _1=None)
    desk.rtp(1, vp8(b"delta"))
    stream = track.streams[0]
    for viewer in range(50):
        desk.client.ask_keyframe(stream, f"viewer-{viewer}", 0.1)
    assert [(pli.sender, pli.media) for pli in desk.line.take(rtcp.Pli)] == [(99, 1)]
    desk.client.tick(1.2)
    assert len(desk.line.take(rtcp.Pli)) == 1
    desk.rtp(2, now=1.3)
    desk.client.tick(5.0)
    assert desk.line.take(rtcp.Pli) == []
    assert stream.plis_sent == 2


def test_a_source_that_jumps_is_asked_for_a_keyframe() -> None:
    desk = Desk()
    track = desk.publish("0", _1=None)
    row = track.fanout.add(0, header(0))
    track.fanout.aim(row, 0, 0.0)
    desk.rtp(1)
    desk.rtp(30000, vp8(b"delta"), now=1.0)
    desk.rtp(30001, vp8(b"delta"), now=1.0)
    assert len(desk.line.take(rtcp.Pli)) == 1
    track.forward(1.0)
    desk.rtp(30002, now=1.1)
    track.forward(1.1)
    assert isinstance(track.fanout.batch, Outbox)
    first, second = track.fanout.batch.take(0)
    assert second.sequence == first.sequence + 1
    assert difference(second.timestamp, first.timestamp, 32) == pytest.approx(1.1 * 90000, abs=2)


def test_every_packet_is_reported_to_transport_cc_dropped_ones_too() -> None:
    desk = Desk()
    desk.publish("0", _1=None)
    desk.client.transport_cc = True
    for number in range(3):
        values = [(extensions.TRANSPORT_SEQUENCE, number.to_bytes(2, "big"))]
        desk.rtp(5 if number else 4, ssrc=1 if number < 2 else 50, values=values, now=number / 100)
    desk.client.tick(0.1)
    (feedback,) = desk.line.take(rtcp.TransportFeedback)
    assert [number for number, arrival in feedback.arrivals if arrival is not None] == [0, 1, 2]
    assert desk.line.take(rtcp.Remb) == []


def test_a_sender_without_transport_cc_gets_a_bound_that_loss_lowers() -> None:
    desk = Desk()
    desk.publish("0", _1=None)
    desk.rtp(1)
    desk.client.tick(1.0)
    (open_bound,) = desk.line.take(rtcp.Remb)
    assert open_bound.ssrcs == (1,)
    for number in range(3, 60, 2):
        desk.rtp(number, now=2.0)
    desk.client.tick(3.0)
    (report,) = desk.line.take(rtcp.ReceiverReport)[-1:]
    assert report.blocks[0].fraction_lost > 100
    assert desk.line.take(rtcp.Remb)[0].bitrate < open_bound.bitrate


def test_audio_levels_are_heard() -> None:
    desk = Desk("carol")
    desk.publish("0", _1=None)
    desk.rtp(1, values=[(extensions.AUDIO_LEVEL, b"\x9e")], now=0.5)
    assert desk.levels == [("carol", -30, True, 0.5)]


class Watching:
    """Alice publishes sound and picture; Bob gets both."""

    def __init__(self) -> None:
        self.alice, self.bob = Desk("alice"), Desk("bob")
        self.video = self.alice.publish("0", _1=2)
        self.audio = Producer("t2", "audio", "opus", 48000, 111, None, (), Outbox())
        self.alice.client.publish("1", self.audio, {3: None})
        self.audio.clock_offset, self.audio.cname = self.alice.client.clock_offset, "rtclab-alice"
        self.consumers: list[Consumer] = []
        for index, track in enumerate((self.video, self.audio)):
            consumer = Consumer("bob", str(index), header(index), index)
            consumer.attach(track, header(index))
            self.bob.client.consumers[1000 + index] = consumer
            self.consumers.append(consumer)

    def frame(self, captured: float, delay: float, number: int) -> None:
        """A picture and a sound captured at the same moment, the picture `delay` s longer on its way."""
        self.alice.rtp(
            number, b"opus", 3, 111, now=captured + 0.01, timestamp=int(captured * 48000) + 7_000_000
        )
        self.alice.rtp(number, now=captured + delay, timestamp=int(captured * 90000) + 50_000)
        for consumer in self.consumers:
            consumer.decide(captured + delay)
            assert consumer.producer is not None
            consumer.producer.forward(captured + delay)

    def reports(self, now: float) -> None:
        """Alice's clock is 1000 s behind the room's."""
        ntp = rtcp.to_ntp(UNIX - 1000 + now)
        self.alice.rtcp(rtcp.sender_report(3, ntp, int(now * 48000) + 7_000_000, 1, 1), now + 0.02)
        self.alice.rtcp(rtcp.sender_report(1, ntp, int(now * 90000) + 50_000, 1, 1), now + 0.02)


def test_sender_reports_keep_sound_and_picture_together() -> None:
    scene = Watching()
    for number in range(10):
        scene.frame(1 + number, 0.3, number)
        scene.reports(1 + number)
    played = []
    for index, (consumer, clock) in enumerate(zip(scene.consumers, (90000, 48000), strict=True)):
        assert consumer.producer is not None
        assert isinstance(consumer.producer.fanout.batch, Outbox)
        packet = consumer.producer.fanout.batch.take(index)[-1]
        consumer.producer.report(0, rtcp.to_ntp(UNIX + 11), 11.0)
        report, description = consumer.producer.fanout.batch.reports[index]
        assert isinstance(report, rtcp.SenderReport)
        assert rtcp.parse_rtcp(scene.bob.client.sender_report(1000 + index, consumer, 11.0))[0] == report
        assert description == rtcp.Sdes((rtcp.SdesChunk(1000 + index, "rtclab-alice"),))
        assert (report.packets, report.octets) == consumer.sent
        ahead = difference(packet.timestamp, report.rtp, 32) / clock
        played.append(report.ntp / 2**32 + ahead)
    assert played[0] == pytest.approx(played[1], abs=0.001)
    assert played[0] == pytest.approx(rtcp.to_ntp(UNIX + 10) / 2**32, abs=0.05)


def test_a_viewer_that_estimates_less_than_it_is_sent_gets_a_smaller_layer() -> None:
    desk = Desk("bob")
    consumers = []
    for index, rids in enumerate((("q", "h", "f"), ("q", "h", "f"), ())):
        consumer = Consumer("bob", str(index), header(index), index)
        consumer.attach(producer(Outbox(), rids), header(index))
        consumer.bitrate_bps = 1_000_000.0 * (index + 1)
        desk.client.consumers[1000 + index] = consumer
        consumers.append(consumer)
    for now in range(5):
        desk.rtcp(rtcp.remb(5, 6_000_000, [1000, 1001, 1002]), float(now))
    assert [consumer.selector.cap for consumer in consumers] == [None, None, None]
    for now in range(5, 10):
        desk.rtcp(rtcp.remb(5, 4_000_000, [1000, 1001, 1002, 4242]), float(now))
    assert [consumer.selector.cap for consumer in consumers] == [None, 2, None]


def test_a_viewer_is_heard() -> None:
    scene = Watching()
    scene.frame(1.0, 0.0, 1)
    wanted: list[Consumer] = []
    scene.bob.client.on_keyframe_wanted = lambda consumer, now: wanted.append(consumer)
    video = scene.consumers[0]
    assert isinstance(scene.video.fanout.batch, Outbox)
    (sent,) = scene.video.fanout.batch.take(0)
    block = rtcp.ReportBlock(1000, 64, 5, 0, 90, 0, 0)
    scene.bob.rtcp(
        rtcp.receiver_report(5, [block])
        + rtcp.pli(5, 1000)
        + rtcp.fir(5, [(1000, 1), (4242, 1)])
        + rtcp.nack(5, 1000, [sent.sequence])
        + rtcp.remb(5, 800_000, [1000, 4242]),
        2.0,
    )
    assert (video.loss_fraction, video.packets_lost, video.jitter_s) == (0.25, 5, 0.001)
    assert wanted == [video, video]
    assert (video.plis, video.nacks, video.estimate_bps) == (2, 1, 800_000)
    assert len(scene.video.fanout.batch.take(0)) == 1


def test_nothing_is_sent_to_a_client_that_is_not_connected() -> None:
    desk = Desk()
    desk.publish("0", _1=None)
    desk.rtp(1)
    desk.line.state = "disconnected"
    desk.client.tick(10.0)
    assert desk.line.datagrams == []


def test_reports_of_many_streams_fit_their_datagrams() -> None:
    desk = Desk()
    for index in range(MAX_SSRCS):
        track = producer(Outbox())
        desk.client.publish(str(index), track, {index + 1: None})
        desk.rtp(1, ssrc=index + 1)
    desk.client.tick(1.0)
    assert max(map(len, desk.line.datagrams)) <= 1400
    blocks = [block.ssrc for report in desk.line.take(rtcp.ReceiverReport) for block in report.blocks]
    assert sorted(blocks) == list(range(1, MAX_SSRCS + 1))


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_counted_and_never_raised(data: bytes, as_rtcp: bool) -> None:
    desk = Desk()
    desk.publish("0", ("q", "f"))
    handler = desk.client.on_rtcp if as_rtcp else desk.client.on_rtp
    handler(memoryview(bytearray(data)), len(data), 0.0)
    handler(memoryview(b"\x90" + data), len(data) + 1, 0.0)
    assert not desk.line.datagrams
