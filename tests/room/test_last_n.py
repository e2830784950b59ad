"""With `last_n` a viewer gets the pictures of that many others, and its downlink is that of the formula."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

import rtclab
from rtclab.peers import Peer, RemoteTrack
from waiting import until

PEOPLE = 6


def traffic(peers: Sequence[Peer], direction: str) -> pd.Series[float]:
    """Payload bytes of video so far, by the name of who sent or got them."""
    counted = {}
    for peer in peers:
        rows = peer.stats()
        of_it = rows[(rows.kind == "video") & (rows.direction == direction)]
        counted[peer.name] = float(of_it.payload_bytes.sum())
    return pd.Series(counted)


def shown(room: rtclab.Room) -> pd.Series[int]:
    """How many viewers get each participant's picture."""
    stats = room.stats()
    rows = stats[(stats.direction == "out") & (stats.kind == "video") & (stats.reason != "last_n")]
    return rows.groupby("publisher").size()


@pytest.mark.timeout(240)
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

        def downlink(last_n: int | None) -> tuple[float, float]:
            """What all get while everybody sends 30 frames, and what the formula says, in bytes."""
            room.last_n = last_n
            left_out = 0 if last_n is None else PEOPLE * (PEOPLE - 1 - last_n)
            until(lambda: sum(room.stats().reason == "last_n") == left_out, "nobody is left out")
            flowing = next(track for track in tracks if track.participant == peers[0].name)
            first = flowing.received
            until(lambda: flowing.received > first + 5, "pictures stand still")
            up, down, first = traffic(peers, "up"), traffic(peers, "down"), flowing.received
            until(lambda: flowing.received >= first + 30, "pictures stand still")
            sent, got = traffic(peers, "up") - up, traffic(peers, "down") - down
            viewers = shown(room)
            assert viewers.sum() == PEOPLE * (PEOPLE - 1 if last_n is None else last_n)
            return float(got.sum()), float((sent * viewers).sum())

        everybody, two = downlink(None), downlink(2)
    for measured, formula in (everybody, two):
        assert measured == pytest.approx(formula, rel=0.1)
