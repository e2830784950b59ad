"""From the first packet of a picture to the last one sent the GIL is kept: beside a busy cell, giving it up
costs a switch interval."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pylibsrtp
import pytest

from forwarding_rig import feed, header, producer, vp8
from rtclab.forwarding.columns import Continuation
from rtclab.transport import srtp
from rtclab.transport.addresses import pack_name
from rtclab.transport.batch import SendBatch, best_mode
from rtclab.transport.paths import PathTable

PROFILE = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM


class Room:
    """Viewers of one producer that are reached through `sockets`, in turn."""

    def __init__(self, viewers: int, sockets: list[socket.socket], sink: socket.socket) -> None:
        self.paths = PathTable()
        self.paths.sockets = {sock.fileno(): sock for sock in sockets}
        self.producer = producer(SendBatch(self.paths))
        self.rows = []
        self._sessions = []
        for number in range(viewers):
            policy = pylibsrtp.Policy(
                bytes(range(28)), pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILE
            )
            self._sessions.append(pylibsrtp.Session(policy))
            path = self.paths.allocate()
            self.paths.set_address(path, pack_name(*sink.getsockname()), sockets[number % len(sockets)])
            self.paths.set_context(path, srtp.context_pointer(self._sessions[-1]))
            continuation = Continuation(1000, 0, 5, 0, True, 0.0, 1)  # so that picture ids are written anew
            self.rows.append(self.producer.fanout.add(path, header(number), continuation))
            self.producer.fanout.aim(self.rows[-1], 0, 0.0)
        self._number = 0

    def picture(self) -> None:
        """Three packets go to everybody, and one of them to one viewer again."""
        stream, fanout = self.producer.streams[0], self.producer.fanout
        number, self._number = self._number, self._number + 1
        packets = [
            feed(
                stream,
                number / 30,
                3 * number + part,
                3000 * number,
                vp8(bytes(900 - part), number, number, number % 2, True, number == 0, part == 0),
                part == 2,
            )
            for part in range(3)
        ]
        fanout.forward(stream, packets, number / 30)
        row = self.rows[number % len(self.rows)]
        sent = 1001 + 3 * number & 0xFFFF
        fanout.retransmit(row, sent, fanout.find(row, [sent])[sent], number / 30)


@contextmanager
def waiting() -> Iterator[list[int]]:
    """Another thread that takes the GIL whenever it is free, and counts how often that was."""
    counted = [0]
    over = threading.Event()

    def take() -> None:
        while not over.is_set():
            counted[0] += 1
            time.sleep(0)

    before = sys.getswitchinterval()
    thread = threading.Thread(target=take, daemon=True)
    sys.setswitchinterval(60.0)
    thread.start()
    try:
        yield counted
    finally:
        over.set()
        sys.setswitchinterval(before)
        thread.join()


@pytest.mark.skipif(best_mode() == "plain", reason="plain sends give the GIL up each time")
@pytest.mark.parametrize("viewers", [20, 600])
@pytest.mark.parametrize("count", [1, 2])
def test_no_other_thread_runs_while_pictures_are_sent(viewers: int, count: int) -> None:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count + 1)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    *senders, sink = sockets
    room = Room(viewers, senders, sink)
    for _ in range(3):  # what is made once is made
        room.picture()
    pictures = 1200 // viewers + 20
    with waiting() as counted:
        time.sleep(0.01)  # it is there
        before = counted[0]
        assert before
        for _ in range(pictures):
            room.picture()
        assert counted[0] == before
    assert room.producer.fanout.batch.sent == (pictures + 3) * (3 * viewers + 1)
    for sock in sockets:
        sock.close()
