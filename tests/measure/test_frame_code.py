"""Frame codes: what is drawn is read, through codecs and scaling, and nothing else is."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rtclab.measure import FrameCode, draw_frame_code, read_frame_code
from rtclab.measure.frame_code import BLACK, WHITE, cell_levels, crc16

SIZES = [
    (640, 360),
    (1280, 720),
    (320, 180),
    (160, 90),
    (480, 270),
    (642, 362),
    (176, 144),
    (1080, 1920),
    (333, 251),
]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_drawn_is_read(width, height, shape):
    noise = np.random.default_rng(1)
    for frame, stream in [(0, 0), (0xFFFF, 255), (0xAAAA, 0x55), (4660, 7)]:
        picture = noise.integers(0, 256, (height, width, *shape), np.uint8)
        draw_frame_code(picture, frame, stream)
        assert read_frame_code(picture) == FrameCode(frame, stream)


@given(st.integers(0, 1 << 20), st.integers(0, 255), st.integers(160, 700), st.integers(0, 400))
def test_any_size_and_number(frame, stream, width, more):
    picture = np.full((width * 9 // 16 + more, width), 128, np.uint8)
    draw_frame_code(picture, frame, stream)
    assert read_frame_code(picture) == FrameCode(frame & 0xFFFF, stream)


def test_geometry_is_the_documented_one():
    picture = np.full((360, 640, 3), 100, np.uint8)
    draw_frame_code(picture, 0x8001, 0x80)
    assert crc16(b"123456789") == 0x29B1
    strip = picture[240:336, 64:576]
    assert np.array_equal(strip[::32, ::32, 0], cell_levels(0x8001, 0x80))
    border = picture[224:352, 48:592]
    for edge in (border[:16], border[-16:], border[:, :16], border[:, -16:]):
        assert (edge == BLACK).all()
    outside = picture.copy()
    outside[224:352, 48:592] = 100
    assert (outside == 100).all()
    cells = strip[16::32, 16::32, 0]
    assert [int(cells[at]) for at in [(0, 0), (1, 7), (1, 15), (2, 0)]] == [WHITE] * 4
    assert [int(cells[at]) for at in [(0, 15), (1, 0), (1, 8), (2, 15)]] == [BLACK] * 4
    assert [int(v) for v in cells[0, 1:15]] == [WHITE] + [BLACK] * 13  # the first 14 bits of 0x8001
    assert [int(v) for v in cells[1, 1:7]] == [
        BLACK,
        WHITE,
        WHITE,
        BLACK,
        BLACK,
        BLACK,
    ]  # its last two, then 0x80


@settings(max_examples=100)
@given(hnp.arrays(np.uint8, (90, 160), elements=st.integers(0, 255), fill=st.integers(0, 255)))
def test_garbage_is_refused(picture):
    assert read_frame_code(picture) is None


def test_noise_and_mirrors_are_refused():
    noise = np.random.default_rng(2)
    for _ in range(200):  # random cells of full contrast: only pilots and CRC stand in the way
        cells = noise.choice(np.array([BLACK, WHITE], np.uint8), (3, 16))
        picture = np.full((90, 160), BLACK, np.uint8)
        picture[60:84, 16:144] = np.kron(cells, np.ones((8, 8), np.uint8))
        assert read_frame_code(picture) is None
    picture = np.zeros((360, 640), np.uint8)
    draw_frame_code(picture, 1234, 5)
    for other in (picture[:, ::-1], picture[::-1], 255 - picture, picture[:320], picture[:, :600]):
        assert read_frame_code(other) is None


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 47), st.integers(0, 47))
def test_one_or_two_wrong_cells_are_refused(frame, stream, first, second):
    cells = cell_levels(frame, stream).ravel()
    for at in {first, second}:
        cells[at] = WHITE if cells[at] == BLACK else BLACK
    picture = np.full((90, 160), BLACK, np.uint8)
    picture[60:84, 16:144] = np.kron(cells.reshape(3, 16), np.ones((8, 8), np.uint8))
    assert read_frame_code(picture) is None


def test_a_grey_cell_is_refused():
    picture = np.zeros((360, 640), np.uint8)
    draw_frame_code(picture, 1, 1)
    picture[240:272, 96:128] = 128
    assert read_frame_code(picture) is None


def test_low_contrast_and_bright_pictures_are_read():
    picture = np.zeros((360, 640), np.uint8)
    draw_frame_code(picture, 77, 3)
    assert read_frame_code((picture * 0.4 + 140).astype(np.uint8)) == FrameCode(77, 3)
    assert read_frame_code((picture * 0.1).astype(np.uint8)) is None


@pytest.mark.parametrize(
    "bad", [np.zeros((90, 160), np.float32), np.zeros((90, 160, 4), np.uint8), np.zeros(9, np.uint8)]
)
def test_not_a_picture(bad):
    with pytest.raises(ValueError, match="a picture is uint8"):
        read_frame_code(bad)


def test_no_room():
    with pytest.raises(ValueError, match="no room"):
        draw_frame_code(np.zeros((90, 120), np.uint8), 0, 0)
    with pytest.raises(ValueError, match="no room"):
        draw_frame_code(np.zeros((40, 640), np.uint8), 0, 0)
    with pytest.raises(ValueError, match="stream"):
        draw_frame_code(np.zeros((90, 160), np.uint8), 0, 256)
    assert read_frame_code(np.zeros((30, 60), np.uint8)) is None
    assert read_frame_code(np.zeros((0, 160, 3), np.uint8)) is None


ENCODERS = {
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "9999"},
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "g": "9999"},
}


def scene(width: int, height: int, frame: int) -> np.ndarray:
    """A textured picture that scrolls, with noise: hard to encode."""
    y, x = np.mgrid[0:height, 0:width]
    waves = 128 + 60 * np.sin((x + 5 * frame) / 9) * np.cos(y / 7)
    noise = np.random.default_rng(frame).normal(0, 12, (height, width))
    return np.clip(np.stack([waves + noise, waves * 0.8, 255 - waves], axis=2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize(
    ("width", "height", "bitrate_bps"), [(640, 360, 250_000), (320, 180, 100_000), (160, 90, 60_000)]
)
def test_survives_encoding_at_each_layer(codec, width, height, bitrate_bps):
    """Drawn at 640x360, scaled to the layer, encoded at a starving bitrate, decoded, read."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(30), Fraction(1, 30)
    encoder.bit_rate = bitrate_bps
    encoder.options = {**ENCODERS[codec], "maxrate": str(bitrate_bps), "bufsize": str(bitrate_bps)}
    decoder = av.CodecContext.create("vp8" if codec == "libvpx" else "h264", "r")
    sent = [(1000 * n + 7, n) for n in range(16)]
    seen = []
    for n, (frame, stream) in enumerate(sent):
        picture = scene(640, 360, n)
        draw_frame_code(picture, frame, stream)
        video = av.VideoFrame.from_ndarray(picture).reformat(width, height, "yuv420p")
        video.pts, video.time_base = n, Fraction(1, 30)
        seen += [decoded for packet in encoder.encode(video) for decoded in decoder.decode(packet)]
    seen += decoder.decode(None)
    codes = [read_frame_code(video.to_ndarray(format="rgb24")) for video in seen]
    luma = [
        read_frame_code(np.frombuffer(v.planes[0], np.uint8).reshape(height, -1)[:, :width]) for v in seen
    ]
    assert codes == luma == [FrameCode(*pair) for pair in sent]
