"""The fan-out case by case: published scenarios, splices, retransmission, rows, and what is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from forwarding_rig import MID_ID, RTX_PAYLOAD_TYPE, TIME_ID, Outbox, Sent, feed, header, producer, vp8
from rtclab.forwarding.cast import Sent as Found
from rtclab.forwarding.columns import HISTORY, NOWHERE, Header
from rtclab.forwarding.fanout import LATE_HOLES, REPLAY_S, SILENT_S, Fanout
from rtclab.forwarding.producer import Producer
from rtclab.forwarding.stream import Stream
from rtclab.rtp.extensions import abs_send_time, iter_extensions
from rtclab.rtp.packet import parse_rtp
from rtclab.rtp.sequence import difference
from rtclab.transport.batch import Clients, Lost


class Stage:
    """A producer, its viewers, and a publisher that numbers its packets itself."""

    def __init__(self, rids: tuple[str, ...] = (), viewers: int = 1, codec: str = "VP8") -> None:
        self.outbox = Outbox()
        self.producer: Producer = producer(self.outbox, rids, codec)
        self.fanout: Fanout = self.producer.fanout
        self.rows = [self.fanout.add(index, header(index)) for index in range(viewers)]
        self.sequence = [1000 * (index + 1) for index in range(max(len(rids), 1))]

    def aim(self, stream: int = 0, now: float = 0.0) -> None:
        for row in self.rows:
            self.fanout.aim(row, stream, now)

    def picture(
        self,
        number: int,
        packets: int = 1,
        stream: int = 0,
        keyframe: bool = False,
        temporal: int = 0,
        now: float | None = None,
        whole: bool = True,
    ) -> None:
        """Send the packets of picture `number`; not `whole`: without its last one."""
        now = number / 30 if now is None else now
        source = self.producer.streams[stream]
        for part in range(packets):
            marker = part == packets - 1
            payload = vp8(b"%d/%d" % (number, part), number, number, temporal, False, keyframe, part == 0)
            if whole or not marker:
                self.push(source.index, self.sequence[stream], number * 3000, payload, marker, now)
            self.sequence[stream] += 1
        self.producer.forward(now)

    def push(
        self, stream: int, sequence: int, timestamp: int, payload: bytes, marker: bool, now: float
    ) -> None:
        source = self.producer.streams[stream]
        self.producer.pending.append((source, feed(source, now, sequence, timestamp, payload, marker)))

    def find(self, row: int, sequence: int) -> tuple[Stream, Found] | None:
        return self.fanout.find(row, (sequence,)).get(sequence)

    def seen(self, viewer: int = 0) -> list[Sent]:
        return self.outbox.take(viewer)


LAYERS = {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (1, 2), 5: (1, 2), 6: (2, 1), 7: (2, 1), 8: (3, 2)}
LAYERS |= {9: (4, 0), 10: (4, 0), 11: (4, 0)}  # number: picture, temporal layer
LAST = (3, 5, 7, 8, 11)


# Jitsi Videobridge, doc/svc.md; its scenario C needs to know where a picture ends
@pytest.mark.parametrize(
    ("target", "received", "sent"),
    [
        pytest.param(0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 2, 3, 4, 5, 6], id="A"),
        pytest.param(2, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 5], [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 5], id="B"),
        # the late packet takes the place that was left for it
        pytest.param(1, [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 8], [1, 2, 3, 4, 5, 7, 8, 9, 6], id="D"),
    ],
)
def test_published_scenarios(target: int, received: list[int], sent: list[int]) -> None:
    stage = Stage()
    stage.aim()
    stage.fanout.limit_temporal(0, target)
    base = int(stage.fanout.last_sequence[0])
    for number in received:
        picture, temporal = LAYERS[number]
        start = number - 1 not in LAYERS or LAYERS[number - 1][0] != picture
        payload = vp8(b"x", picture, picture, temporal, True, picture == 0, start)
        stage.push(0, number, picture * 3000, payload, number in LAST, 0.0)
        stage.producer.forward(0.0)
    assert [one.sequence - base for one in stage.seen()] == sent


def test_a_switch_goes_on_where_the_old_layer_stopped() -> None:
    stage = Stage(("q", "f"))
    stage.aim(0)
    stage.picture(0, 2, stream=0, keyframe=True)
    stage.picture(1, 2, stream=0)
    stage.aim(1)
    stage.picture(2, 2, stream=1)
    stage.picture(2, 2, stream=0)
    stage.picture(3, 2, stream=1, keyframe=True)
    stage.picture(3, 2, stream=0)
    seen = stage.seen()
    assert [one.payload[-3:] for one in seen] == [
        b"0/0",
        b"0/1",
        b"1/0",
        b"1/1",
        b"2/0",
        b"2/1",
        b"3/0",
        b"3/1",
    ]
    assert [one.sequence - seen[0].sequence for one in seen] == list(range(8))
    assert [one.picture_id for one in seen] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert stage.fanout.switches[0] == 1
    assert stage.producer.streams[0].alive(0.2)


def test_a_picture_that_is_cut_off_by_a_switch_leaves_a_hole() -> None:
    stage = Stage(("q", "f"))
    stage.aim(0)
    stage.picture(0, 3, stream=0, keyframe=True, whole=False)
    stage.aim(1)
    stage.picture(1, 1, stream=1, keyframe=True)
    seen = stage.seen()
    assert [one.sequence - seen[0].sequence for one in seen] == [0, 1, 3]
    assert stage.find(0, seen[0].sequence + 2) is None


def test_sender_reports_place_the_new_layer_in_time() -> None:
    stage = Stage(("q", "f"))
    ntp = 5 << 32
    stage.aim(0)
    stage.picture(0, stream=0, keyframe=True, now=10.0)
    stage.producer.streams[0].reception.sender_report(ntp, 0, 10.0)
    # the other layer's clock is 700000 ahead, and its keyframe comes 300 ms late
    stage.producer.streams[1].reception.sender_report(ntp, 700000, 10.0)
    stage.aim(1)
    payload = vp8(b"k", 3, 3, keyframe=True)
    stage.push(1, 5000, 700000 + 9000, payload, True, 10.4)
    stage.producer.forward(10.4)
    first, second = stage.seen()
    assert difference(second.timestamp, first.timestamp, 32) == 9000


def test_without_reports_the_clock_places_it() -> None:
    stage = Stage(("q", "f"))
    stage.aim(0)
    stage.picture(0, stream=0, keyframe=True, now=10.0)
    stage.aim(1)
    stage.picture(5000, stream=1, keyframe=True, now=10.5)
    first, second = stage.seen()
    assert difference(second.timestamp, first.timestamp, 32) == 45000


def test_a_new_ssrc_goes_on_after_the_old_one() -> None:
    stage = Stage()
    stage.aim()
    source = stage.producer.streams[0]
    stage.producer.bind(source, 1, 0.0)
    stage.picture(0, keyframe=True, now=100.0)
    stage.picture(1, now=100.1)
    first = stage.seen()
    fresh = stage.producer.bind(source, 2, 100.2)
    assert fresh is not source
    assert stage.find(0, first[0].sequence) is None  # its packets are gone with the stream
    stage.sequence[0] = 60000
    stage.picture(70, now=100.2)
    assert stage.seen() == []
    stage.picture(71, keyframe=True, now=100.3)
    (again,) = stage.seen()
    assert again.sequence == first[1].sequence + 1
    assert again.picture_id == 2
    assert 0 < difference(again.timestamp, first[1].timestamp, 32) <= 0.25 * 90000


def test_pending_packets_leave_before_their_ssrc_is_replaced() -> None:
    stage = Stage()
    stage.aim()
    source = stage.producer.bind(stage.producer.streams[0], 1, 0.0)
    stage.push(0, 10, 0, vp8(b"old", keyframe=True), True, 0.0)
    stage.producer.bind(source, 2, 0.0)
    assert [one.payload[-3:] for one in stage.seen()] == [b"old"]


def test_late_joiners_get_what_followed_the_keyframe() -> None:
    stage = Stage(viewers=2)
    stage.fanout.aim(0, 0, 0.0)
    stage.picture(0, 3, keyframe=True)
    stage.picture(1, 2)
    assert not stage.fanout.aim(1, 0, 0.1)
    stage.picture(2)
    early, late = stage.seen(0), stage.seen(1)
    assert [one.payload for one in late] == [one.payload for one in early]
    assert np.ptp([difference(b.sequence, a.sequence) for a, b in zip(early, late, strict=True)]) == 0


def test_a_replay_of_many_pictures_leaves_at_once() -> None:
    stage = Stage(viewers=2)
    stage.outbox.mode = "gso"  # which pads
    stage.fanout.aim(0, 0, 0.0)
    for number in range(8, 48):  # their payloads grow by a byte on the way
        stage.picture(number, 1 + number % 3, keyframe=number == 8, now=number / 100)
    calls = stage.outbox.calls
    assert not stage.fanout.aim(1, 0, 0.48)
    assert stage.outbox.calls == calls + 1
    early, late = stage.seen(0), stage.seen(1)
    assert len(late) == len(early)
    for a, b in zip(early, late, strict=True):
        assert (b.payload, b.marker, b.padding) == (a.payload, a.marker, a.padding)
        assert difference(b.sequence, late[0].sequence) == difference(a.sequence, early[0].sequence)
        assert difference(b.timestamp, late[0].timestamp, 32) == difference(
            a.timestamp, early[0].timestamp, 32
        )
    found = stage.find(1, late[-2].sequence)
    assert found is not None
    stage.fanout.retransmit(1, late[-2].sequence, found, 0.5)
    (again,) = stage.seen(1)
    assert again.payload[2:] == late[-2].payload


@pytest.mark.parametrize("why", ["old", "lost", "long"])
def test_a_keyframe_that_cannot_be_replayed_is_asked_for(why: str) -> None:
    stage = Stage()
    stage.picture(0, 3, keyframe=True)
    if why == "lost":
        stage.sequence[0] += 1
    stage.picture(1, 300 if why == "long" else 1)
    assert stage.fanout.aim(0, 0, REPLAY_S + 1 if why == "old" else 0.1)
    assert stage.seen() == []
    assert stage.fanout.current[0] == NOWHERE


def test_nothing_is_replayed_of_a_publisher_that_has_paused() -> None:
    stage = Stage()
    for number in range(3):
        stage.picture(number, keyframe=number == 0)
    assert stage.fanout.aim(0, 0, 2 / 30 + SILENT_S + 0.1)
    assert stage.seen() == []


def test_h264_is_replayed_from_its_parameter_sets() -> None:
    stage = Stage(codec="H264")
    sps, idr = b"\x67\x42\xc0\x1f", b"\x65\x88\x80\x10"
    for sequence, payload, marker in [(1, b"\x09\xf0", False), (2, sps, False), (3, idr, True)]:
        stage.push(0, sequence, 0, payload, marker, 0.0)
    stage.producer.forward(0.0)
    stage.aim(0, 0.1)
    assert [one.payload for one in stage.seen()] == [sps, idr]
    assert stage.producer.streams[0].keyframe_count == 1
    waiting = stage.fanout.add(1, header(1))
    stage.fanout.aim(waiting, 0, 10.0)
    for sequence, payload, marker in [(4, b"\x09\xf0", False), (5, sps, False), (6, idr, True)]:
        stage.push(0, sequence, 9000, payload, marker, 10.0)
    stage.producer.forward(10.0)
    assert [one.payload for one in stage.seen(1)] == [sps, idr]


def test_a_retransmission_has_the_numbers_of_the_first_time() -> None:
    stage = Stage()
    stage.aim()
    for number in range(4):
        stage.picture(number, 2, keyframe=number == 0, temporal=number % 2)
        stage.fanout.limit_temporal(0, 0)
    seen = stage.seen()
    numbers: list[int] = []
    for turn, one in enumerate(seen):
        found = stage.find(0, one.sequence)
        assert found is not None
        stage.fanout.retransmit(0, one.sequence, found, 1.0)
        (again,) = stage.seen()
        assert (again.ssrc, again.payload_type, again.mid) == (2000, RTX_PAYLOAD_TYPE, "0")
        assert (again.timestamp, again.marker) == (one.timestamp, one.marker)
        assert again.payload == one.sequence.to_bytes(2, "big") + one.payload
        numbers.append(again.sequence - turn)
    assert len(set(numbers)) == 1
    assert stage.fanout.rtx_packets[0] == len(seen)
    assert stage.find(0, seen[-1].sequence + 1) is None
    assert stage.find(0, seen[0].sequence - 1) is None


def test_history_survives_a_splice_and_holds_a_thousand_packets() -> None:
    stage = Stage(("q", "f"))
    stage.aim(0)
    stage.picture(0, 2, stream=0, keyframe=True)
    stage.aim(1)
    stage.picture(1, 2, stream=1, keyframe=True)
    seen = stage.seen()
    found = [stage.find(0, one.sequence) for one in seen]
    assert [one[0].rid for one in found if one] == ["q", "q", "f", "f"]
    for number in range(2, HISTORY):
        stage.picture(number, stream=1)
    seen += stage.seen()
    known = [stage.find(0, one.sequence) is not None for one in seen]
    assert known == [False] * (len(seen) - HISTORY) + [True] * HISTORY


def test_the_place_of_a_lost_packet_holds_nothing_old() -> None:
    stage = Stage()
    stage.aim()
    for number in range(HISTORY):
        stage.picture(number, keyframe=number == 0)
    stage.sequence[0] += 3
    stage.picture(HISTORY)
    newest = stage.seen()[-1].sequence
    assert [stage.find(0, newest - back) is None for back in range(5)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_long_gap_is_closed_but_for_what_may_still_come() -> None:
    stage = Stage()
    stage.aim()
    stage.picture(0, keyframe=True)
    stage.sequence[0] += 2500
    stage.picture(1)
    first, second = stage.seen()
    assert difference(second.sequence, first.sequence) == LATE_HOLES + 1
    stage.push(0, stage.sequence[0] - 2, 1500, vp8(b"late"), True, 0.1)
    stage.producer.forward(0.1)
    assert stage.seen()[0].sequence == second.sequence - 1
    stage.push(0, stage.sequence[0] - LATE_HOLES - 3, 1500, vp8(b"too late"), True, 0.1)
    stage.producer.forward(0.1)
    assert stage.seen() == []
    assert len(stage.fanout._progress[0].holes) == LATE_HOLES - 1


def test_a_viewer_moves_to_another_producer_without_a_break() -> None:
    first, second = Stage(), Stage()
    first.aim()
    first.picture(0, 2, keyframe=True, now=50.0)
    continuation = first.fanout.remove(0)
    second.outbox.packets.clear()
    second.fanout.remove(0)
    row = second.fanout.add(7, header(0), continuation)
    second.fanout.aim(row, 0, 51.0)
    second.picture(900, keyframe=True, now=51.0)
    before, after = first.seen()[-1], second.seen(7)[0]
    assert after.sequence == before.sequence + 1
    assert after.picture_id == 1
    assert difference(after.timestamp, before.timestamp, 32) == 90000
    assert second.fanout.switches[row] == 1


def test_a_codec_without_picture_ids_in_between_keeps_them() -> None:
    video, other, back = Stage(), Stage(codec="H264"), Stage()
    video.aim()
    video.picture(41, keyframe=True, now=1.0)
    other.fanout.remove(0)
    row = other.fanout.add(0, header(0), video.fanout.remove(0))
    other.fanout.aim(row, 0, 2.0)
    other.push(0, 1, 0, b"\x67\x42\xc0\x1f", True, 2.0)
    other.producer.forward(2.0)
    back.fanout.remove(0)
    row = back.fanout.add(0, header(0), other.fanout.remove(row))
    back.fanout.aim(row, 0, 3.0)
    back.picture(7, keyframe=True, now=3.0)
    assert [one.picture_id for one in back.seen()] == [42]


def test_rows_are_reused_clean_and_columns_grow() -> None:
    stage = Stage(viewers=3)
    stage.aim()
    stage.picture(0, 2, keyframe=True)
    stage.sequence[0] += 1  # a hole that the former viewer of the row could still fill
    stage.picture(1)
    stage.fanout.remove(1)
    rows = [stage.fanout.add(10 + index, header(10 + index)) for index in range(30)]
    assert rows[0] == 1
    assert len(stage.fanout) == 32
    assert stage.fanout.packets[1] == 0
    for row in rows:
        assert stage.fanout.aim(row, 0, 0.1)
    stage.picture(2, keyframe=True)
    stage.outbox.packets.clear()
    stage.push(0, 1002, 1500, vp8(b"late"), True, 0.2)
    stage.producer.forward(0.2)
    assert sorted(stage.outbox.packets) == [0, 2]
    stage.picture(3, 2)
    assert len(stage.outbox.packets) == 32
    assert {one.ssrc for row in range(10, 40) for one in stage.seen(row)} == set(range(1010, 1040))


def test_a_paused_row_gets_nothing_and_goes_on_later() -> None:
    stage = Stage(viewers=2)
    stage.aim()
    stage.picture(0, keyframe=True)
    stage.fanout.pause(0)
    stage.picture(1)
    (before,) = stage.seen(0)
    assert stage.find(0, before.sequence) is not None
    assert stage.fanout.aim(0, 0, REPLAY_S + 1)
    stage.picture(100, keyframe=True)
    (after,) = stage.seen(0)
    assert after.sequence == before.sequence + 1
    assert [one.payload[-3:] for one in stage.seen(1)] == [b"0/0", b"1/0", b"0/0"]


def test_only_rows_without_anything_count_as_waiting() -> None:
    stage = Stage(("q", "f"), viewers=2)
    stage.fanout.aim(0, 0, 0.0)
    stage.picture(0, stream=0, keyframe=True)
    stage.aim(1)
    stage.picture(1, 3, stream=1)
    assert stage.fanout.dropped_waiting[:2].tolist() == [0, 3]


def test_what_is_lost_at_the_socket_is_counted() -> None:
    stage = Stage(viewers=3)
    stage.aim()
    stage.outbox.full = {1}
    stage.picture(0, 4, keyframe=True)
    assert stage.fanout.dropped_socket_full[:3].tolist() == [0, 4, 0]
    assert stage.fanout.packets[:3].tolist() == [4, 4, 4]


def test_one_byte_of_padding_makes_a_picture_one_run() -> None:
    stage = Stage()
    stage.outbox.mode = "gso"
    stage.aim()
    bodies = [b"x" * 500, b"y" * 504, b"z" * 505, b"w" * 20]
    for index, body in enumerate(bodies):
        stage.push(0, index, 0, vp8(body, keyframe=True, start=index == 0), index == 3, 0.0)
    stage.producer.forward(0.0)
    seen = stage.seen()
    lengths = [len(one.payload) for one in seen]
    assert [one.padding for one in seen] == [int(length == max(lengths) - 1) for length in lengths]
    assert [one.payload[-5:] for one in seen] == [body[-5:] for body in bodies]
    assert stage.outbox.calls == 1


def test_more_viewers_than_the_arena_holds_take_several_batches() -> None:
    stage = Stage(viewers=150)
    stage.aim()
    stage.picture(0, 4, keyframe=True)
    for viewer in range(150):
        assert [one.payload[-3:] for one in stage.seen(viewer)] == [b"0/0", b"0/1", b"0/2", b"0/3"]


@pytest.mark.parametrize("time_id", [None, TIME_ID, 14])
@pytest.mark.parametrize("mid_id", [None, MID_ID, 14])
def test_headers_carry_what_was_negotiated(time_id: int | None, mid_id: int | None) -> None:
    if mid_id == time_id == 14:
        return
    outbox = Outbox()
    packets: list[bytes] = []

    def send(clients: Clients, lengths: Sequence[int], rtcp: bool = False) -> Lost:
        packets.append(outbox.arena[0, : lengths[0]].tobytes())
        return {}

    outbox.send = send  # type: ignore[method-assign]
    track = producer(outbox)
    track.fanout.add(0, Header(101, 77, None, 0, b"ab", mid_id, time_id))
    track.fanout.aim(0, 0, 0.0)
    track.pending.append(
        (track.streams[0], feed(track.streams[0], 0.0, 5, 9, vp8(b"x", keyframe=True), True))
    )
    track.forward(12.5)
    (packet,) = packets
    parsed = parse_rtp(packet, len(packet))
    assert (parsed.payload_type, parsed.ssrc, parsed.marker) == (101, 77, True)
    values = dict(elements(packet))
    assert values.get(mid_id or 0) == (b"ab" if mid_id else None)
    if time_id:
        assert int.from_bytes(values[time_id], "big") == abs_send_time(12.5)


def elements(packet: bytes) -> list[tuple[int, bytes]]:
    parsed = parse_rtp(packet, len(packet))
    where = parsed.extension_start, parsed.extension_length, parsed.extension_profile
    return [(number, packet[start : start + size]) for number, start, size in iter_extensions(packet, *where)]


def test_audio_joins_at_the_next_packet() -> None:
    stage = Stage(codec="opus")
    assert stage.fanout.aim(0, 0, 0.0)
    for number in range(3):
        stage.push(0, number, number * 960, b"opus%d" % number, False, number * 0.02)
        stage.producer.forward(number * 0.02)
    assert [one.payload for one in stage.seen()] == [b"opus0", b"opus1", b"opus2"]
