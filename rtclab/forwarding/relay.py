"""On-request relay: one encoding of each publisher, sent to those who ask for it.

There are no layers and no adaptation: whoever watches a track gets its largest encoding, whoever does not
look at it gets nothing, and a publisher whom nobody watches is told to stop sending until somebody does. What
a viewer reports of loss or bandwidth changes nothing. Only where media goes without UDP is there a bound, as
in an SFU: what does not fit through such a line waits in it, until the picture is seconds old. If all who
watch come by such lines, the publisher is asked for no more than the fastest of them takes.
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
        """One encoding for those who watch, or none; see above for its bound."""
        needed = self.needed(producer)
        if not needed:
            return Upstream(needed, Reason.NOT_WATCHED)
        reason = Reason.LAYER_NOT_NEEDED if len(producer.streams) > 1 else None
        return Upstream(needed, reason, self.bound(producer))
