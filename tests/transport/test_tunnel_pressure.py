"""A tunnel over a slow line, in virtual time: latency stays small, sound goes on, and it recovers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest

from rtclab.rtp import rtcp
from rtclab.rtp.drops import Drop
from rtclab.rtp.frames import packetize
from rtclab.rtp.packet import build_rtp
from rtclab.transport.paths import PathTable
from rtclab.transport.tunnel import TunnelTransport
from rtclab.transport.tunnel_format import Ack, Frame, parse
from rtclab.transport.tunnel_up import Line

VIDEO, AUDIO = 1111, 2222
STEP = 0.005
TICK = 0.2  # as late as a room's may be
UNIX = 1_700_000_000


class SlowLine:
    """A line with a rate and a delay, and a page at its end; `way` of a tunnel."""

    def __init__(self, rate_bps: float, delay_s: float) -> None:
        self.rate_bps, self.delay_s = rate_bps, delay_s
        self.now = 0.0
        self.queue: list[bytes] = []
        self.sent_part = 0.0
        self.arriving: list[tuple[float, bytes]] = []
        self.acking: list[tuple[float, Ack]] = []
        self.got: list[tuple[float, Frame]] = []
        self.deaf = False
        self._newest = self._acked = 0
        self._acked_at = 0.0

    @property
    def unsent(self) -> int:
        return 0  # it lies in buffers of the system and of proxies

    def send_media(self, data: bytes) -> None:
        self.queue.append(data)

    def step(self) -> list[Ack]:
        """Let a moment pass; what the page acknowledges that arrives now."""
        self.now += STEP
        self.sent_part += self.rate_bps / 8 * STEP
        while self.queue and self.sent_part >= len(self.queue[0]) + 60:
            data = self.queue.pop(0)
            self.sent_part -= len(data) + 60
            self.arriving.append((self.now + self.delay_s, data))
        if not self.queue:
            self.sent_part = 0.0
        while self.arriving and self.arriving[0][0] <= self.now:
            message = parse(self.arriving.pop(0)[1])
            if isinstance(message, Frame):
                self.got.append((self.now, message))
                self._newest = message.number
        fresh = self._newest - self._acked
        if fresh >= 10 or (fresh and self.now - self._acked_at >= 0.1):
            self._acked, self._acked_at = self._newest, self.now
            if not self.deaf:
                self.acking.append((self.now + self.delay_s, Ack(self._newest)))
        heard = [ack for at, ack in self.acking if at <= self.now]
        self.acking = [(at, ack) for at, ack in self.acking if at > self.now]
        return heard


class Lines:
    """Two m-lines on which the page receives."""

    def __init__(self) -> None:
        self.extension_ids: Mapping[str, int] = {}

    def incoming(self, mid: str) -> Line | None:
        return None

    def outgoing(self, ssrc: int) -> Line | None:
        return {
            VIDEO: Line("0", "video", "VP8", 90_000),
            AUDIO: Line("1", "audio", "opus", 48_000),
        }.get(ssrc)

    def ssrc(self, mid: str) -> int | None:
        return {"0": VIDEO, "1": AUDIO}.get(mid)

    def report(self, ssrc: int, now: float) -> bytes:
        rate = 90_000 if ssrc == VIDEO else 48_000
        return rtcp.sender_report(ssrc, rtcp.to_ntp(UNIX + now), int(now * rate), 0, 0)


class Scene:
    """A room that sends a picture and sound through a tunnel, and does what it is asked.

    Attributes
    ----------
    bitrates : list of int
        Of the layers, lowest first; the sender goes down one when the estimate has said so for a while.
    """

    def __init__(self, line: SlowLine, bitrates: tuple[int, ...] = (1_000_000,), fps: int = 30) -> None:
        self.line, self.bitrates, self.fps = line, bitrates, fps
        self.layer = len(bitrates) - 1
        self.generator = random.Random(3)
        self.tunnel = TunnelTransport(PathTable(), line, Lines(), lambda: line.now, random.Random(1))
        self.tunnel.on_rtcp = self.hear
        self.sequences = {VIDEO: 100, AUDIO: 100}
        self.wants_keyframe = True
        self.asked: list[float] = []
        self.estimates: list[int] = []
        self.short_since: float | None = None
        self.next_picture = self.next_sound = self.next_tick = 0.0
        self.pictures = 0

    def hear(self, data: memoryview, length: int, now: float) -> None:
        for packet in rtcp.parse_rtcp(bytes(data[:length])):
            if isinstance(packet, rtcp.Pli):
                self.asked.append(now)
                self.wants_keyframe = True
            elif isinstance(packet, rtcp.Remb):
                self.estimates.append(packet.bitrate)
                if packet.bitrate >= 0.9 * self.bitrates[self.layer]:
                    self.short_since = None
                elif self.short_since is None:
                    self.short_since = now
                elif now - self.short_since > 1 and self.layer:
                    self.layer, self.short_since, self.wants_keyframe = self.layer - 1, None, True

    def run(self, seconds: float) -> None:
        end = self.line.now + seconds
        while self.line.now < end:
            for ack in self.line.step():
                self.tunnel.receive(ack.encode())
            now = self.line.now
            if now >= self.next_tick:
                self.next_tick = now + TICK
                self.tunnel.tick(now)
            if now >= self.next_picture:
                self.next_picture += 1 / self.fps
                self.shoot(now)
            if now >= self.next_sound:
                self.next_sound += 0.02
                self.send(AUDIO, packetize("opus", self.generator.randbytes(80), 0), int(now * 48_000))

    def shoot(self, now: float) -> None:
        size = self.bitrates[self.layer] / 8 / self.fps
        keyframe, self.wants_keyframe = self.wants_keyframe, False
        body = self.generator.randbytes(int(size * (6 if keyframe else self.generator.uniform(0.6, 1.4))))
        head = b"\0\0\0\x9d\x01\x2a\x80\x02\x68\x01" if keyframe else b"\1\0\0"
        self.pictures += 1
        self.send(VIDEO, packetize("VP8", head + body, self.pictures), int(now * 90_000))

    def send(self, ssrc: int, payloads: list[bytes], timestamp: int) -> None:
        packets = []
        for place, payload in enumerate(payloads, 1):
            marker = ssrc == VIDEO and place == len(payloads)
            sequence = self.sequences[ssrc] = (self.sequences[ssrc] + 1) & 0xFFFF
            packets.append(build_rtp(96, sequence, timestamp & 0xFFFFFFFF, ssrc, payload, marker=marker))
        self.tunnel._deliver(packets)

    def latencies(self, since: float, audio: bool = False) -> list[float]:
        """Of the frames that arrived since then, from their capture times."""
        return [
            at - (frame.time_us / 1e6 - UNIX)
            for at, frame in self.line.got
            if at >= since and frame.audio == audio
        ]

    def decodable(self, since: float) -> int:
        """How many pictures arrived since then for which all those since the last keyframe had arrived."""
        count, complete, previous = 0, False, 0
        for at, frame in self.line.got:
            if frame.audio:
                continue
            number = round(frame.time_us * self.fps / 1e6)
            complete = frame.keyframe or (complete and number - previous <= 1)
            previous = number
            count += complete and at >= since
        return count


def test_a_good_line_drops_nothing() -> None:
    scene = Scene(SlowLine(20_000_000, 0.02))
    scene.run(10)
    assert not scene.tunnel.drops
    assert len(scene.latencies(0)) >= scene.pictures - 2
    assert max(scene.latencies(0)) < 0.06
    assert len(scene.asked) == 0
    assert not scene.estimates


@pytest.mark.parametrize("delay", [0.01, 0.1, 0.3])
def test_a_line_that_is_too_slow_for_its_only_layer(delay: float) -> None:
    """Pictures are left out up to the next keyframe; what comes is not late, and sound is complete."""
    scene = Scene(SlowLine(500_000, delay), (1_000_000,))
    scene.run(30)
    assert max(scene.latencies(0)) < delay + 1.0
    assert max(scene.latencies(0, audio=True)) < delay + 1.0
    assert len(scene.latencies(0, audio=True)) > 0.85 * 50 * 30
    assert scene.decodable(0) > 100
    drops = Counter(scene.tunnel.drops)
    assert drops[Drop.TUNNEL_BEHIND]
    assert drops[Drop.WAITING_FOR_KEYFRAME]
    assert min(later - sooner for sooner, later in zip(scene.asked, scene.asked[1:], strict=False)) >= 1.0


def test_a_slow_line_gets_a_lower_layer_and_then_all_of_it() -> None:
    scene = Scene(SlowLine(500_000, 0.1), (150_000, 400_000, 1_500_000))
    scene.run(8)
    assert scene.layer < 2
    assert max(scene.latencies(0)) < 1.0
    assert 300_000 < scene.estimates[-1] < 1_000_000
    since = scene.line.now
    scene.run(10)
    assert max(scene.latencies(since)) < 0.4
    assert scene.decodable(since) > 0.9 * 10 * scene.fps


@pytest.mark.parametrize("moment", [5.0, 5.2, 5.4])
@pytest.mark.parametrize("delay", [0.01, 0.03])
def test_a_fast_line_that_becomes_slow_at_once(delay: float, moment: float) -> None:
    """What is under way then is not much; pictures go on as soon as it has arrived."""
    scene = Scene(SlowLine(50_000_000, delay), (250_000, 833_000))
    scene.run(moment)
    assert not scene.tunnel.drops
    scene.line.rate_bps, scene.line.delay_s = 500_000, 0.1
    scene.run(10)
    assert max(scene.latencies(moment)) < 0.9
    assert max(scene.latencies(moment, audio=True)) < 0.9
    arrived = [at for at, frame in scene.line.got if at >= moment and not frame.audio]
    assert max(later - sooner for sooner, later in pairwise(arrived)) < 1.2
    assert scene.decodable(moment) > 0.3 * 10 * scene.fps


def test_it_recovers_when_the_line_does() -> None:
    scene = Scene(SlowLine(20_000_000, 0.05))
    scene.run(5)
    assert not scene.tunnel.drops
    scene.line.rate_bps = 300_000
    scene.run(10)
    assert max(scene.latencies(5)) < 2
    assert max(scene.latencies(8)) < 1.2
    scene.line.rate_bps = 20_000_000
    scene.run(2)
    dropped, since = sum(scene.tunnel.drops.values()), scene.line.now
    scene.run(5)
    assert sum(scene.tunnel.drops.values()) == dropped
    assert scene.decodable(since) >= 5 * scene.fps - 6
    assert max(scene.latencies(since)) < 0.15


def test_who_stands_still_for_a_moment_is_no_slow_line() -> None:
    scene = Scene(SlowLine(20_000_000, 0.05))
    scene.run(5)
    scene.line.deaf = True
    scene.run(0.35)
    scene.line.deaf = False
    scene.run(2)
    scene.line.now += 0.7  # the room
    scene.next_picture = scene.next_sound = scene.line.now
    scene.run(2)
    assert not scene.tunnel.drops
    assert not scene.asked


def test_a_page_that_says_nothing_is_sent_nothing_more_and_goes_on_with_a_keyframe() -> None:
    scene = Scene(SlowLine(20_000_000, 0.02))
    scene.run(2)
    scene.line.deaf = True
    scene.run(8)
    assert scene.tunnel.drops[Drop.TUNNEL_STALLED] > 100
    got = len(scene.line.got)
    scene.run(2)
    assert len(scene.line.got) == got
    scene.line.deaf = False
    scene.tunnel.receive(Ack(scene.line.got[-1][1].number).encode())
    scene.run(1)
    pictures = [frame for _, frame in scene.line.got[got:] if not frame.audio]
    assert pictures[0].keyframe
    assert len(pictures) > 15


def test_numbers_have_no_gaps() -> None:
    scene = Scene(SlowLine(400_000, 0.05))
    scene.run(10)
    assert [frame.number for _, frame in scene.line.got] == list(range(1, len(scene.line.got) + 1))
