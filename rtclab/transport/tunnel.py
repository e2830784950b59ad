"""A client's media over its signaling carrier, where UDP cannot pass: a transport like any other to the room.

What the page sends are encoded frames (`tunnel_format` has the bytes). Here they become RTP, as the client's
own offer and the room's answer describe it, and take the same way as what comes from the UDP port. What the
fan-out writes for this transport's row of the path table is handed over unprotected and becomes frames again.
Nothing is transcoded.

RTCP ends here on both sides of the room: its requests for a picture become KEYFRAME messages, its sender
reports the capture times of frames; towards it go sender reports for what the page sends, and as a viewer's
would, requests for pictures, receiver reports and a bandwidth estimate (REMB), made from acknowledgements.
`tunnel_flow` says what may be under way. Every frame that is not passed on is counted in `drops` by its
reason, in frames; what the page sent wrong too. After a frame of the page's that is missing its pictures wait
for keyframes: in the RTP made of them nobody could see the gap.

Everything happens on the engine's thread, and `now` comes from the clock that is passed in.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from ..rtp import rtcp
from ..rtp.drops import Drop, Drops
from ..rtp.packet import MalformedRtp, is_rtcp, parse_rtp
from ..rtp.payload import MalformedPayload
from .paths import PathTable
from .tunnel_down import Depacketizer, unix_us
from .tunnel_flow import MAX_UNSENT, Flow
from .tunnel_format import MAX_MEDIA, Ack, Frame, KeyframeRequest, MalformedMedia, parse
from .tunnel_order import Order
from .tunnel_up import Line, Packetizer

logger = logging.getLogger(__name__)

ACK_S = 0.05
ACK_FRAMES = 10
REPORT_S = 0.5
ASK_AGAIN_S = 1.0
MAX_STREAMS = 64
IMAGES = 2  # pictures under way to a page that shows only images

State = Literal["connected", "disconnected", "closed"]
Received = Callable[[memoryview, int, float], object]


class Lines(Protocol):
    """What a client's offer and the room's answer say of its m-lines."""

    @property
    def extension_ids(self) -> Mapping[str, int]:
        """Header extension ids by URI, of what the client sends."""
        ...

    def incoming(self, mid: str) -> Line | None:
        """An m-line on which the client sends."""
        ...

    def outgoing(self, ssrc: int) -> Line | None:
        """An m-line on which it receives, and what it receives there now."""
        ...

    def ssrc(self, mid: str) -> int | None:
        """The SSRC of an m-line on which it receives."""
        ...

    def report(self, ssrc: int, now: float) -> bytes:
        """A sender report (RTCP) for what it receives; empty if there is none."""
        ...


class Way(Protocol):
    """What a tunnel uses of a carrier."""

    @property
    def unsent(self) -> int: ...

    def send_media(self, data: bytes) -> None: ...


def _ignore(*_: object) -> None:
    return None


class TunnelTransport:
    """One client whose media goes over its carrier.

    Parameters
    ----------
    paths : PathTable
        Where it takes a row.
    way : Way
        The carrier.
    lines : Lines
        The client's m-lines.
    clock : callable
        Monotonic time in seconds.
    generator : random.Random
        For SSRCs and first numbers.
    drained : callable
        Called after frames of the page were passed on.
    images : bool
        Whether the page can decode nothing but JPEG: it gets what `send_picture` is given.

    Attributes
    ----------
    row : int
        Its row of the path table.
    state : str
        ``"connected"``; ``"disconnected"`` while its carrier is lost; ``"closed"``.
    on_rtp, on_rtcp : callable
        As `Transport` has them.
    lines : Lines
        The client's m-lines.
    drops : Drops
        Frames and messages that went nowhere.
    flow : Flow
        What is under way to the page.
    frames_received, bytes_received, frames_sent, bytes_sent : int
        Counts.
    """

    def __init__(
        self,
        paths: PathTable,
        way: Way,
        lines: Lines,
        clock: Callable[[], float],
        generator: random.Random,
        drained: Callable[[], object] = _ignore,
        images: bool = False,
    ) -> None:
        self.images = images
        self.way = way
        self.drops = Drops()
        self.flow = Flow()
        self.state: State = "connected"
        self.on_rtp: Received = _ignore
        self.on_rtcp: Received = _ignore
        self.frames_received = self.bytes_received = 0
        self.frames_sent = self.bytes_sent = 0
        self.row = paths.open_tunnel(self._deliver)
        self._paths = paths
        self.lines = lines
        self._clock = clock
        self._drained = drained
        self._ssrc = generator.randrange(1, 2**32)
        self._up = Packetizer(generator)
        self._down: dict[int, Depacketizer] = {}
        self._left_out: dict[int, float] = {}  # streams that wait for a keyframe, and when one was asked for
        self._order = Order()
        self._acked = 0  # number of the page's frame
        self._acked_at = -1e9
        self._next_report = 0.0

    def __repr__(self) -> str:
        return f"<TunnelTransport {self.row} {self.state}>"

    def reopen(self, way: Way) -> None:
        """The page begins anew, over the same carrier or another: numbers begin with 1, pictures with a
        keyframe."""
        if self.state == "closed":
            return
        self.way = way
        self.state = "connected"
        self.flow = Flow()
        self.frames_sent = self._acked = 0
        self._order = Order()
        self._up.interrupt()
        for stream in self._down.values():
            stream.assembler.restart()
        self._left_out = dict.fromkeys(self._left_out, -1e9)

    def lost(self) -> None:
        """The carrier is gone; `reopen` may follow."""
        if self.state == "connected":
            self.state = "disconnected"

    def close(self) -> None:
        """Give the row back; more calls do nothing."""
        if self.state != "closed":
            self.state = "closed"
            self._paths.close_tunnel(self.row)
            self._down.clear()
            self._left_out.clear()
            self.on_rtp = self.on_rtcp = _ignore

    # -- from the page ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take a binary message of the page; one that makes no sense is counted and dropped."""
        if self.state != "connected":
            self.drops.add(Drop.NOT_CONNECTED)
            return
        now = self._clock()
        try:
            message = parse(data)
        except MalformedMedia:
            self.drops.add(Drop.BAD_MEDIA)
            return
        if isinstance(message, Ack):
            self.flow.ack(message.number, message.waiting_ms, now)
        elif isinstance(message, KeyframeRequest):
            ssrc = self.lines.ssrc(message.mid)
            if ssrc is None:
                self.drops.add(Drop.UNKNOWN_MID)
            else:
                self._ask_for_keyframe(ssrc, now)
        else:
            self._receive_frame(message, len(data), now)

    def _receive_frame(self, frame: Frame, size: int, now: float) -> None:
        self.frames_received += 1
        self.bytes_received += size
        if not self._order.add(frame, now):
            self.drops.add(Drop.TOO_OLD)
        self._take_in(now)
        if now - self._acked_at >= ACK_S or not 0 <= self._order.taken - self._acked < ACK_FRAMES:
            self._ack(now)

    def _take_in(self, now: float) -> None:
        """Pass on the frames whose turn it is; what is wrong with one does not get better by sending less."""
        for missing, frame in self._order.take(now):
            if missing:
                self.drops.add(Drop.TUNNEL_GAP, missing)
                for mid, rid in self._up.interrupt():
                    self._ask_page(mid, rid, now)
            line = self.lines.incoming(frame.mid)
            if line is None or frame.rid not in (line.rids or ("",)):
                self.drops.add(Drop.UNKNOWN_MID)
            elif frame.jpeg or frame.audio != (line.kind == "audio"):
                self.drops.add(Drop.BAD_MEDIA)
            elif self._up.follows(frame):
                self._pass_on(frame, line, now)
            else:
                self.drops.add(Drop.WAITING_FOR_KEYFRAME)
                self._ask_page(frame.mid, frame.rid, now)

    def _ask_page(self, mid: str, rid: str, now: float) -> None:
        """Ask for a keyframe of a stream in which a picture is missing, unless that was just done."""
        if self._up.ask(mid, rid, now):
            self.way.send_media(KeyframeRequest(mid, rid).encode())

    def _pass_on(self, frame: Frame, line: Line, now: float) -> None:
        try:
            for packet in self._up.packets(frame, line, self.lines.extension_ids, now):
                data = memoryview(bytearray(packet))
                (self.on_rtcp if is_rtcp(packet[1]) else self.on_rtp)(data, len(data), now)
        except MalformedPayload:
            self.drops.add(Drop.BAD_PAYLOAD)
        except Exception:  # one client's frame must not cost the others theirs
            logger.exception("a frame of a tunnel could not be handled")
        else:
            self._drained()

    def _ack(self, now: float) -> None:
        self._acked, self._acked_at = self._order.taken, now
        self.way.send_media(Ack(self._order.taken).encode())

    # -- from the room ----------------------------------------------------------------------------------

    def send_rtcp(self, data: bytes) -> None:
        """Take what the room reports and asks."""
        if self.state != "connected":
            self.drops.add(Drop.NOT_CONNECTED)
            return
        now = self._clock()
        for packet in rtcp.parse_rtcp(data):
            if isinstance(packet, rtcp.Pli):
                names = self._up.streams().get(packet.media)
                if names is not None:
                    self.way.send_media(KeyframeRequest(*names).encode())
            elif isinstance(packet, rtcp.SenderReport) and packet.ssrc in self._down:
                self._down[packet.ssrc].report(packet.ntp, packet.rtp, now)

    def _deliver(self, packets: list[bytes]) -> None:
        """Take packets that the fan-out has written for this row."""
        if self.state != "connected":
            self.drops.add(Drop.NOT_CONNECTED, len(packets))
            return
        now = self._clock()
        for data in packets:
            if is_rtcp(data[1]):
                self.send_rtcp(data)
                continue
            if self.images:
                continue
            try:
                packet = parse_rtp(data, len(data))
            except MalformedRtp:
                self.drops.add(Drop.BAD_RTP)
                continue
            line = self.lines.outgoing(packet.ssrc)
            if line is None:
                self.drops.add(Drop.UNKNOWN_SSRC)
                continue
            stream = self._stream(packet.ssrc, line)
            payload = data[packet.payload_start : packet.payload_start + packet.payload_length]
            for timestamp, frame in stream.frames(packet, payload, line, now):
                self._send(packet.ssrc, stream, timestamp, frame, now)
            if line.kind == "video" and stream.assembler.waiting:
                self._left_out.setdefault(packet.ssrc, -1e9)

    def _stream(self, ssrc: int, line: Line) -> Depacketizer:
        stream = self._down.get(ssrc)
        if stream is None or stream.codec != line.codec:
            if len(self._down) >= MAX_STREAMS:
                gone = next(iter(self._down))
                del self._down[gone]
                self._left_out.pop(gone, None)
            stream = self._down[ssrc] = Depacketizer(line.codec, line.clock_rate, self.drops)
        return stream

    @property
    def ready(self) -> bool:
        """Whether a page that shows only images can take one more; callable from any thread."""
        return self.state == "connected" and self.flow.under_way < IMAGES and self.way.unsent < MAX_UNSENT

    def send_picture(self, mid: str, rid: str, data: bytes, width: int, height: int, time_ntp: int) -> None:
        """Send a JPEG picture of an m-line; it is left out if the page has not taken those before."""
        if not self.ready:
            self.drops.add(Drop.TUNNEL_BEHIND)
            return
        time_us = unix_us(time_ntp)
        frame = Frame(0, time_us, mid, rid, data, keyframe=True, jpeg=True, width=width, height=height)
        self._send_frame(frame, self._clock())

    def _send(self, ssrc: int, stream: Depacketizer, timestamp: int, frame: Frame, now: float) -> None:
        reason = self._held_back(ssrc, frame, now)
        if reason is not None:
            self.drops.add(reason)
            return
        frame = frame._replace(time_us=self._time_of(ssrc, stream, timestamp, frame, now))
        if not self._send_frame(frame, now) and not frame.audio:
            self._left_out[ssrc] = now  # a keyframe is not asked for at once: it may be as long

    def _send_frame(self, frame: Frame, now: float) -> bool:
        """Whether the frame went; one that is too long would end the carrier."""
        number = self.frames_sent + 1
        data = frame._replace(number=number).encode()
        if len(data) > MAX_MEDIA:
            self.drops.add(Drop.TOO_LONG)
            return False
        self.frames_sent = number
        self.bytes_sent += len(data)
        self.flow.sent(number, len(data), now, frame.keyframe, frame.audio)
        self.way.send_media(data)
        return True

    def _held_back(self, ssrc: int, frame: Frame, now: float) -> Drop | None:
        """Why a frame is left out; None if it is not."""
        flow, unsent = self.flow, self.way.unsent
        if flow.stalled(now):
            if not frame.audio:
                self._left_out.setdefault(ssrc, -1e9)
            return Drop.TUNNEL_STALLED
        if frame.audio:
            return Drop.TUNNEL_BEHIND if flow.sound_too_late(now, unsent) else None
        if ssrc in self._left_out:
            if frame.keyframe and flow.takes_keyframe(now, unsent):
                del self._left_out[ssrc]
                return None
            return Drop.TUNNEL_BEHIND if flow.behind(now, unsent) else Drop.WAITING_FOR_KEYFRAME
        if flow.behind(now, unsent):
            self._left_out[ssrc] = -1e9
            return Drop.TUNNEL_BEHIND
        return None

    def _time_of(self, ssrc: int, stream: Depacketizer, timestamp: int, frame: Frame, now: float) -> int:
        """When a frame was captured, Unix time in microseconds."""
        time_us = stream.time_us(timestamp)
        if time_us is None or frame.keyframe or stream.jumped(timestamp):
            # a new stream, or perhaps another source: the room knows what its next report will say
            report = self.lines.report(ssrc, now)
            if report:
                self.send_rtcp(report)
                time_us = stream.time_us(timestamp)
        return 0 if time_us is None else time_us

    def _ask_for_keyframe(self, ssrc: int, now: float) -> None:
        self._report(rtcp.pli(self._ssrc, ssrc), now)

    def _report(self, data: bytes, now: float) -> None:
        self.on_rtcp(memoryview(data), len(data), now)

    # -- in time ----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due: acknowledge, ask for keyframes, report to the room."""
        if self.state != "connected":
            return
        self.flow.seen(now)
        self._take_in(now)
        if self._order.taken != self._acked and now - self._acked_at >= ACK_S:
            self._ack(now)
        if self._left_out and not self.flow.stalled(now) and self.flow.clear(now, self.way.unsent):
            for ssrc, asked in list(self._left_out.items()):
                if self.lines.outgoing(ssrc) is None:
                    del self._left_out[ssrc]
                elif now - asked >= ASK_AGAIN_S:
                    self._left_out[ssrc] = now
                    self._ask_for_keyframe(ssrc, now)
        if now >= self._next_report and self._down:
            self._next_report = now + REPORT_S
            self._report_to_room(now)

    def _report_to_room(self, now: float) -> None:
        flow = self.flow
        ssrcs = [ssrc for ssrc in self._down if self.lines.outgoing(ssrc) is not None]
        if not ssrcs:
            return
        blocks = [self._down[ssrc].block(ssrc, flow.rtt_s, now) for ssrc in ssrcs]
        self._report(rtcp.receiver_report(self._ssrc, blocks), now)
        if flow.estimate_bps is not None:
            self._report(rtcp.remb(self._ssrc, flow.estimate_bps, ssrcs), now)
