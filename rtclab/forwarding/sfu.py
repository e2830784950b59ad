"""SFU: simulcast and temporal layers, chosen for each viewer (RFC 7667 section 3.7).

The layer follows the viewer's choice, the size of its view and its losses (`layers.LayerSelector`);
publishers send only the layers that somebody is to get. With last-N a viewer gets the pictures of the N
other participants who spoke last, and the sound of all (Grozev et al., "Last N", NOSSDAV 2015).
"""

from __future__ import annotations

from .architecture import Architecture, Stage, architecture
from .consumer import Consumer
from .layers import Choice, Layer, Reason
from .producer import Producer, Upstream


@architecture("sfu")
class Sfu(Architecture):
    """A layer for each viewer.

    Attributes
    ----------
    order : list of str
        Ids of the clients that publish a picture, by when they last became the active speaker; who never
        was comes after those, in the order of publishing.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.order: list[str] = []
        self._last_n = stage.options.last_n

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        """The layer that fits the view, unless the publisher is not among the last N."""
        last_n = self._last_n
        if last_n is not None and consumer.producer is not None and consumer.producer.kind == "video":
            publisher = self.stage.router.publisher.get(consumer.producer.id)
            others = [client_id for client_id in self.order if client_id != consumer.client_id]
            if publisher is not None and publisher.id not in others[:last_n]:
                return Choice(None, Reason.LAST_N, pause=True)
        return consumer.selector.choose(layers)

    def upstream(self, producer: Producer) -> Upstream:
        """The layers that somebody is to get, or else the smallest, so that who joins sees it at once."""
        needed = self.needed(producer) or frozenset([producer.by_size()[0].index])
        reason = Reason.LAYER_NOT_NEEDED if len(needed) < len(producer.streams) else None
        return Upstream(needed, reason, self.bound(producer))

    def published(self, producer: Producer, client_id: str, now: float) -> None:
        """Who shows a picture has a place in the order."""
        self._reorder()

    def unpublished(self, producer: Producer, now: float) -> None:
        """Who shows none any more loses it."""
        self._reorder()

    def tick(self, now: float) -> None:
        """Let the active speaker come first."""
        self.stage.router.levels.loudest(now)
        self._reorder()

    def _reorder(self) -> None:
        order = self.stage.router.speakers()
        last_n = self.stage.options.last_n
        if last_n != self._last_n or (last_n is not None and order != self.order):
            self._last_n = last_n
            self.version += 1
        self.order = order
