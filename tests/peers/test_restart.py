"""A headless connection restarts ICE under a call: other ports and credentials, the same DTLS and frames."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest

import rtclab
from rtclab.engine import get_engine
from rtclab.errors import NegotiationError
from rtclab.peers import rtc
from rtclab.peers.restart import IceRestart
from rtclab.signaling import inprocess

LIMIT = 20.0  # s


class Watching:
    """A client by hand that watches alice."""

    def __init__(self, room: rtclab.Room) -> None:
        self.carrier = inprocess.open(room.connect, get_engine().loop)
        self.connection = rtc.new_connection()
        self.receiver = self.connection.addTransceiver("video", direction="recvonly").receiver
        self.number = 0

    async def ask(self, **fields: Any) -> dict[str, Any]:
        self.number += 1
        self.carrier.send_to_room({"id": self.number, **fields})
        while (message := await asyncio.wait_for(self.carrier.receive(), LIMIT)).get("re") != self.number:
            pass
        assert message["type"] != "error", message
        return message

    async def connect(self) -> tuple[str, str]:
        """Join and watch; the offer and the answer."""
        join = {"version": 1, "name": "bob", "role": "viewer", "session": None, "agent": "test"}
        welcome = await self.ask(type="join", **join)
        self.wanted = [{"mid": "0", "direction": "receive", "track": welcome["tracks"][0]["id"]}]
        offer = await rtc.make_offer(self.connection)
        answer = (await self.ask(type="offer", sdp=offer, tracks=self.wanted))["sdp"]
        await rtc.take_answer(self.connection, answer)
        return offer, answer

    async def frame(self) -> int:
        """The number of the next frame that can be read."""
        while True:
            frame: Any = await asyncio.wait_for(self.receiver.track.recv(), LIMIT)
            code = rtclab.measure.read_frame_code(frame.to_ndarray(format="rgb24"))
            if code is not None:
                return int(code.frame)

    async def close(self) -> None:
        await rtc.close(self.connection)
        with contextlib.suppress(rtclab.errors.Closed):
            self.carrier.lose()


def line(sdp: str, name: str) -> str:
    found = re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("ice", ["lite", "full"])
def test_a_restart_changes_the_way_and_nothing_else(ice: str) -> None:
    async def main(room: rtclab.Room) -> None:
        bob = Watching(room)
        offer, answer = await bob.connect()
        before = await bob.frame()
        [participant] = [one for one in room.participants if one.name == "bob"]

        restart = IceRestart(bob.connection)
        await restart.gather()
        again = restart.offer(offer)
        renewed = (await bob.ask(type="offer", sdp=again, tracks=bob.wanted))["sdp"]
        for one, other in ((offer, again), (answer, renewed)):
            assert line(one, "ice-ufrag") != line(other, "ice-ufrag")
            assert line(one, "ice-pwd") != line(other, "ice-pwd")
            assert line(one, "fingerprint") == line(other, "fingerprint")
        assert await bob.frame() > before, "the old pair still carries"
        with pytest.raises(NegotiationError):
            await restart.check(answer)
        await restart.check(renewed)
        await restart.take_over()
        later = [await bob.frame() for _ in range(5)]
        assert later == sorted(set(later))
        assert bob.connection.connectionState == "connected"
        [moved] = [one for one in room.participants if one.name == "bob"]
        assert moved.address != participant.address
        assert moved.state == "connected"
        await bob.close()

    with rtclab.Room(ice=ice) as room:
        room.join("alice").publish(rtclab.TestPattern(320, 180, fps=15, sound=False))
        asyncio.run(main(room))
