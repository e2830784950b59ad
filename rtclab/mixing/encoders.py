"""What goes out: one picture becomes VP8 packets (RFC 7741), 20 ms of sound become an Opus packet (RFC 7587).

libvpx runs in its real-time mode at a constant bitrate, without a look-ahead and without a thread of its own;
measured on 1280x720: 5 ms a frame at speed 8, twice that at speed 4 for half a decibel.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from ..rtp.frames import packetize

VIDEO_CLOCK, AUDIO_CLOCK = 90_000, 48_000
BLOCK = 960  # samples of 20 ms
OPUS_BITRATE = 64_000


class PictureEncoder:
    """VP8 at a constant bitrate.

    Parameters
    ----------
    width, height : int
        In pixels.
    fps : int
        Frames per second.
    bitrate : int
        In bits per second.
    """

    def __init__(self, width: int, height: int, fps: int, bitrate: int) -> None:
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, VideoCodecContext)
        codec.width, codec.height = width, height
        codec.pix_fmt = "yuv420p"
        codec.framerate = Fraction(fps)
        codec.time_base = Fraction(1, fps)
        codec.bit_rate = bitrate
        codec.gop_size = 1_000_000  # keyframes only when somebody needs one
        codec.qmin, codec.qmax = 2, 56
        codec.thread_count = 1
        codec.options = {
            "deadline": "realtime",
            "cpu-used": "-8",
            "lag-in-frames": "0",
            "minrate": str(bitrate),
            "maxrate": str(bitrate),
            "bufsize": str(bitrate),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "static-thresh": "1",
        }
        self._codec = codec
        self._picture_id = 0

    def encode(self, frame: av.VideoFrame, number: int, keyframe: bool = False) -> list[bytes]:
        """The payloads of one frame.

        Parameters
        ----------
        frame : av.VideoFrame
            ``yuv420p`` of the encoder's size; only its time and type are changed.
        number : int
            Frames since the first one, those left out counted too.
        keyframe : bool
            Whether it must be decodable alone.
        """
        frame.pts = number
        frame.time_base = self._codec.time_base
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        data = b"".join(bytes(packet) for packet in self._codec.encode(frame))
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        return packetize("VP8", data, self._picture_id) if data else []


class SoundEncoder:
    """Opus in stereo, 20 ms a packet."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, AudioCodecContext)
        codec.format = "s16"
        codec.layout = "stereo"
        codec.sample_rate = AUDIO_CLOCK
        codec.time_base = Fraction(1, AUDIO_CLOCK)
        codec.bit_rate = OPUS_BITRATE
        # half of the highest effort: 0.15 ms a packet instead of 0.25, for each listener
        codec.options = {"application": "audio", "compression_level": "5"}
        self._codec = codec
        self._samples = 0

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """The packet of one block: (960, 2) int16."""
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = AUDIO_CLOCK
        frame.pts = self._samples
        frame.time_base = self._codec.time_base
        self._samples += BLOCK
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))
