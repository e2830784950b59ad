"""What a tunnel has to know of its client's m-lines, as the client's producers and consumers have it."""

from __future__ import annotations

from collections.abc import Mapping

from ..transport.tunnel_up import Line
from .client import Client


class ClientLines:
    """The m-lines of one client; see `rtclab.transport.tunnel.Lines`.

    Attributes
    ----------
    client : Client or None
        Whose; None until its first offer is answered.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.client = client

    @property
    def extension_ids(self) -> Mapping[str, int]:
        """Header extension ids by URI, of what the client sends."""
        return self.client.extension_ids if self.client is not None else {}

    def incoming(self, mid: str) -> Line | None:
        """An m-line on which the client sends."""
        producer = self.client.producers.get(mid) if self.client is not None else None
        if producer is None:
            return None
        rids = tuple(stream.rid for stream in producer.streams if stream.rid is not None)
        return Line(mid, producer.kind, producer.codec, producer.clock_rate, producer.payload_type, rids)

    def outgoing(self, ssrc: int) -> Line | None:
        """An m-line on which it receives, and what it receives there now."""
        consumer = self.client.consumers.get(ssrc) if self.client is not None else None
        producer = consumer.producer if consumer is not None else None
        if consumer is None or producer is None:
            return None
        rid = consumer.current_rid or ""
        return Line(consumer.mid, producer.kind, producer.codec, producer.clock_rate, rid=rid)

    def ssrc(self, mid: str) -> int | None:
        """The SSRC of an m-line on which it receives."""
        consumers = self.client.consumers if self.client is not None else {}
        return next((ssrc for ssrc, consumer in consumers.items() if consumer.mid == mid), None)

    def report(self, ssrc: int, now: float) -> bytes:
        """A sender report for what it receives; empty if nothing flows."""
        consumer = self.client.consumers.get(ssrc) if self.client is not None else None
        if self.client is None or consumer is None:
            return b""
        return self.client.sender_report(ssrc, consumer, now)
