"""The fan-out against a slow model of one viewer, over streams that are lost, late and doubled.

The model keeps the set of what a viewer was not given on purpose, and counts in it for each number it
maps: ``out = in + base - how many before it were dropped``. It knows no columns, offsets or bursts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarding_rig import Outbox, Sent, header, producer, rtp, vp8
from rtclab.forwarding.cast import Sent as Found
from rtclab.forwarding.columns import NOWHERE
from rtclab.forwarding.fanout import TOP_TEMPORAL
from rtclab.forwarding.producer import Producer
from rtclab.forwarding.stream import Stream
from rtclab.rtp.sequence import difference

FPS = 30
TICKS = 90000 // FPS
PICTURES = 25


@dataclass(frozen=True)
class In:
    """A packet as published; numbers are not wrapped."""

    stream: int
    sequence: int
    timestamp: int
    at: float
    marker: bool = False
    picture: int = 0
    tl0: int = 0
    temporal: int = 0
    sync: bool = False
    keyframe: bool = False
    start: bool = False
    body: bytes = b""

    def payload(self) -> bytes:
        if not self.body:
            return b""
        return vp8(
            self.body,
            self.picture,
            self.tl0,
            self.temporal,
            self.sync,
            self.keyframe and self.start,
            self.start,
        )


class Out(NamedTuple):
    """A packet as a viewer must get it; `segment` counts its splices, the timestamp is as published."""

    sequence: int
    picture: int
    tl0: int
    marker: bool
    body: bytes
    segment: int
    timestamp: int


def publish(stream: int, rng: random.Random, pictures: int, layers: int, padding: float) -> list[In]:
    """A stream of pictures in `layers` temporal layers, of one to four packets each."""
    sequence, timestamp = rng.choice([100, 65500]), rng.choice([5000, 2**32 - 20 * TICKS])
    picture, tl0 = rng.choice([0, 32750]), rng.choice([0, 250])
    pattern = {1: [0], 2: [0, 1], 3: [0, 2, 1, 2]}[layers]
    packets: list[In] = []
    for index in range(pictures):
        keyframe = index == 0 or rng.random() < 0.12
        temporal = 0 if keyframe else pattern[index % len(pattern)]
        tl0 += temporal == 0
        sync = temporal > 0 and rng.random() < 0.4
        count = rng.randint(1, 4)
        for part in range(count):
            body = b"%d/%d/%d" % (stream, index, part)
            packets.append(
                In(
                    stream, sequence, timestamp, index / FPS + stream / 1000, part == count - 1, picture, tl0,
                    temporal, sync, keyframe, part == 0, body * rng.randint(1, 3),
                )
            )  # fmt: skip
            sequence += 1
        if rng.random() < padding:
            packets.append(In(stream, sequence, timestamp, index / FPS + stream / 1000))
            sequence += 1
        picture += 1
        timestamp += TICKS
    return packets


class Feed:
    """What the room knows of one stream."""

    def __init__(self) -> None:
        self.arrived: dict[int, In] = {}
        self.first: int | None = None
        self.highest: int | None = None
        self.newest = In(0, 0, -1, 0)
        self.temporal = False
        self.keyframe: In | None = None

    def since_keyframe(self) -> list[In]:
        """Everything from the last keyframe on, if nothing of it is missing."""
        if self.keyframe is None or self.highest is None or self.highest < self.keyframe.sequence:
            return []
        wanted = range(self.keyframe.sequence, self.highest + 1)
        return [self.arrived[number] for number in wanted] if self.arrived.keys() >= set(wanted) else []


class Viewer:
    """The model: what one viewer must be sent."""

    def __init__(self, sequence: int) -> None:
        self.current: int | None = None
        self.target: int | None = None
        self.limit = self.level = TOP_TEMPORAL
        self.last: tuple[int, int | None, int] = (
            sequence,
            None,
            0,
        )  # sequence, picture and TL0PICIDX sent last
        self.complete = True
        self.skips = False
        self.sent: list[Out] = []
        self.segment = 0

    def leave(self, feeds: list[Feed]) -> None:
        if self.current is None:
            return
        feed = feeds[self.current]
        assert feed.highest is not None
        sequence = feed.highest + self.base - sum(one <= feed.highest for one in self.dropped)
        picture = feed.newest.picture + self.picture_base
        picture -= sum(one <= feed.newest.picture for one in self.dropped_pictures)
        self.last = sequence, picture, feed.newest.tl0 + self.tl0_base
        self.complete = feed.newest.marker or self.skips
        self.current = None

    def splice(self, feeds: list[Feed], first: In) -> None:
        self.leave(feeds)
        sequence, picture, tl0 = self.last
        self.base = sequence + (1 if self.complete else 2) - first.sequence
        self.picture_base = 0 if picture is None else picture + 1 - first.picture
        self.tl0_base = 0 if picture is None else tl0 + 1 - first.tl0
        self.dropped: set[int] = set()
        self.dropped_pictures: set[int] = set()
        self.dropped_timestamps: set[int] = set()
        self.epoch = first.sequence
        self.skips = False
        self.level = self.limit
        self.current = self.target = first.stream
        self.segment += 1

    def give(self, packet: In) -> None:
        if not packet.body:
            self.dropped.add(packet.sequence)
            return
        sequence = packet.sequence + self.base - sum(one < packet.sequence for one in self.dropped)
        picture = (
            packet.picture + self.picture_base - sum(one < packet.picture for one in self.dropped_pictures)
        )
        tl0 = packet.tl0 + self.tl0_base
        numbers = sequence & 0xFFFF, picture & 0x7FFF, tl0 & 0xFF, packet.marker
        self.sent.append(Out(*numbers, packet.body, self.segment, packet.timestamp))

    def catch_up(self, feeds: list[Feed], stream: int) -> None:
        packets = feeds[stream].since_keyframe()
        if self.current is None and packets:
            self.splice(feeds, packets[0])
            for packet in packets:
                self.give(packet)
            self.epoch = packets[-1].sequence
            feeds[stream].newest = [packet for packet in packets if packet.body][-1]

    def aim(self, feeds: list[Feed], stream: int) -> None:
        self.target = stream
        self.catch_up(feeds, stream)

    def late(self, feeds: list[Feed], packet: In) -> None:
        if self.current == packet.stream and packet.sequence > self.epoch and packet.body:
            if packet.timestamp not in self.dropped_timestamps:
                self.give(packet)
        elif self.target == packet.stream:
            self.catch_up(feeds, packet.stream)

    def in_order(self, feeds: list[Feed], packet: In) -> None:
        feed = feeds[packet.stream]
        new_picture = packet.timestamp != feed.newest.timestamp
        opens = packet.keyframe and packet.start
        if self.target == packet.stream != self.current and opens:
            self.splice(feeds, packet)
        if self.current != packet.stream:
            return
        if packet.body and new_picture and feed.temporal:
            self.level = min(self.level, self.limit)
            if opens:
                self.level = self.limit
            elif packet.start and packet.sync and self.level < packet.temporal <= self.limit:
                self.level = packet.temporal
            self.skips = packet.temporal > self.level
            if self.skips:
                self.dropped_pictures.add(packet.picture)
                self.dropped_timestamps.add(packet.timestamp)
        if packet.body and self.skips:
            self.dropped.add(packet.sequence)
        else:
            self.give(packet)


def travel(packets: list[In], rng: random.Random, loss: float, late: float, doubled: float) -> list[In]:
    """The order in which packets arrive."""
    arrivals = []
    for packet in packets:
        if rng.random() < loss:
            continue
        arrivals.append((packet.at + (rng.choice([0.001, 0.05, 0.3]) if rng.random() < late else 0), packet))
        if rng.random() < doubled:
            arrivals.append((packet.at + 0.1, packet))
    arrivals.sort(key=lambda arrival: arrival[0])
    return [packet for _, packet in arrivals]


def run(seed: int, loss: float, late: float, doubled: float, padding: float, actions: float) -> list[Viewer]:
    """Send the same through the fan-out and the model, and compare what every viewer got."""
    rng = random.Random(seed)
    rids = ("q", "h", "f")[: rng.randint(1, 3)]
    outbox = Outbox(rng.choice(["mmsg", "gso"]))
    track = producer(outbox, rids)
    fanout = track.fanout
    layers = rng.choice([1, 2, 3])
    published = [publish(index, rng, PICTURES, layers, padding) for index in range(len(rids))]
    arrivals = merge([travel(packets, rng, loss, late, doubled) for packets in published], rng)
    feeds = [Feed() for _ in rids]
    rows = [fanout.add(10 + index, header(index)) for index in range(4)]
    models = [Viewer(int(fanout.last_sequence[row])) for row in rows]
    position = 0
    while position < len(arrivals):
        now = arrivals[position].at
        for row, model in zip(rows, models, strict=True):
            if rng.random() >= actions:
                continue
            action = rng.choice(["aim", "aim", "temporal", "pause"])
            if action == "aim":
                stream = rng.randrange(len(rids))
                fanout.aim(row, stream, now)
                model.aim(feeds, stream)
            elif action == "temporal":
                model.limit = rng.choice([0, 1, TOP_TEMPORAL])
                fanout.limit_temporal(row, model.limit)
            else:
                fanout.pause(row)
                model.leave(feeds)
                model.target = None
        count = rng.randint(1, 6)
        stored = [one for one in arrivals[position : position + count] if arrive(track, feeds, one, now)]
        for packet in stored:
            follow(feeds, models, packet)
        track.forward(now)
        position += count
        for row, model in zip(rows, models, strict=True):
            expected = NOWHERE if model.current is None else model.current
            assert fanout.current[row] == expected
    for index, model in enumerate(models):
        sent = outbox.take(10 + index)
        compare(sent, model, 1000 + index)
        found = track.fanout.find(rows[index], [one.sequence for one in sent])
        assert len(found) == len(sent)
        for one in sent:
            check_found(*found[one.sequence], one)
    return models


def merge(streams: list[list[In]], rng: random.Random) -> list[In]:
    """Streams as they come over one path: each in its own order."""
    merged = []
    while any(streams):
        stream = min((one for one in streams if one), key=lambda one: one[0].at)
        merged.append(stream.pop(0))
    return merged


def arrive(track: Producer, feeds: list[Feed], packet: In, now: float) -> bool:
    """A packet comes in; whether it is new."""
    stream, feed = track.streams[packet.stream], feeds[packet.stream]
    padding = 0 if packet.body else 30
    parsed = rtp(packet.sequence, packet.timestamp, packet.payload(), packet.marker, padding=padding)
    stored, _ = stream.receive(*parsed, now)
    assert (stored is None) == (packet.sequence in feed.arrived)
    if stored is None:
        return False
    track.pending.append((stream, stored))
    feed.arrived[packet.sequence] = packet
    feed.temporal |= packet.temporal > 0
    if packet.keyframe and packet.start and (feed.keyframe is None or packet.picture > feed.keyframe.picture):
        feed.keyframe = packet
    return True


def follow(feeds: list[Feed], models: list[Viewer], packet: In) -> None:
    """What the models make of a new packet."""
    feed = feeds[packet.stream]
    late = feed.highest is not None and packet.sequence <= feed.highest
    in_hole = feed.first is not None and late and packet.sequence > feed.first
    if in_hole and packet.body and packet.timestamp > feed.newest.timestamp:
        feed.newest = packet  # only padding came after it
        for model in models:
            model.skips &= model.current != packet.stream
    for model in models:
        (model.late if late else model.in_order)(feeds, packet)
    if not late:
        feed.first = packet.sequence if feed.first is None else feed.first
        feed.highest = packet.sequence
        if packet.body:
            feed.newest = packet


def compare(sent: list[Sent], model: Viewer, ssrc: int) -> None:
    seen = [(one.sequence, one.picture_id, one.tl0, one.marker) for one in sent]
    assert seen == [one[:4] for one in model.sent]
    assert len({one.sequence for one in sent}) == len(sent)
    offsets: dict[int, int] = {}
    newest: int | None = None
    for one, wanted in zip(sent, model.sent, strict=True):
        assert one.payload.endswith(wanted.body)
        assert (one.ssrc, one.mid) == (ssrc, "0")
        offset = (one.timestamp - wanted.timestamp) & 0xFFFFFFFF
        ahead = 1 if newest is None else difference(one.timestamp, newest, 32)
        assert wanted.segment in offsets or ahead > 0, "time went back at a splice"
        assert offsets.setdefault(wanted.segment, offset) == offset, "time jumped without a splice"
        if ahead > 0:
            newest = one.timestamp


def check_found(stream: Stream, found: Found, one: Sent) -> None:
    """What was sent is found by its number, with all it needs to be sent once more."""
    packet, timestamp, numbers = found
    assert (timestamp, packet.marker) == (one.timestamp, one.marker)
    assert one.picture_id is not None
    assert one.tl0 is not None
    assert numbers == one.picture_id << 8 | one.tl0
    stored = stream.store.data[packet.slot, : packet.length].tobytes()
    assert stored[5:] == one.payload[5:]


SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_nothing_lost(seed: int) -> None:
    for model in run(seed, loss=0, late=0, doubled=0, padding=0.1, actions=0.03):
        for before, after in pairwise(model.sent):
            step = (after.sequence - before.sequence) & 0xFFFF
            cut_off = after.segment != before.segment and not before.marker
            assert step == 1 or (step == 2 and cut_off)
            assert difference(after.picture, before.picture, 15) in (0, 1)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.sampled_from([0, 0.02, 0.2]), st.sampled_from([0, 0.05, 0.3]), st.sampled_from([0, 0.1]))
def test_lost_late_and_doubled(seed: int, loss: float, late: float, doubled: float) -> None:
    run(seed, loss, late, doubled, padding=0.1, actions=0.02)


@pytest.mark.parametrize("seed", range(10))
def test_everything_at_once(seed: int) -> None:
    run(seed, loss=0.1, late=0.2, doubled=0.1, padding=0.3, actions=0.1)
