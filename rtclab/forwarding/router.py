"""The room's media plane: who sends, who gets, and the clock that drives both.

Everything here runs on the engine's thread and is synchronous. The port calls in with packets; when it
has drained its sockets, `drained` sends whatever came as one batch for each producer; `tick` does what
is due in time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..rtp.rtcp import to_ntp
from ..transport.batch import Mode, SendBatch
from ..transport.port import UdpPort
from ..transport.transport import Transport
from .client import Client
from .columns import Header
from .consumer import Consumer
from .levels import AudioLevels
from .producer import Producer

TICK_S = 0.02
SLICES = 12  # every consumer is decided on in one tick of twelve: all at once would delay packets
SAMPLE_S = 1.0


class Router:
    """Producers, consumers and clients of one room.

    Parameters
    ----------
    port : UdpPort
        Where packets come in and go out.
    unix_offset : float
        Unix time minus the loop's monotonic time, fixed so that a step of the wall clock moves nothing.
    seed : int, optional
        Seed of SSRCs.
    mode : {"gso", "mmsg", "plain"}, optional
        How packets leave; the fastest by default.
    """

    def __init__(
        self, port: UdpPort, unix_offset: float, seed: int | None = None, mode: Mode | None = None
    ) -> None:
        self.port = port
        self.batch = SendBatch(port.paths, mode)
        self.clients: dict[str, Client] = {}
        self.consumers: dict[str, list[Consumer]] = {}  # by producer id
        self.publisher: dict[str, Client] = {}  # by producer id
        self.levels = AudioLevels()
        self.on_consumer_changed: Callable[[Consumer], None] = lambda consumer: None
        self._unix_offset = unix_offset
        self._random = random.Random(seed)
        self._dirty: list[Producer] = []
        self._slice = 0
        self._next_sample = 0.0
        self._ssrc = self.new_ssrc()

    def new_ssrc(self) -> int:
        """A random SSRC; with 32 bits and a room's few hundred a collision is not worth a table."""
        return self._random.randrange(1, 2**32)

    def ntp(self, now: float) -> int:
        """The NTP time (64 bit) of a monotonic time in seconds."""
        return to_ntp(now + self._unix_offset)

    # -- who is there -----------------------------------------------------------------------------------

    def add_client(self, id: str, transport: Transport) -> Client:
        """Take in a client's transport."""
        client = Client(id, transport, self._ssrc, self.ntp, self._dirty.append, self.levels.receive)
        client.on_keyframe_wanted = self.want_keyframe
        self.clients[id] = client
        return client

    def remove_client(self, id: str, now: float) -> None:
        """Forget a client with all it sent and got; its transport is closed by whoever opened it."""
        client = self.clients.pop(id, None)
        if client is None:
            return
        for mid in list(client.producers):
            self.unpublish(client, mid, now)
        for consumer in list(client.consumers.values()):
            self.remove_consumer(client, consumer)

    def publish(
        self,
        client: Client,
        mid: str,
        producer: Producer,
        ssrcs: dict[int, int | None],
    ) -> None:
        """Take in a client's track."""
        client.publish(mid, producer, ssrcs)
        producer.clock_offset = client.clock_offset
        producer.cname = client.cname
        self.publisher[producer.id] = client
        self.consumers.setdefault(producer.id, [])

    def unpublish(self, client: Client, mid: str, now: float) -> Producer | None:
        """End a client's track; its viewers keep their m-lines and get nothing."""
        producer = client.unpublish(mid)
        if producer is None:
            return None
        producer.closed = True
        for consumer in self.consumers.pop(producer.id, []):
            consumer.detach()
            self._tell(consumer)
        self.publisher.pop(producer.id, None)
        return producer

    def add_consumer(self, client: Client, mid: str, header: Header) -> Consumer:
        """Open an m-line on which a client receives."""
        consumer = Consumer(client.id, mid, header, client.transport.row)
        client.consumers[header.ssrc] = consumer
        return consumer

    def remove_consumer(self, client: Client, consumer: Consumer) -> None:
        """Close a receiving m-line."""
        self.point(consumer, None, consumer.header, 0.0)
        client.consumers.pop(consumer.header.ssrc, None)

    def point(self, consumer: Consumer, producer: Producer | None, header: Header, now: float) -> None:
        """Let a consumer have another producer, or none; packets flow once its client is connected."""
        if consumer.producer is not None and consumer.producer is not producer:
            viewers = self.consumers.get(consumer.producer.id, [])
            if consumer in viewers:
                viewers.remove(consumer)
            consumer.detach()
        if producer is None:
            return
        if consumer.producer is None:
            consumer.attach(producer, header)
            self.consumers.setdefault(producer.id, []).append(consumer)
        elif consumer.row is not None:
            consumer.header = header
            producer.fanout.set_header(consumer.row, header)
        self.decide(consumer, now)

    # -- keyframes and layers ---------------------------------------------------------------------------

    def decide(self, consumer: Consumer, now: float) -> None:
        """Choose the layer of a consumer and ask for the keyframe that takes."""
        client = self.clients.get(consumer.client_id)
        if consumer.producer is None or client is None or client.transport.state != "connected":
            return
        index = consumer.decide(now)
        if index is not None:
            self._ask(consumer, index, now)
        self._tell(consumer)

    def want_keyframe(self, consumer: Consumer, now: float) -> None:
        """A viewer asks for a keyframe of what it gets."""
        if consumer.producer is not None and consumer.row is not None:
            index = int(consumer.producer.fanout.current[consumer.row])
            if index >= 0:
                self._ask(consumer, index, now)

    def _ask(self, consumer: Consumer, index: int, now: float) -> None:
        producer = consumer.producer
        publisher = self.publisher.get(producer.id) if producer is not None else None
        if producer is not None and publisher is not None and producer.kind == "video":
            publisher.ask_keyframe(producer.streams[index], f"{consumer.client_id}/{consumer.mid}", now)

    def _tell(self, consumer: Consumer) -> None:
        state = (
            consumer.producer,
            consumer.current_rid,
            consumer.target_rid,
            consumer.temporal,
            consumer.reason,
        )
        if consumer.told != state:
            consumer.told = state
            self.on_consumer_changed(consumer)

    # -- in time ----------------------------------------------------------------------------------------

    def connected(self, client: Client, now: float) -> None:
        """A client's transport has connected: start what it waits for."""
        for consumer in list(client.consumers.values()):
            self.decide(consumer, now)

    def drained(self, now: float) -> bool:
        """The sockets are empty: forward all that came.

        Returns
        -------
        bool
            Whether what came last was the end of a picture, so that there is time for other things now.
        """
        dirty, self._dirty[:] = list(self._dirty), []
        complete = True
        for producer in dirty:
            if producer.news:  # a stream has begun: nobody shall wait for a slice's turn
                producer.news = False
                for consumer in list(self.consumers.get(producer.id, [])):
                    self.decide(consumer, now)
            if producer.kind == "video" and producer.pending:
                complete = complete and producer.pending[-1][1].marker
            producer.forward(now)
        return complete

    def tick(self, now: float) -> None:
        """Do what is due."""
        # of those who only watch, most have nothing to do in most ticks
        for client in [one for one in self.clients.values() if one.producers or now >= one.next_report]:
            client.tick(now)
        self._slice = (self._slice + 1) % SLICES
        for consumers in list(self.consumers.values()):
            for consumer in consumers[self._slice :: SLICES]:
                if not consumer.settled(now):
                    self.decide(consumer, now)
                consumer.sample(now)
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_S
            for client in self.clients.values():
                for producer in client.producers.values():
                    for stream in producer.streams:
                        stream.sample(now)
