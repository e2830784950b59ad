"""With `last_n` a viewer gets the pictures of that many others, and its downlink is that of the formula."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

import rtclab
from rtclab.peers import Peer, RemoteTrack
from waiting import until

PEOPLE = 6


def traffic(peers: Sequence[Peer]) -> pd.Series[float]:
    """Payload bytes so far of everybody together, by direction."""
    rows = pd.concat([peer.stats() for peer in peers])
    return rows[rows.kind == "video"].groupby("direction").payload_bytes.sum().astype(float)


@pytest.mark.timeout(120)
def test_two_of_six_cut_the_downlink_by_the_formula() -> None:
    with rtclab.Room() as room:
        peers = [room.join(f"guest {number}") for number in range(PEOPLE)]
        for number, peer in enumerate(peers):
            peer.publish(rtclab.TestPattern(160, 90, fps=10, sound=False, stream=number))
        tracks: list[RemoteTrack] = [
            peer.watch(other.name, timeout=30) for peer in peers for other in peers if peer is not other
        ]
        for track in tracks:
            track.next_frame(timeout=30)

        def pictures_of_each(last_n: int | None) -> float:
            """Downlink over uplink while everybody sends 30 frames."""
            room.last_n = last_n
            left_out = 0 if last_n is None else PEOPLE * (PEOPLE - 1 - last_n)
            until(lambda: sum(room.stats().reason == "last_n") == left_out, "nobody is left out")
            flowing = next(track for track in tracks if track.participant == peers[0].name)
            first = flowing.received
            until(lambda: flowing.received > first + 5, "pictures stand still")
            before, first = traffic(peers), flowing.received
            until(lambda: flowing.received >= first + 30, "pictures stand still")
            grown = traffic(peers) - before
            return float(grown["down"] / grown["up"])

        everybody, two = pictures_of_each(None), pictures_of_each(2)
    assert everybody == pytest.approx(PEOPLE - 1, rel=0.1)
    assert two == pytest.approx(2, rel=0.1)
