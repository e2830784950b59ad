"""Frames of a page that come in another order, or not at all: put right, or waited out until a keyframe."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.drops import Drop
from rtclab.rtp.packet import parse_rtp
from rtclab.transport.paths import PathTable
from rtclab.transport.tunnel import TunnelTransport
from rtclab.transport.tunnel_format import Ack, Frame, KeyframeRequest, parse
from rtclab.transport.tunnel_order import MAX_HELD, WAIT_S, Order
from rtclab.transport.tunnel_up import Line


def frame(number: int, mid: str = "0", keyframe: bool = False, rid: str = "") -> Frame:
    return Frame(number, 1_000_000 + 40_000 * number, mid, rid, bytes((number,)), keyframe, audio=mid == "1")


@given(st.lists(st.integers(0, 3), max_size=60))
def test_neighbours_that_are_swapped_are_put_right(delays: list[int]) -> None:
    order = Order()
    coming = sorted(range(1, len(delays) + 1), key=lambda number: number + delays[number - 1])
    got = []
    for number in coming:
        assert order.add(frame(number), 0.0)
        got += [(missing, one.number) for missing, one in order.take(0.0)]
    assert got == [(0, number) for number in range(1, len(delays) + 1)]


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 0.05))))
def test_nothing_comes_twice_or_backwards_and_none_waits_long(coming: list[tuple[int, float]]) -> None:
    order = Order()
    now, got, lost, since = 0.0, [], 0, {}
    for number, pause in coming:
        now += pause
        if order.add(frame(number), now):
            since[number] = now
        for missing, one in order.take(now):
            lost += missing
            got.append(one.number)
            del since[one.number]
        assert len(since) <= MAX_HELD
        assert all(now - at < WAIT_S for at in since.values())
    assert got == sorted(set(got))
    assert order.taken == len(got) + lost


class Lines:
    """Two layers of a picture, and sound, that a page sends."""

    extension_ids: Mapping[str, int] = {}

    def incoming(self, mid: str) -> Line | None:
        video = Line("0", "video", "VP8", 90_000, 96, ("q", "h"))
        return {"0": video, "1": Line("1", "audio", "opus", 48_000, 111)}.get(mid)

    def outgoing(self, ssrc: int) -> Line | None:
        return None

    def ssrc(self, mid: str) -> int | None:
        return None

    def report(self, ssrc: int, now: float) -> bytes:
        return b""


class Scene:
    """A tunnel, what the room gets of it, and what it says to the page."""

    unsent = 0

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[Ack | KeyframeRequest | Frame] = []
        self.got: list[int] = []
        self.tunnel = TunnelTransport(PathTable(), self, Lines(), lambda: self.now, random.Random(1))
        self.tunnel.on_rtp = self.take

    def send_media(self, data: bytes) -> None:
        self.said.append(parse(data))

    def take(self, data: memoryview, length: int, now: float) -> None:
        packet = parse_rtp(bytes(data), length)
        self.got.append(data[packet.payload_start + packet.payload_length - 1])

    def send(self, *frames: Frame) -> None:
        for one in frames:
            self.tunnel.receive(one.encode())

    def asked(self) -> list[str]:
        """The layers of which keyframes were asked for since the last time."""
        rids = [one.rid for one in self.said if isinstance(one, KeyframeRequest)]
        self.said.clear()
        return rids


def test_after_a_gap_pictures_wait_for_keyframes_and_sound_does_not() -> None:
    scene = Scene()
    scene.send(
        frame(1, keyframe=True, rid="q"), frame(2, keyframe=True, rid="h"), frame(3, "1"), frame(4, rid="h")
    )
    assert scene.got == [1, 2, 3, 4]
    assert scene.asked() == []
    scene.send(frame(6, rid="q"), frame(7, "1"), frame(8, rid="h"))
    assert scene.got == [1, 2, 3, 4], "the fifth may still come"
    scene.now += 0.2
    scene.tunnel.tick(scene.now)
    assert scene.got == [1, 2, 3, 4, 7]
    assert scene.tunnel.drops == {Drop.TUNNEL_GAP: 1, Drop.WAITING_FOR_KEYFRAME: 2}
    assert Ack(8) in scene.said
    assert sorted(scene.asked()) == ["h", "q"]
    scene.send(frame(9, rid="h", keyframe=True), frame(10, rid="h"), frame(11, rid="q"))
    assert scene.got == [1, 2, 3, 4, 7, 9, 10]
    assert scene.asked() == [], "it was just done"
    scene.now += 1.5
    scene.send(frame(12, rid="q"))
    assert scene.asked() == ["q"]
    scene.send(frame(13, rid="q", keyframe=True), frame(14, rid="q"))
    assert scene.got[-2:] == [13, 14]


def test_two_that_are_swapped_cost_nothing_and_what_comes_again_is_counted() -> None:
    scene = Scene()
    scene.send(frame(1, keyframe=True, rid="q"), frame(3, rid="q"), frame(2, rid="q"), frame(2, rid="q"))
    assert scene.got == [1, 2, 3]
    assert scene.tunnel.drops == {Drop.TOO_OLD: 1}
    assert scene.asked() == []


def test_a_tunnel_that_is_opened_again_begins_with_a_keyframe() -> None:
    scene = Scene()
    scene.send(frame(1, keyframe=True, rid="q"), frame(2, rid="q"))
    scene.tunnel.reopen(scene)
    scene.send(frame(1, rid="q"), frame(2, rid="q", keyframe=True), frame(3, rid="q"))
    assert scene.got == [1, 2, 2, 3]
    assert scene.asked() == ["q"]


def test_a_picture_that_makes_no_sense_is_one_that_is_missing() -> None:
    scene = Scene()
    lines = scene.tunnel.lines
    lines.incoming = lambda mid: Line("0", "video", "H264", 90_000, 96)  # type: ignore[method-assign]
    start = b"\0\0\0\1"
    for number, payload in enumerate((start + b"\x65\1", b"none", start + b"\x41\3", start + b"\x65\4"), 1):
        scene.send(Frame(number, number, "0", "", payload, keyframe=payload[4:5] == b"\x65"))
    assert scene.got == [1, 4]
    assert scene.tunnel.drops == {Drop.BAD_PAYLOAD: 1, Drop.WAITING_FOR_KEYFRAME: 1}
