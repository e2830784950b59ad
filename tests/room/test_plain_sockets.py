"""Where the platform knows neither sendmmsg, GSO nor recvmmsg, a whole room works by plain socket calls."""

from __future__ import annotations

import pytest

import rtclab
from room_tools import readable_numbers
from rtclab.transport.receive import PlainReceiver


def test_a_room_without_batched_system_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtclab.transport.batch.best_mode", lambda: "plain")
    monkeypatch.setattr("rtclab.transport.receive.has_recvmmsg", lambda: False)
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=20, sound=False))
        videos = [room.join(name).watch("alice") for name in ("bob", "carol")]
        for video in videos:
            numbers = readable_numbers(video, 20)
            assert len(set(numbers)) == 20
            assert numbers == sorted(numbers)
        batch = room._router.batch
        assert batch.mode == "plain"
        assert 0 < batch.sent <= batch.system_calls, "a call for each packet"
        assert all(isinstance(local.receiver, PlainReceiver) for local in room._port._locals)
