"""Inputs: real packets become the newest picture, and what cannot be decoded asks for a keyframe."""

from __future__ import annotations

import numpy as np
import pytest

from mixing_rig import Camera, Microphone, luma, strength
from rtclab.mixing.inputs import FROZEN_S, INBOX_PACKETS, PictureInput, SoundInput, mixable
from rtclab.rtp.assembly import Fragment


class Asked(list[object]):
    """Remembers what was asked for."""

    def __call__(self, stream: object) -> None:
        self.append(stream)


def level(source: PictureInput) -> float:
    assert source.picture is not None
    return float(luma(source.picture).mean())


def shown(source: PictureInput) -> object:
    return source.shown


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_pictures_arrive_without_waiting_for_the_next_one(codec: str) -> None:
    source, camera = PictureInput(codec, False, Asked()), Camera(codec=codec)
    source.want("s")
    for number, brightness in enumerate((50, 100, 150, 200)):
        source.push("s", camera.shoot(brightness))
        source.decode(number / 30)
        assert source.version == number + 1
        assert abs(level(source) - brightness) < 6
    assert source.shown == "s"
    assert source.decoded == 4
    assert source.broken == 0


def test_a_picture_that_does_not_change_is_frozen_after_a_second() -> None:
    source, camera = PictureInput("VP8", False, Asked()), Camera()
    screen = PictureInput("VP8", True, Asked())
    assert not source.frozen(100.0)  # nothing there is not frozen
    for each in (source, screen):
        each.want("s")
        each.push("s", Camera().shoot(90))
        each.decode(5.0)
    assert not source.frozen(5.0 + FROZEN_S * 0.9)
    assert source.frozen(5.0 + FROZEN_S * 1.1)
    assert not screen.frozen(5.0 + FROZEN_S * 1.1)
    camera.shoot(10)
    source.push("s", camera.shoot(90, keyframe=True))
    source.decode(7.0)
    assert not source.frozen(7.1)


def test_a_broken_frame_is_not_shown_and_asks_for_a_keyframe() -> None:
    asked = Asked()
    source, camera = PictureInput("VP8", False, asked), Camera()
    source.want("s")
    source.push("s", camera.shoot(50))
    source.decode(0.0)
    (spoilt,) = camera.shoot(60)
    spoilt.payload = spoilt.payload[:4] + b"\xff"  # ends within its header
    source.push("s", [spoilt])
    source.decode(1.0)
    assert source.broken == 1
    assert asked == ["s"]
    source.push("s", camera.shoot(70))
    source.decode(1.2)
    assert abs(level(source) - 50) < 6  # needs what was broken
    assert asked == ["s"]  # asked just now
    source.decode(1.8)
    assert asked == ["s", "s"]
    source.push("s", camera.shoot(80, keyframe=True))
    source.decode(2.0)
    assert abs(level(source) - 80) < 6


def test_a_header_that_claims_a_huge_picture_takes_no_memory() -> None:
    source, camera = PictureInput("VP8", False, Asked()), Camera()
    source.want("s")
    (huge,) = camera.shoot(50)
    at = huge.payload.index(b"\x9d\x01\x2a") + 3
    huge.payload = huge.payload[:at] + b"\x00\x20\x00\x20" + huge.payload[at + 4 :]
    source.push("s", [huge])
    source.decode(0.0)
    assert source.broken == 1
    assert source.picture is None
    source.push("s", camera.shoot(60, keyframe=True))
    source.decode(1.0)
    assert abs(level(source) - 60) < 6


def test_a_loss_asks_for_a_keyframe_only_when_it_stays() -> None:
    asked = Asked()
    source, camera = PictureInput("VP8", False, asked), Camera()
    source.want("s")
    source.push("s", camera.shoot(50))
    source.decode(0.0)
    missing = camera.shoot(60)
    source.push("s", camera.shoot(70))
    source.decode(0.1)
    source.push("s", missing)
    source.decode(0.2)
    assert abs(level(source) - 70) < 6
    assert asked == []
    camera.shoot(80)
    source.push("s", camera.shoot(90))
    for now in (1.0, 1.5):
        source.decode(now)
    assert asked == ["s"]
    assert source.broken == 0


def test_another_layer_takes_over_with_its_first_picture() -> None:
    asked = Asked()
    source = PictureInput("VP8", False, asked)
    low, high = Camera(160, 90), Camera(320, 180)
    source.want("low")
    source.push("low", low.shoot(50))
    source.push("high", high.shoot(200))  # nobody wants it
    source.decode(0.0)
    assert shown(source) == "low"
    source.want("high")
    source.push("low", low.shoot(60))
    source.push("high", high.shoot(210))  # no keyframe
    source.decode(1.0)
    assert asked == ["high"]
    assert abs(level(source) - 60) < 6
    source.push("high", high.shoot(220, keyframe=True))
    source.push("low", low.shoot(70))
    source.decode(2.0)
    assert shown(source) == "high"
    assert source.picture is not None
    assert source.picture.width == 320
    assert abs(level(source) - 220) < 6
    source.push("low", low.shoot(80))
    source.decode(3.0)
    assert abs(level(source) - 220) < 6


def test_a_full_inbox_refuses_and_counts() -> None:
    source, sound = PictureInput("VP8", False, Asked()), SoundInput()
    many = [Fragment(n, 0, False, False, b"x") for n in range(INBOX_PACKETS + 1)]
    source.push("s", many)
    sound.push(many)
    assert (source.overflows, sound.overflows) == (len(many), len(many))
    source.decode(0.0)
    assert source.picture is None
    assert sound.decode() == []


def test_what_can_be_mixed() -> None:
    assert mixable("video", "VP8")
    assert mixable("video", "H264")
    assert mixable("audio", "opus")
    assert not mixable("video", "VP9")
    assert not mixable("video", "AV1")
    assert not mixable("audio", "PCMU")


def test_sound_is_decoded_in_order_and_garbage_is_counted() -> None:
    source, microphone = SoundInput(), Microphone(1000)
    packets = [microphone.speak() for _ in range(25)]
    packets[10], packets[11] = packets[11], packets[10]
    source.push(packets)
    sounds = source.decode()
    assert [timestamp for timestamp, _ in sounds] == [n * 960 for n in range(25)]
    samples = np.concatenate([samples for _, samples in sounds])
    assert samples.shape == (25 * 960, 2)
    assert strength(samples[9600:], 1000) > -20
    assert strength(samples[9600:], 1400) < -60
    source.push([Fragment(1, 0, False, True, b"\xff" * 40), Fragment(2, 0, False, False, b"")])
    source.decode()
    assert source.broken == 1
    source.push([microphone.speak()])
    assert len(source.decode()) == 1
