"""What the tests of the mixer share: pictures and sound as packets, and packets as pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import vp8_depayload
from numpy.typing import NDArray

from rtclab.mixing.encoders import PictureEncoder, SoundEncoder
from rtclab.rtp.assembly import Fragment


def picture(width: int, height: int, luma: int, blue: int = 128, red: int = 128) -> av.VideoFrame:
    """A picture of one colour."""
    planes = [
        np.full((height, width), luma, np.uint8),
        np.full((height // 2, width // 2), blue, np.uint8),
        np.full((height // 2, width // 2), red, np.uint8),
    ]
    return av.VideoFrame.from_ndarray(
        np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width), "yuv420p"
    )


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma plane of a picture."""
    lines = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)
    return lines[: frame.height, : frame.width]


class Camera:
    """Encodes pictures and numbers their packets, as one stream does."""

    def __init__(self, width: int = 160, height: int = 90, codec: str = "VP8") -> None:
        self.size = width, height
        self.codec = codec
        self.sequence = 1000
        self.frames = 0
        self._vp8 = PictureEncoder(width, height, 30, 300_000)
        self._h264 = H264Encoder()

    def shoot(self, level: int, keyframe: bool = False) -> list[Fragment]:
        """The packets of one picture of this luma."""
        frame = picture(*self.size, level)
        keyframe = keyframe or self.frames == 0
        if self.codec == "VP8":
            payloads = self._vp8.encode(frame, self.frames, keyframe)
        else:
            frame.pts, frame.time_base = self.frames * 3000, Fraction(1, 90_000)
            payloads, _ = self._h264.encode(frame, keyframe)
        self.frames += 1
        self.sequence += len(payloads)
        first = self.sequence - len(payloads)
        return [
            Fragment(
                first + place,
                self.frames * 3000,
                place == len(payloads) - 1,
                keyframe and place == 0,
                payload,
            )
            for place, payload in enumerate(payloads)
        ]


def decode_vp8(frames: Iterable[Sequence[bytes]]) -> list[av.VideoFrame]:
    """The pictures in the payloads of frames."""
    decoder = av.CodecContext.create("libvpx", "r")
    pictures: list[av.VideoFrame] = []
    for payloads in frames:
        pictures += decoder.decode(av.Packet(b"".join(vp8_depayload(payload) for payload in payloads)))
    return pictures


def tone(hertz: float, samples: int, start: int = 0, level: float = 6000.0) -> NDArray[np.int16]:
    """A sine as (samples, 2) int16 at 48 kHz."""
    at = np.arange(start, start + samples)
    wave = np.rint(level * np.sin(2 * math.pi * hertz * at / 48_000)).astype(np.int16)
    return np.repeat(wave[:, None], 2, axis=1)


class Microphone:
    """Encodes a tone as Opus packets of 20 ms."""

    def __init__(self, hertz: float, level: float = 6000.0) -> None:
        self.hertz, self.level = hertz, level
        self.packets = 0
        self._encoder = SoundEncoder()

    def speak(self) -> Fragment:
        """The next packet."""
        start = self.packets * 960
        payload = self._encoder.encode(tone(self.hertz, 960, start, self.level))
        self.packets += 1
        return Fragment(500 + self.packets, start & 0xFFFFFFFF, False, True, payload)


def decode_opus(payloads: Iterable[bytes]) -> NDArray[np.int16]:
    """The sound in Opus packets, (samples, 2) int16."""
    decoder = av.CodecContext.create("libopus", "r")
    decoder.format = "s16"
    decoder.layout = "stereo"
    decoder.sample_rate = 48_000
    blocks = [
        frame.to_ndarray().reshape(-1, 2)
        for payload in payloads
        for frame in decoder.decode(av.Packet(payload))
    ]
    return np.concatenate(blocks).astype(np.int16)


def strength(samples: NDArray[np.int16], hertz: float) -> float:
    """The level of one frequency in dB relative to full scale; the mixer, following a clock, may shift it."""
    mono = samples[:, 0].astype(float) / 32768
    window = np.hanning(len(mono))
    lines = np.abs(np.fft.rfft(mono * window)) * 2 / window.sum()
    near = np.abs(np.fft.rfftfreq(len(mono), 1 / 48_000) - hertz) <= max(hertz / 100, 48_000 / len(mono))
    return 20 * math.log10(lines[near].max() + 1e-9)
