"""What leaves the mixer: payloads of one size, pictures and sound that any decoder understands."""

from __future__ import annotations

import numpy as np

from mixing_rig import decode_opus, decode_vp8, luma, picture, strength, tone
from rtclab.mixing.encoders import PictureEncoder, SoundEncoder
from rtclab.rtp.payload import describer


def test_pictures_can_be_decoded_and_keyframes_come_when_asked() -> None:
    encoder = PictureEncoder(320, 180, 30, 500_000)
    levels = [40, 80, 120, 160, 200]
    frames = [
        encoder.encode(picture(320, 180, level), number, number in (0, 3))
        for number, level in enumerate(levels)
    ]
    infos = [describer("VP8")(frame[0]) for frame in frames]
    assert [info.keyframe for info in infos] == [True, False, False, True, False]
    assert (infos[0].width, infos[0].height) == (320, 180)
    first = infos[0].picture_id
    assert first is not None
    assert [info.picture_id for info in infos] == [first + n for n in range(5)]
    got = [float(luma(frame).mean()) for frame in decode_vp8(frames)]
    assert np.allclose(got, levels, atol=5)
    assert [float(luma(frame).mean()) for frame in decode_vp8(frames[3:])] == got[3:]


def test_the_bitrate_is_kept_on_hard_pictures_even_if_frames_are_left_out() -> None:
    generator = np.random.default_rng(3)
    encoder = PictureEncoder(320, 180, 30, 400_000)
    canvas = picture(320, 180, 128)
    octets = 0
    for number in range(0, 300, 2):  # every other tick was missed: 15 frames a second
        coarse = generator.integers(60, 200, (18, 32))
        luma(canvas)[:] = coarse.repeat(10, axis=0).repeat(10, axis=1)
        octets += sum(map(len, encoder.encode(canvas, number)))
    assert 0.6 < octets * 8 / 10 / 400_000 < 1.4


def test_sound_survives() -> None:
    encoder = SoundEncoder()
    samples = tone(440, 960 * 50)
    packets = [encoder.encode(samples[start : start + 960]) for start in range(0, len(samples), 960)]
    assert all(packets)
    got = decode_opus(packets)
    assert got.shape == samples.shape
    assert abs(strength(got[24000:], 440) - strength(samples[24000:], 440)) < 1
