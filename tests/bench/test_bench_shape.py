"""Packets of the load: shaped as a browser's, and stamped so that the other end can read it."""

from __future__ import annotations

from rtclab.bench import shape
from rtclab.rtp.packet import build_rtp, parse_rtp
from rtclab.rtp.payload import describer

FILLER = bytes(range(256)) * 5


def test_a_picture_is_vp8_with_a_long_picture_id() -> None:
    describe = describer("VP8")
    for picture, keyframe in ((7, True), (40000, False)):
        payloads = shape.vp8_picture(picture, keyframe, 4, FILLER)
        infos = [describe(bytes(payload)) for payload in payloads]
        assert [info.start for info in infos] == [True, False, False, False]
        assert infos[0].keyframe is keyframe
        assert {info.picture_id for info in infos} == {picture & 0x7FFF}
        assert {info.picture_id_bits for info in infos} == {15}
        assert {info.tl0 for info in infos} == {picture & 0xFF}
        if keyframe:
            assert (infos[0].width, infos[0].height) == (shape.WIDTH, shape.HEIGHT)


def test_sizes_are_within_a_byte_and_the_larger_come_last() -> None:
    lengths = [len(payload) for payload in shape.vp8_picture(1, False, 5, FILLER)]
    assert lengths == sorted(lengths)
    assert lengths[-1] == shape.PACKET
    assert lengths[-1] - lengths[0] == 1
    assert [len(payload) for payload in shape.vp8_picture(1, False, 1, FILLER)] == [shape.PACKET]


def test_a_stamp_is_read_back_from_a_packet() -> None:
    payload = shape.vp8_picture(1, True, 1, FILLER)[0]
    shape.stamp(payload, 1_700_000_000_123_456_789, 42)
    packet = build_rtp(payload_type=96, sequence=1, timestamp=2, ssrc=3, payload=bytes(payload))
    assert parse_rtp(packet, len(packet)).payload_length == shape.PACKET
    assert shape.read_stamp(packet) == shape.Stamp(1_700_000_000_123_456_789, 42)


def test_what_has_no_stamp_is_not_misread() -> None:
    assert shape.read_stamp(b"") is None
    assert shape.read_stamp(bytes(40)) is None
    assert shape.read_stamp(b"\x90" + bytes(15)) is None
    assert shape.read_stamp(b"\x90" + b"\xff" * 60) is None


def test_a_clip_can_be_decoded() -> None:
    import av

    frames = shape.clip(5, 2)
    assert len(frames) == 5 * shape.KEYFRAME_S
    describe = describer("VP8")
    first = describe(frames[0][0])
    assert first.keyframe
    assert first.picture_id_bits == 15
    decoder = av.CodecContext.create("vp8", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = []
    for payloads in frames:
        data = b"".join(payload[6:] for payload in payloads)
        pictures += decoder.decode(av.Packet(data))
    assert len(pictures) >= len(frames) - 1
    assert (pictures[0].width, pictures[0].height) == (shape.WIDTH, shape.HEIGHT)
