"""Where the packets of pictures to be decoded wait for one another.

aiortc's buffer waits for a lost packet until 512 others have passed it, which takes half a minute where a
picture is one packet, and goes on with pictures that lack the lost one. Here a hole that is not filled in
time is given up: a keyframe is asked for (RFC 4585 section 6.3.1), and pictures go on with it. aiortc's also
begins with whatever comes first, be it the second half of a keyframe; here the first picture is a whole one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping

from aiortc.jitterbuffer import MAX_MISORDER, JitterBuffer, JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from ..rtp.payload import MalformedPayload, describer
from ..rtp.sequence import difference, newer

CAPACITY = 512  # packets, as aiortc has it
PATIENCE_S = 0.5  # for a retransmission, which aiortc asks for once
SETTLE_S = 0.1  # for the first keyframe, when there is something else before it
EARLY = 32  # packets kept for it, which may have overtaken its first one
ASK_S = 0.5  # from one request for a keyframe to the next


class PictureBuffer(JitterBuffer):
    """aiortc's buffer of one video receiver, that begins with a keyframe and gives up what is lost.

    Parameters
    ----------
    codecs : mapping of int to aiortc.RTCRtpCodecParameters
        The receiver's, by payload type; it may change.
    clock : callable
        The time in seconds.
    """

    def __init__(
        self, codecs: Mapping[int, RTCRtpCodecParameters], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(CAPACITY, is_video=True)
        self._codecs = codecs
        self._clock = clock
        self._newest = 0
        self._next = 0  # all before it are here or were handed out
        self._hole: int | None = None
        self._early: deque[RtpPacket] = deque(maxlen=EARLY)  # while no keyframe has begun
        self._begun = False
        self._since, self._asked = 0.0, -math.inf

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet in.

        Returns
        -------
        bool
            Whether to ask for a keyframe.
        aiortc.jitterbuffer.JitterFrame or None
            A picture that is complete now.
        """
        if not self._begun:
            return self._begin(packet)
        number = packet.sequence_number
        ask, picture = super().add(packet)
        assert self._origin is not None
        if ask and self._origin == number:  # another stream, whose first packet this is
            self.remove(1)
            self._begun, self._hole = False, None
            return True, self._begin(packet)[1]
        if ask or newer(number, self._newest):
            self._newest = number
        now, hole = self._clock(), self._find_hole()
        if hole != self._hole:
            self._hole, self._since = hole, now
        if hole is None or now - self._since < PATIENCE_S:
            return ask, picture
        keyframe = self._find_keyframe(hole)
        if keyframe is None:
            return self._may_ask(now) or ask, picture
        self.remove(difference(keyframe, self._origin))
        return ask, picture or self._remove_frame(number)

    def _begin(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in what comes before a keyframe has begun, and what begins it."""
        now, first = self._clock(), packet.sequence_number
        if not self._early:
            self._since = now
        self._early.append(packet)
        if not self._begins_keyframe(packet):
            return now - self._since >= SETTLE_S and self._may_ask(now), None
        self._origin = self._newest = self._next = first
        for early in self._early:
            ahead = difference(early.sequence_number, first)
            if 0 <= ahead < MAX_MISORDER:
                self._packets[early.sequence_number % self.capacity] = early
                if newer(early.sequence_number, self._newest):
                    self._newest = early.sequence_number
        self._early.clear()
        self._begun = True
        return False, self._remove_frame(first)

    def _may_ask(self, now: float) -> bool:
        """Whether it is time for a request for a keyframe, which is noted."""
        due = now - self._asked >= ASK_S
        if due:
            self._asked = now
        return due

    def _find_hole(self) -> int | None:
        """The first packet that is missing though a later one is here."""
        assert self._origin is not None
        if newer(self._origin, self._next):
            self._next = self._origin
        while self._at(self._next) is not None:
            self._next = self._next + 1 & 0xFFFF
        return self._next if newer(self._newest, self._next) else None

    def _find_keyframe(self, hole: int) -> int | None:
        """The first packet of the last keyframe after a hole."""
        found: RtpPacket | None = None
        for ahead in range(1, difference(self._newest, hole) + 1):
            packet = self._at(hole + ahead & 0xFFFF)
            if packet is None or (found is not None and packet.timestamp == found.timestamp):
                continue
            if self._begins_keyframe(packet):
                found = packet
        return None if found is None else found.sequence_number

    def _at(self, number: int) -> RtpPacket | None:
        packet = self._packets[number % self.capacity]
        return packet if packet is not None and packet.sequence_number == number else None

    def _begins_keyframe(self, packet: RtpPacket) -> bool:
        codec = self._codecs.get(packet.payload_type)
        if codec is None or not packet.payload:
            return False
        try:
            info = describer(codec.name)(packet.payload)
        except MalformedPayload:
            return False
        return info.keyframe and info.start
