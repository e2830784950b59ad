"""What the tests of rooms share: reading numbered frames, and reaching below a headless peer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rtclab import Peer, RemoteTrack
from rtclab.measure import read_frame_code


def frame_number(track: RemoteTrack, timeout: float = 10) -> int:
    """The number in the next picture of a test pattern."""
    code = read_frame_code(track.next_frame(timeout))
    assert code is not None, "the number in the picture is not readable"
    return code.frame


def frame_numbers(track: RemoteTrack, count: int, timeout: float = 10) -> list[int]:
    """The numbers in the next `count` pictures."""
    return [frame_number(track, timeout) for _ in range(count)]


def readable_numbers(track: RemoteTrack, count: int, timeout: float = 10) -> list[int]:
    """The next `count` numbers; a starved aiortc peer may show a broken picture on a reused m-line."""
    numbers: list[int] = []
    for _ in range(count + 30):
        code = read_frame_code(track.next_frame(timeout))
        if code is not None:
            numbers.append(code.frame)
        if len(numbers) == count:
            break
    return numbers


def waiting_frames(track: RemoteTrack, taken: int) -> int:
    """How many frames can be taken at once, when `taken` have been taken so far."""
    return track.received - track.dropped - taken


def ice_connection(peer: Peer) -> Any:
    """The aioice connection below a headless peer."""
    client = peer._client
    assert client is not None
    return client._connection.getTransceivers()[0].receiver.transport.transport._connection


def lose_packets(peer: Peer, fraction: float, seed: int) -> Callable[[], int]:
    """Drop a fraction of the SRTP and SRTCP packets that reach a peer; returns a counter of them."""
    connection = ice_connection(peer)
    deliver = connection.data_received
    generator = random.Random(seed)
    lost = 0

    def data_received(data: bytes, component: int) -> None:
        nonlocal lost
        if 128 <= data[0] < 192 and generator.random() < fraction:
            lost += 1
        else:
            deliver(data, component)

    connection.data_received = data_received
    return lambda: lost
