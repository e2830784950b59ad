"""How far one stream has been forwarded, and what its viewers have in common."""

from __future__ import annotations

import numpy as np

from .cast import Cast, Shipments
from .columns import NOWHERE, Integers
from .store import Packet


class Progress:
    """How far one stream has been forwarded."""

    __slots__ = (
        "arrival",
        "cast",
        "highest",
        "holes",
        "level",
        "marker",
        "picture",
        "rows",
        "shipments",
        "skipped",
        "skipping",
        "timestamp",
        "tl0",
        "waiting",
    )

    def __init__(self) -> None:
        self.highest: int | None = None
        self.timestamp = 0
        self.picture = NOWHERE
        self.tl0 = 0
        self.marker = True
        self.arrival = 0.0
        self.rows: Integers = np.zeros(0, np.int64)
        self.waiting: Integers = np.zeros(0, np.int64)
        self.cast: Cast | None = None  # of `rows`, once there is need of it and until it changes
        self.shipments = Shipments()
        self.level: int | None = None  # the lowest temporal layer that any row has or may have; None: unknown
        self.skipping = False  # whether some rows do not get the picture under way
        self.skipped: dict[int, Integers] = {}  # rows that did not get a picture, by its timestamp
        # sequence and picture offsets of all rows, by the number of the packet that did not come
        self.holes: dict[int, tuple[Integers, Integers]] = {}

    def note(self, packet: Packet) -> None:
        """This is the newest packet with a payload."""
        self.timestamp = packet.timestamp
        self.marker = packet.marker
        self.arrival = packet.arrival
        if packet.info.picture_id is not None:
            self.picture = packet.info.picture_id
        if packet.info.tl0 is not None:
            self.tl0 = packet.info.tl0
