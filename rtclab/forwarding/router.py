"""The room's media plane: who sends, who gets, and the clock that drives both.

Everything here runs on the engine's thread and is synchronous. The port calls in with packets; when it
has drained its sockets, `drained` sends whatever came as one batch for each producer; `tick` does what
is due in time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..rtp.packet import RtpPacket
from ..rtp.report_blocks import read_blocks
from ..rtp.rtcp import middle_32, to_ntp
from ..transport.batch import Mode, SendBatch
from ..transport.port import Taken, UdpPort
from .architecture import Architecture
from .client import Client, MediaTransport
from .columns import Header
from .consumer import Consumer
from .layers import Reason
from .levels import AudioLevels
from .producer import Producer

TICK_S = 0.03
# What has time is done a few times a second, much of it at once: the first of its kind after a pause, when
# the processor's caches hold other things, costs several times as much as each that follows.
ROUND_S = 0.1
SLICES = 3  # every consumer is decided on in one round of three: all at once would delay packets
SAMPLE_S = 1.0
UNNEEDED_S = 5.0  # a layer nobody needs may be needed again: publishers take a while to send it anew
UNWATCHED_S = 1.0


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
        self.outputs: dict[str, Producer] = {}  # what the room itself makes, by producer id
        self.architecture: Architecture | None = None
        self.on_consumer_changed: Callable[[Consumer], None] = lambda consumer: None
        self.on_upstream_changed: Callable[[Producer], None] = lambda producer: None
        self._unix_offset = unix_offset
        self._random = random.Random(seed)
        self._dirty: list[Producer] = []
        self._by_ssrc: dict[int, Consumer] = {}  # what viewers see
        self._turn = 0
        self._next_round = 0.0
        self._version = 0
        self._next_sample = 0.0
        self._ssrc = self.new_ssrc()

    def new_ssrc(self) -> int:
        """A random SSRC; with 32 bits and a room's few hundred a collision is not worth a table."""
        return self._random.randrange(1, 2**32)

    def ntp(self, now: float) -> int:
        """The NTP time (64 bit) of a monotonic time in seconds."""
        return to_ntp(now + self._unix_offset)

    # -- who is there -----------------------------------------------------------------------------------

    def add_client(self, id: str, transport: MediaTransport, now: float) -> Client:
        """Take in a client's transport."""
        client = Client(id, transport, self._ssrc, self.ntp, self._dirty.append, self.levels.receive)
        client.on_keyframe_wanted = self.want_keyframe
        self.clients[id] = client
        if self.architecture is not None:
            self.architecture.joined(id, now)
        return client

    def producers(self) -> Iterator[tuple[str, Producer]]:
        """Everything that clients publish, with the id of whose it is."""
        for client in dict.fromkeys(self.publisher.values()):  # few among many viewers
            for producer in client.producers.values():
                yield client.id, producer

    def speakers(self) -> list[str]:
        """Ids of the clients that publish a picture, by when they last became the active speaker."""
        showing = dict.fromkeys(id for id, producer in self.producers() if producer.kind == "video")
        return self.levels.by_turn(showing)

    def remove_client(self, id: str, now: float) -> None:
        """Forget a client with all it sent and got; its transport is closed by whoever opened it."""
        client = self.clients.pop(id, None)
        if client is None:
            return
        for mid in list(client.producers):
            self.unpublish(client, mid, now)
        for consumer in list(client.consumers.values()):
            self.remove_consumer(client, consumer)
        if self.architecture is not None:
            self.architecture.left(id, now)

    def publish(
        self,
        client: Client,
        mid: str,
        producer: Producer,
        ssrcs: dict[int, int | None],
        now: float,
    ) -> None:
        """Take in a client's track."""
        client.publish(mid, producer, ssrcs)
        producer.clock_offset = client.clock_offset
        producer.cname = client.cname
        self.publisher[producer.id] = client
        self.consumers.setdefault(producer.id, [])
        if self.architecture is not None:
            self.architecture.published(producer, client.id, now)

    def unpublish(self, client: Client, mid: str, now: float) -> Producer | None:
        """End a client's track; its viewers keep their m-lines and get nothing."""
        producer = client.unpublish(mid)
        if producer is None:
            return None
        self._end(producer)
        self.publisher.pop(producer.id, None)
        if self.architecture is not None:
            self.architecture.unpublished(producer, now)
        return producer

    def _end(self, producer: Producer) -> None:
        producer.closed = True
        producer.tap = None
        for consumer in self.consumers.pop(producer.id, []):
            consumer.detach()
            self._tell(consumer)

    def add_consumer(self, client: Client, consumer: Consumer) -> None:
        """Take in an m-line on which a client receives, by the transport that it has now."""
        consumer.path = client.transport.row
        client.consumers[consumer.header.ssrc] = self._by_ssrc[consumer.header.ssrc] = consumer

    def remove_consumer(self, client: Client, consumer: Consumer) -> None:
        """Close a receiving m-line."""
        self.point(consumer, None, consumer.header, 0.0)
        client.consumers.pop(consumer.header.ssrc, None)
        self._by_ssrc.pop(consumer.header.ssrc, None)

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
        wanted = consumer.wanted
        if self.architecture is not None:
            index = consumer.decide(now, self.architecture.choose)
        else:
            index = consumer.decide(now)
        if index is not None:
            self._ask(consumer, index, now)
        if consumer.wanted != wanted:
            self.review(consumer.producer, now)
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
        if producer is None or producer.kind != "video":
            return
        if publisher is not None:
            publisher.ask_keyframe(producer.streams[index], f"{consumer.client_id}/{consumer.mid}", now)
        elif self.architecture is not None:
            self.architecture.keyframe_wanted(producer, now)

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

    # -- the architecture -------------------------------------------------------------------------------

    def take_up(self, architecture: Architecture, now: float) -> None:
        """Forward by other rules from now on."""
        former, self.architecture = self.architecture, architecture
        if former is not None:
            former.close()
        for id in self.clients:
            architecture.joined(id, now)
        for id, producer in list(self.producers()):
            architecture.published(producer, id, now)
        self._version = architecture.version
        self._decide_all(now)
        for _, producer in list(self.producers()):
            self.review(producer, now)

    def _decide_all(self, now: float) -> None:
        for consumers in list(self.consumers.values()):
            for consumer in list(consumers):
                self.decide(consumer, now)

    def review(self, producer: Producer, now: float) -> None:
        """Tell the publisher of a track what to send of it: more at once, less when that has lasted."""
        if self.architecture is None or producer.id not in self.publisher:
            return
        asked = self.architecture.upstream(producer)
        told = producer.upstream
        if told.streams > asked.streams and asked.reason not in (Reason.DIRECT, Reason.MIXED):
            if producer.enough is None or producer.enough[0] != asked:
                producer.enough = asked, now
            patience = UNWATCHED_S if asked.reason is Reason.NOT_WATCHED else UNNEEDED_S
            if now < producer.enough[1] + patience:
                return
        elif not told.streams >= asked.streams:
            asked = replace(asked, streams=told.streams | asked.streams)
        producer.enough = None
        if asked.streams == producer.everything.streams:
            bounded = asked.bitrate is not None
            asked = replace(asked, reason=Reason.BANDWIDTH if bounded else producer.everything.reason)
        if asked != told:
            producer.upstream = asked
            self.on_upstream_changed(producer)

    def add_output(self, producer: Producer) -> None:
        """Take in a track that the room itself makes."""
        producer.clock_offset = lambda: 0
        self.outputs[producer.id] = producer
        self.consumers.setdefault(producer.id, [])

    def remove_output(self, producer: Producer) -> None:
        """End it."""
        if self.outputs.pop(producer.id, None) is not None:
            self._end(producer)

    def emit(self, producer: Producer, packets: Sequence[tuple[int, int, bool, bytes]], now: float) -> None:
        """Send packets of a track that the room makes.

        Parameters
        ----------
        producer : Producer
            From `add_output`.
        packets : sequence of tuple
            Sequence number, RTP timestamp, marker and payload of each.
        now : float
            Seconds.
        """
        if producer.id not in self.outputs:
            return
        stream = producer.streams[0]
        for sequence, timestamp, marker, payload in packets:
            header = RtpPacket(0, marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 0, 0, 0, 0, 0, 0, 0, 0)
            again = not stream.alive(now)
            stored, _ = stream.receive(header, memoryview(payload), now)
            if stored is not None:
                producer.news = producer.news or again
                producer.pending.append((stream, stored))
        self._dirty.append(producer)
        self.drained(now)

    # -- in time ----------------------------------------------------------------------------------------

    def move(self, client: Client, transport: MediaTransport, now: float) -> None:
        """Let a client's media go by another transport."""
        client.move(transport, now)
        self.connected(client, now)

    def connected(self, client: Client, now: float) -> None:
        """A client's transport has connected: start what it waits for."""
        for consumer in list(client.consumers.values()):
            self.decide(consumer, now)

    def read_reports(
        self, slots: npt.NDArray[np.uint8], taken: Sequence[Taken]
    ) -> Iterator[tuple[Taken, int]]:
        """Take the receiver reports of many viewers; see `rtclab.transport.port.UdpPort.start`."""
        lengths, packets = [0] * len(slots), dict[int, Taken]()
        for packet in taken:
            lengths[packet.slot] = packet.length
            packets[packet.slot] = packet
        blocks, rest = read_blocks(slots, lengths)
        for slot, block in blocks:
            consumer, packet = self._by_ssrc.get(block.ssrc), packets[slot]
            # nobody reports on what another gets
            if consumer is not None and consumer.path == packet.transport.row:
                consumer.report(block, middle_32(self.ntp(packet.now)), packet.now)
        return ((packets[slot], start) for slot, start in rest)

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
        for client in list(dict.fromkeys(self.publisher.values())):
            client.tick(now)
        if now >= self._next_round:
            self._next_round = now + ROUND_S
            self.port.read_reports()
            self.round(now)

    def round(self, now: float) -> None:
        """Do what has time."""
        if self.architecture is not None:
            self.architecture.tick(now)
            if self._version != self.architecture.version:
                self._version = self.architecture.version
                self._decide_all(now)
        self._turn += 1
        if self._turn % SLICES == 0:
            for producer in [producer for _, producer in self.producers()]:
                self.review(producer, now)
        for consumers in list(self.consumers.values()):
            for consumer in consumers[self._turn % SLICES :: SLICES]:
                if not consumer.settled(now):
                    self.decide(consumer, now)
                consumer.sample(now)
        everything = [*self.outputs.values(), *(producer for _, producer in self.producers())]
        ntp = self.ntp(now)
        for place, producer in enumerate(everything):
            producer.report(self._turn + place, ntp, now)
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_S
            for producer in everything:
                for stream in producer.streams:
                    stream.sample(now)
