"""On-request relay: one encoding of each publisher, sent to those who ask for it.

There are no layers and no adaptation: whoever watches a track gets its largest encoding, whoever does not
look at it gets nothing, and a publisher whom nobody watches is told to stop sending until somebody does.
"""

from __future__ import annotations

from .architecture import Architecture, architecture
from .consumer import Consumer
from .layers import Choice, Layer, Reason
from .producer import Producer, Upstream


@architecture("relay")
class Relay(Architecture):
    """The largest encoding for those who ask."""

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        """The largest encoding, if the viewer looks at it."""
        if not consumer.selector.visible:
            return Choice(None, Reason.NOT_ASKED, pause=True)
        largest = layers[-1]
        if not largest.alive:
            return Choice(None, Reason.PUBLISHER_SENDS_NOTHING)
        return Choice(largest.index, None)

    def upstream(self, producer: Producer) -> Upstream:
        """One encoding for those who watch, or none."""
        needed = self.needed(producer)
        if not needed:
            return Upstream(needed, Reason.NOT_WATCHED)
        reason = Reason.LAYER_NOT_NEEDED if len(producer.streams) > 1 else None
        return Upstream(needed, reason, self.bound(producer))
