"""What comes in: packets of one track become its newest picture, or its sound.

The engine's thread only puts packets down (`push`); the mixer's thread assembles and decodes them when it
has time. A simulcast track brings several streams: while another one is switched to, the old one is shown
until the new one has its first picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from ..rtp.assembly import Assembler, Fragment
from ..rtp.frames import depacketize

VIDEO = ("vp8", "h264")  # by the names of the decoders
INBOX_PACKETS = 2048
MOST_PIXELS = 3840 * 2160  # a header alone can claim 268 million, and have memory taken for them
ASK_AGAIN_S = 0.5
FROZEN_S = 1.0
SCREEN_FROZEN_S = 6.0  # a screen that does not change sends next to nothing


def mixable(kind: str, codec: str) -> bool:
    """Whether a codec can be decoded here."""
    return codec.lower() in VIDEO if kind == "video" else codec.lower() == "opus"


class _Feed:
    """One stream of a track: its packets and its decoder."""

    def __init__(self, codec: str) -> None:
        self.assembler = Assembler()
        self._name = codec.lower()
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> VideoCodecContext:
        decoder = av.CodecContext.create(self._name, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.thread_count = 1  # frame threads would hold pictures back
        decoder.options = {"max_pixels": str(MOST_PIXELS)}
        return decoder

    def decode(self, frame: list[Fragment]) -> av.VideoFrame | None:
        """The picture of one frame; None, and then only a keyframe helps, if it is broken."""
        try:
            packet = av.Packet(depacketize(self._name, [fragment.payload for fragment in frame]))
            pictures = self._decoder.decode(packet)
        except (ValueError, av.FFmpegError):  # a MalformedPayload is a ValueError
            self._decoder = self._new_decoder()
            self.assembler.restart()
            return None
        return pictures[-1] if pictures else None


class PictureInput:
    """One video track.

    Parameters
    ----------
    codec : str
        Encoding name, for instance ``"VP8"``.
    screen : bool
        Whether it is a shared screen, which may stand still for longer.
    ask_keyframe : callable
        Called, on the mixer's thread and at most twice a second, with the stream that needs a keyframe.

    Attributes
    ----------
    picture : av.VideoFrame or None
        The newest picture.
    version, decoded, broken, overflows : int
        Pictures shown so far; frames decoded; frames that could not be; packets that found the inbox full.
    """

    def __init__(self, codec: str, screen: bool, ask_keyframe: Callable[[Hashable], None]) -> None:
        self.codec = codec
        self.picture: av.VideoFrame | None = None
        self.muted = False
        self.version = self.decoded = self.broken = self.overflows = 0
        self._patience = SCREEN_FROZEN_S if screen else FROZEN_S
        self._ask_keyframe = ask_keyframe
        self._inbox: deque[tuple[Hashable, Fragment]] = deque()
        self._feeds: dict[Hashable, _Feed] = {}
        self._wanted: Hashable = None
        self._shown_at = 0.0
        self._asked_at = -1e9

    def push(self, stream: Hashable, fragments: Sequence[Fragment]) -> None:
        """Put packets of one stream down; callable from any thread, returns at once."""
        if len(self._inbox) + len(fragments) > INBOX_PACKETS:
            self.overflows += len(fragments)
            return
        self._inbox.extend((stream, fragment) for fragment in fragments)

    def want(self, stream: Hashable) -> None:
        """Show this stream from its next keyframe on."""
        self._wanted = stream

    @property
    def shown(self) -> Hashable:
        """The stream that `picture` is of; None before the first picture."""
        return next(iter(self._feeds), None) if self.picture is not None else None

    def frozen(self, now: float) -> bool:
        """Whether the newest picture is too old to pass for live."""
        return self.picture is not None and now - self._shown_at > self._patience

    def decode(self, now: float) -> None:
        """Decode what has come; `now` in seconds."""
        wanted = self._wanted
        inbox = self._inbox
        for _ in range(len(inbox)):
            stream, fragment = inbox.popleft()
            feed = self._feeds.get(stream)
            if feed is None:
                if stream != wanted:
                    continue  # left over from a stream that is shown no more
                feed = self._feeds[stream] = _Feed(self.codec)
            feed.assembler.add(fragment)
        for stream, feed in list(self._feeds.items()):
            self._advance(stream, feed, now)
        wanting = self._feeds.get(wanted)
        if wanting is not None and wanting.assembler.waiting and now - self._asked_at > ASK_AGAIN_S:
            self._asked_at = now
            self._ask_keyframe(wanted)

    def _advance(self, stream: Hashable, feed: _Feed, now: float) -> None:
        while (frame := feed.assembler.take(now)) is not None:
            picture = feed.decode(frame)
            if picture is None:
                self.broken += 1
                continue
            self.decoded += 1
            if stream == self._wanted and len(self._feeds) > 1:
                self._feeds = {stream: feed}  # the switch is done
            if stream in self._feeds and stream == next(iter(self._feeds)):
                self.picture = picture
                self.version += 1
                self._shown_at = now


class SoundInput:
    """Decodes one Opus track.

    Attributes
    ----------
    broken, overflows : int
        Packets that could not be decoded, and packets that found the inbox full.
    """

    def __init__(self) -> None:
        self.broken = self.overflows = 0
        self._inbox: deque[Fragment] = deque()
        self._decoder = self._new_decoder()

    @staticmethod
    def _new_decoder() -> AudioCodecContext:
        decoder = av.CodecContext.create("libopus", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.format = "s16"
        decoder.layout = "stereo"
        decoder.sample_rate = 48_000
        return decoder

    def push(self, fragments: Sequence[Fragment]) -> None:
        """Put packets down; callable from any thread, returns at once."""
        if len(self._inbox) + len(fragments) > INBOX_PACKETS:
            self.overflows += len(fragments)
            return
        self._inbox.extend(fragments)

    def skip(self) -> None:
        """Forget what has come: nobody listens."""
        self._inbox.clear()

    def decode(self) -> list[tuple[int, NDArray[np.int16]]]:
        """What has come, in order: RTP time and (samples, 2) int16 at 48 kHz of each packet."""
        inbox = self._inbox
        fragments = [inbox.popleft() for _ in range(len(inbox))]
        sounds = []
        for fragment in sorted(fragments, key=lambda one: one.sequence):
            if not fragment.payload:
                continue
            try:
                frames = self._decoder.decode(av.Packet(fragment.payload))
            except (ValueError, av.FFmpegError):
                self.broken += 1
                self._decoder = self._new_decoder()
                continue
            samples = [frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, 2) for frame in frames]
            if samples:
                sounds.append((fragment.timestamp, np.concatenate(samples)))
        return sounds
