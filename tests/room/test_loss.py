"""Packet loss on the way to a viewer, made good by NACK and retransmission (RFC 4585, RFC 4588)."""

from __future__ import annotations

import pytest

import rtclab
from room_tools import frame_number, lose_packets


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_five_percent_loss_costs_no_more_than_one_frame_in_a_hundred(codec: str) -> None:
    with rtclab.Room(video_codecs=[codec]) as room:
        room.join("alice").publish(rtclab.TestPattern(320, 180, fps=20, sound=False))
        bob = room.join("bob")
        video = bob.watch("alice", queue=300)
        whole = room.join("carol").watch("alice", queue=300)  # what there is to receive
        first = frame_number(video)
        lost = lose_packets(bob, 0.05, seed=5)
        numbers = [first]
        while numbers[-1] - first < 200:
            numbers.append(frame_number(video))
        sent = [frame_number(whole)]
        while sent[-1] < numbers[-1]:
            sent.append(frame_number(whole))
        assert numbers == sorted(set(numbers))
        assert lost() >= 5
        assert len(numbers) >= 0.99 * sum(number >= first for number in sent)
        stats = room.stats()
        (row,) = stats[(stats.direction == "out") & (stats.viewer == "bob")].to_dict("records")
        assert row["retransmitted_packets"] >= 3
        assert row["nacks"] >= 3
