"""Mesh: the room only signals, and every pair of clients connects directly.

Each publisher encodes and sends once for every other participant, N - 1 times in a room of N; the room
forwards no media at all. Publishers are told to send it nothing, and the m-lines that viewers have with it
stay open, idle, for the next architecture.
"""

from __future__ import annotations

from typing import ClassVar

from .architecture import Architecture, architecture
from .consumer import Consumer
from .layers import Choice, Layer, Reason
from .producer import Producer, Upstream


@architecture("mesh")
class Mesh(Architecture):
    """Nothing goes through the room."""

    direct: ClassVar[bool] = True

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        """Nothing: it comes from the publisher itself."""
        return Choice(None, Reason.DIRECT, pause=True)

    def upstream(self, producer: Producer) -> Upstream:
        """Nothing: it goes to the viewers themselves."""
        return Upstream(frozenset(), Reason.DIRECT)
