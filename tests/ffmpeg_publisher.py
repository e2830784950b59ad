"""FFmpeg's own WHIP muxer, which sends a numbered pattern and a tone in real time: run as a program.

    python ffmpeg_publisher.py URL TOKEN CERTIFICATE KEY     until its standard input ends

It has a process of its own, because FFmpeg waits for its HTTP requests without letting Python go on.
"""

from __future__ import annotations

import sys
import threading

import av
import numpy as np

import rtclab

FPS = 30
RATE = 48_000


def main() -> None:
    """Publish."""
    url, token, certificate, key = sys.argv[1:]
    stopped = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    pattern = rtclab.TestPattern(320, 180, fps=FPS)
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(RATE // FPS) / RATE)).astype(np.int16)
    options = {"authorization": token, "cert_file": certificate, "key_file": key}
    with av.open(url, "w", format="whip", options=options) as output:
        video = output.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.options = {"profile": "baseline", "preset": "ultrafast", "tune": "zerolatency"}
        video.gop_size, video.max_b_frames = FPS // 2, 0
        audio = output.add_stream("libopus", rate=RATE, layout="stereo")
        number = 0
        while not stopped.wait(1 / FPS):
            picture = av.VideoFrame.from_ndarray(pattern.frame(number), format="rgb24")
            picture.pts = number
            output.mux(video.encode(picture))
            samples = np.repeat(tone, 2).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            sound.sample_rate, sound.pts = RATE, number * len(tone)
            output.mux(audio.encode(sound))
            number += 1


if __name__ == "__main__":
    main()
