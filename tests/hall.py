"""What the tests of the media plane share: a router without sockets, and clients that keep what they get."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from forwarding_rig import PAYLOAD_TYPE, Outbox, Sent, header, producer, vp8
from rtclab.forwarding.client import Client
from rtclab.forwarding.consumer import Consumer
from rtclab.forwarding.producer import Producer
from rtclab.forwarding.router import SLICES, Router
from rtclab.rtp import rtcp
from rtclab.rtp.drops import Drops
from rtclab.rtp.packet import build_rtp
from rtclab.transport.paths import PathTable
from rtclab.transport.port import UdpPort
from rtclab.transport.transport import Transport


class Line:
    """A transport that keeps the RTCP it is given."""

    def __init__(self, row: int, state: str = "connected") -> None:
        self.row = row
        self.state = state
        self.drops = Drops()
        self.packets: list[Any] = []

    def send_rtcp(self, data: bytes) -> None:
        self.packets += rtcp.parse_rtcp(data)

    def plis(self) -> list[int]:
        return [packet.media for packet in self.packets if isinstance(packet, rtcp.Pli)]


class Hall:
    """A router without sockets."""

    def __init__(self) -> None:
        self.router = Router(
            cast(UdpPort, SimpleNamespace(paths=PathTable(), read_reports=lambda: None)),
            1_700_000_000.0,
            1,
            "plain",
        )
        self.outbox = self.router.batch = Outbox()
        self.lines: dict[str, Line] = {}
        self.told: list[tuple[str, str | None, str | None]] = []
        self.router.on_consumer_changed = self._changed

    def _changed(self, consumer: Consumer) -> None:
        reason = consumer.reason.value if consumer.reason else None
        self.told.append((consumer.client_id, consumer.current_rid, reason))

    def tick(self, now: float) -> None:
        """A tick, and a round for each slice of the consumers."""
        self.router.tick(now)
        for _ in range(SLICES):
            self.router.round(now)

    def join(self, name: str, state: str = "connected", now: float = 0.0) -> Client:
        self.lines[name] = Line(len(self.lines), state)
        return self.router.add_client(name, cast(Transport, self.lines[name]), now)

    def publish(
        self, client: Client, id: str = "t1", mid: str = "0", ssrc: int = 1, rids: tuple[str, ...] = ()
    ) -> Producer:
        track = producer(self.outbox, rids)
        track.id = id
        self.router.publish(client, mid, track, {ssrc: None}, 0.0)
        return track

    def watch(self, client: Client, track: Producer, mid: str = "0") -> Consumer:
        number = client.transport.row
        consumer = Consumer(client.id, mid, header(number), number)
        self.router.add_consumer(client, consumer)
        self.router.point(consumer, track, header(number), 0.0)
        return consumer

    def picture(self, client: Client, number: int, now: float, keyframe: bool = False, ssrc: int = 1) -> None:
        payload = vp8(b"picture %d" % number, number, keyframe=keyframe)
        raw = build_rtp(PAYLOAD_TYPE, number, number * 3000, ssrc, payload, marker=True)
        client.on_rtp(memoryview(raw), len(raw), now)
        self.router.drained(now)

    def seen(self, name: str) -> list[Sent]:
        return self.outbox.take(self.lines[name].row)
