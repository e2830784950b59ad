"""Which packets of a stream leave together: all that can be written for every viewer at once."""

from __future__ import annotations

from ..transport.batch import SLOTS
from .store import Packet

MAX_BURST = SLOTS // 4


def chunk_end(packets: list[Packet], start: int) -> int:
    """The index after the last packet that can leave for one row together with the one at `start`."""
    first = packets[start]
    end = start + 1
    limit = min(len(packets), start + SLOTS) if first.length else end
    while end < limit:
        packet = packets[end]
        if not packet.length or (packet.info.picture_id is None) != (first.info.picture_id is None):
            break
        end += 1
    return end


def burst_end(packets: list[Packet], start: int) -> int:
    """The index after the last packet of the picture that begins at `start` that can leave with it."""
    first = packets[start]
    end = start + 1
    limit = min(len(packets), start + MAX_BURST) if first.length else end
    while end < limit:
        packet = packets[end]
        info = packet.info
        if (
            packet.sequence != first.sequence + end - start
            or packet.timestamp != first.timestamp
            or not packet.length
            or (info.keyframe and info.start and not first.info.keyframe)  # H.264: after a delimiter
        ):
            break
        end += 1
    return end
