"""Frames that come through a tunnel become RTP, as a browser would have sent it.

Each m-line and layer is a stream: its SSRC is chosen here, mid and rid ride in header extensions (RFC 9143,
RFC 8852), packets are numbered without gaps: so pictures begin with a keyframe, and none may be missing after
it. The RTP time follows the capture time; that of sound counts samples instead, for as long as it stays near,
because receivers take it for the length of what they play. A sender report for each stream, once a second,
says which capture time belongs to which RTP time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..rtp import extensions, rtcp
from ..rtp.frames import opus_samples, packetize
from ..rtp.packet import build_rtp
from .tunnel_format import Frame

REPORT_S = 1.0
ASK_AGAIN_S = 1.0
MAX_DRIFT_S = 0.06  # between capture times of sound and its samples, before the RTP time jumps
MAX_STREAMS = 64


class Line(NamedTuple):
    """What the room knows of an m-line: its codec, and for what comes in its payload type and layers."""

    mid: str
    kind: str
    codec: str
    clock_rate: int
    payload_type: int = 0
    rids: tuple[str, ...] = ()
    rid: str = ""


class _Stream:
    """One SSRC: where its numbers stand."""

    def __init__(self, generator: random.Random) -> None:
        self.ssrc = generator.randrange(1, 2**32)
        self.sequence = generator.randrange(1000, 32768)  # low, see `rtclab.forwarding.fanout`
        self.picture_id = generator.randrange(0x8000)
        self.packets = self.octets = 0
        self.reported = self.asked = -1e9
        self.whole = False  # no picture since the last keyframe is missing
        self._base = generator.randrange(2**32)  # the RTP time of `_since`
        self._since: int | None = None
        self._following = 0  # not wrapped: where the sound so far ends

    def timestamp(self, frame: Frame, line: Line) -> int:
        """The RTP time of a frame."""
        if self._since is None:
            self._since = frame.time_us
        time = round((frame.time_us - self._since) * line.clock_rate / 1e6)
        if line.kind == "audio":
            if abs(time - self._following) <= MAX_DRIFT_S * line.clock_rate:
                time = self._following
            self._following = time + opus_samples(frame.payload)
        return (self._base + time) & 0xFFFFFFFF


class Packetizer:
    """All streams that one page sends.

    Parameters
    ----------
    generator : random.Random
        For SSRCs and first numbers.
    """

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._streams: dict[tuple[str, str], _Stream] = {}

    def streams(self) -> Mapping[int, tuple[str, str]]:
        """Mid and rid of each SSRC."""
        return {stream.ssrc: key for key, stream in self._streams.items()}

    def follows(self, frame: Frame) -> bool:
        """Whether a frame is of use after those that came before it."""
        return frame.audio or frame.keyframe or self._stream(frame.mid, frame.rid).whole

    def interrupt(self) -> list[tuple[str, str]]:
        """A frame is missing, nobody knows of which stream; returns mid and rid of those that now wait for a
        keyframe."""
        cut = [key for key, stream in self._streams.items() if stream.whole]
        for key in cut:
            self._streams[key].whole = False
        return cut

    def ask(self, mid: str, rid: str, now: float) -> bool:
        """Whether to ask for a keyframe of a stream: not so soon after the last time."""
        stream = self._stream(mid, rid)
        due = now - stream.asked >= ASK_AGAIN_S
        if due:
            stream.asked = now
        return due

    def _stream(self, mid: str, rid: str) -> _Stream:
        stream = self._streams.get((mid, rid))
        if stream is None:
            if len(self._streams) >= MAX_STREAMS:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[mid, rid] = _Stream(self._generator)
        return stream

    def packets(self, frame: Frame, line: Line, ids: Mapping[str, int], now: float) -> Iterator[bytes]:
        """The RTP packets of a frame, then a sender report (RTCP) if one is due.

        Parameters
        ----------
        frame : Frame
            Whose m-line, and layer, `line` has.
        line : Line
            The m-line.
        ids : mapping of str to int
            Header extension ids by URI.
        now : float
            Seconds.

        Raises
        ------
        MalformedPayload
            It is no frame of that codec.
        """
        stream = self._stream(frame.mid, frame.rid)
        stream.whole = False  # if this one is malformed it is missing
        payloads = packetize(line.codec, frame.payload, stream.picture_id)
        stream.whole = not frame.audio
        stream.picture_id = (stream.picture_id + 1) & 0x7FFF
        timestamp = stream.timestamp(frame, line)
        elements = []
        if extensions.MID in ids:
            elements.append((ids[extensions.MID], frame.mid.encode()))
        if frame.rid and extensions.RID in ids:
            elements.append((ids[extensions.RID], frame.rid.encode()))
        if frame.level >= 0 and extensions.AUDIO_LEVEL in ids:
            elements.append((ids[extensions.AUDIO_LEVEL], bytes((frame.level,))))
        last = len(payloads) - 1
        for place, payload in enumerate(payloads):
            yield build_rtp(
                line.payload_type,
                stream.sequence,
                timestamp,
                stream.ssrc,
                payload,
                marker=place == last and line.kind == "video",
                extensions=elements,
            )
            stream.sequence = (stream.sequence + 1) & 0xFFFF
            stream.packets += 1
            stream.octets += len(payload)
        if now >= stream.reported + REPORT_S:
            stream.reported = now
            ntp = rtcp.to_ntp(frame.time_us / 1e6)
            yield rtcp.sender_report(stream.ssrc, ntp, timestamp, stream.packets, stream.octets)
