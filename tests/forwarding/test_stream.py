"""One incoming stream: what it accepts, what it asks for again, and what it knows of its keyframes."""

from __future__ import annotations

import pytest

from forwarding_rig import feed, rtp, vp8
from rtclab.forwarding.store import PAYLOAD_LIMIT
from rtclab.forwarding.stream import ALIVE_S, AUDIO_PACKETS, Stream
from rtclab.rtp.drops import Drop
from rtclab.rtp.payload import describer


def stream(codec: str = "VP8") -> Stream:
    return Stream(0, None, codec, 90000, "audio" if codec == "opus" else "video")


def test_a_gap_is_asked_for_once_at_once() -> None:
    source = stream()
    feed(source, 0.0, 65534, 0, vp8(b"a", keyframe=True), True)
    stored, missing = source.receive(*rtp(1, 3000, vp8(b"b")), 0.1)
    assert stored is not None
    assert missing == (65535, 0)
    assert source.receive(*rtp(2, 3000, vp8(b"c")), 0.1)[1] == ()


def test_duplicates_are_counted_and_dropped() -> None:
    source = stream()
    for _ in range(3):
        source.receive(*rtp(5, 0, vp8(b"a", keyframe=True)), 0.0)
    assert source.drops == {Drop.DUPLICATE: 2}
    assert source.packets == 1


def test_a_retransmission_lands_where_the_packet_was_missing() -> None:
    source = stream()
    feed(source, 0.0, 65534, 0, vp8(b"a", keyframe=True), True)
    feed(source, 0.0, 1, 3000, vp8(b"c"), True)
    packet, payload = rtp(700, 1500, vp8(b"b"))
    stored, _ = source.receive(packet, payload, 0.1, recovered_sequence=65535)
    assert stored is not None
    assert stored.sequence == source.store.newest - 2
    assert source.recovered == 1
    assert source.reception.received == 2
    assert source.nack.due(1.0) == (0,)
    assert source.receive(packet, payload, 0.2, recovered_sequence=65535)[0] is None


@pytest.mark.parametrize("number", [500, 32000, 40000])
def test_a_retransmission_of_nothing_that_was_sent_is_refused(number: int) -> None:
    source = stream()
    packet, payload = rtp(1, 0, vp8(b"b"))
    assert source.receive(packet, payload, 0.0, recovered_sequence=1)[0] is None
    feed(source, 0.0, 1, 0, vp8(b"a", keyframe=True), True)
    assert source.receive(packet, payload, 0.0, recovered_sequence=number)[0] is None
    assert source.drops[Drop.TOO_OLD] == 2
    assert source.store.newest == source.reception.highest


def test_a_jump_begins_anew() -> None:
    source = stream()
    feed(source, 0.0, 100, 0, vp8(b"a", keyframe=True), True)
    feed(source, 0.0, 103, 0, vp8(b"b"), True)
    assert source.receive(*rtp(20000, 5, vp8(b"c")), 0.1) == (None, ())
    stored, missing = source.receive(*rtp(20001, 5, vp8(b"d")), 0.1)
    assert stored is not None
    assert missing == ()
    assert source.keyframe_sequence is None
    assert source.nack.due(5.0) == ()


def test_short_picture_ids_become_long_ones() -> None:
    source = stream()
    stored = feed(source, 0.0, 1, 0, bytes([0x90, 0xE0, 0x25, 7, 0x40, 1, 2, 3]), True)
    payload = source.store.data[stored.slot, : stored.length].tobytes()
    assert payload == bytes([0x90, 0xE0, 0x80, 0x25, 7, 0x40, 1, 2, 3])
    assert (stored.info.picture_id, stored.info.tl0, stored.info.tl0_at) == (0x25, 7, 4)


def test_a_payload_that_does_not_fit_with_its_longer_picture_id_is_refused() -> None:
    source = stream()
    fits = bytes([0x90, 0xE0, 0x25, 7, 0x40]) + bytes(PAYLOAD_LIMIT - 6)
    assert source.receive(*rtp(1, 0, fits), 0.0)[0] is not None
    assert source.receive(*rtp(2, 0, fits + b"x"), 0.0)[0] is None
    assert source.receive(*rtp(3, 0, vp8(bytes(PAYLOAD_LIMIT))), 0.0)[0] is None
    assert source.drops == {Drop.TOO_LONG: 2}


def test_malformed_payloads_are_counted() -> None:
    source = stream()
    assert source.receive(*rtp(1, 0, b"\x90\x80"), 0.0)[0] is None
    assert source.drops == {Drop.BAD_PAYLOAD: 1}


def test_padding_takes_a_number_and_nothing_else() -> None:
    source = stream()
    feed(source, 0.0, 1, 0, vp8(b"a", keyframe=True), True)
    padding = feed(source, 5.0, 2, 0, b"", False)
    assert (padding.length, padding.info.keyframe) == (0, False)
    assert source.last_arrival == 0.0
    assert not source.alive(ALIVE_S)
    assert source.alive(ALIVE_S - 0.01)


def test_only_vp8_says_which_temporal_layer_may_go() -> None:
    vp9 = bytes([0xA0, 0x80, 0x05, 0x40, 7, 1, 2])
    info = describer("VP9")(vp9)
    assert (info.picture_id, info.temporal_id) == (5, 2)
    source = stream("VP9")
    stored = feed(source, 0.0, 1, 0, vp9, True)
    assert (stored.info.picture_id, stored.info.tl0, stored.info.temporal_id) == (None, None, 0)
    assert source.highest_temporal == 0


def test_keyframes_frames_and_sizes_are_noted() -> None:
    source = stream()
    feed(source, 1.0, 1, 0, vp8(b"a", keyframe=True, size=(320, 180)), False)
    feed(source, 1.0, 2, 0, vp8(b"a", start=False), True)
    source.sample(1.0)
    for number in range(1, 16):
        feed(source, 1.0 + number / 15, 2 + number, number * 6000, vp8(b"x" * 119, temporal_id=1), True)
    source.sample(2.0)
    assert (source.width, source.height, source.highest_temporal) == (320, 180, 1)
    assert (source.keyframe_count, source.keyframe_arrival) == (1, 1.0)
    assert (source.fps, source.bitrate_bps) == (15, 15 * 128 * 8)
    known = source.keyframe_sequence
    assert known is not None
    assert source.store.get(known) is not None


def test_audio_is_neither_asked_for_again_nor_a_keyframe() -> None:
    source = stream("opus")
    feed(source, 0.0, 1, 0, b"a", False)
    assert source.receive(*rtp(5, 960, b"b"), 0.1)[1] == ()
    assert source.keyframe_sequence is None
    for number in range(6, 3 * AUDIO_PACKETS):
        feed(source, 0.1, number, number * 960, b"c", False)
    assert len(source.store.since(0)) == AUDIO_PACKETS
