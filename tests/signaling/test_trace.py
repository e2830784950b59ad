"""The trace keeps the newest messages, within bounds, and shows them."""

from __future__ import annotations

from typing import Any

from rtclab.signaling import trace as trace_module
from rtclab.signaling.messages import MAX_MESSAGE
from rtclab.signaling.trace import SignalingTrace


def filled(count: int, length: int = 10_000) -> SignalingTrace:
    trace = SignalingTrace(length)
    for number in range(count):
        trace.record(100.0 + number, "in", "p1", "alice", "comm", {"type": "ping", "id": number})
    return trace


def test_the_newest_messages_are_kept_in_order() -> None:
    trace = filled(7, length=5)
    assert len(trace) == 5
    assert [entry.message["id"] for entry in trace] == [2, 3, 4, 5, 6]
    assert trace.forgotten == 2


def test_its_size_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(trace_module, "MAX_CHARACTERS", 10_000)
    trace = SignalingTrace()
    for number in range(50):
        trace.record(float(number), "in", None, None, "comm", {"type": "candidate", "candidate": "x" * 1000})
    assert 5 <= len(trace) <= 10
    assert next(iter(trace)).time_s > 35


def test_what_cannot_be_kept_is_noted() -> None:
    trace = SignalingTrace()
    endless: list[Any] = []
    endless.append(endless)
    for message in ("x" * (MAX_MESSAGE + 1), endless, object(), {"type": ["x"]}, None, 3):
        trace.record(0.0, "in", None, None, "comm", message)
    entries = list(trace)
    assert len(entries) == 6
    assert ["not_kept" in entry.message for entry in entries[:3]] == [True] * 3
    assert all(entry.type is None for entry in entries)
    assert "None" in repr(trace)


def test_session_tokens_are_hidden() -> None:
    trace = SignalingTrace()
    message = {"type": "welcome", "re": 1, "session": "secret"}
    trace.record(0.0, "out", "p1", "alice", "comm", message)
    trace.record(0.0, "in", None, None, "comm", {"type": "join", "session": "secret"})
    trace.record(0.0, "in", None, None, "comm", {"type": "join", "session": None})
    assert "secret" not in repr(list(trace))
    assert message["session"] == "secret"
    assert [entry.message["session"] for entry in trace] == ["(hidden)", "(hidden)", None]


def test_it_becomes_a_data_frame() -> None:
    frame = filled(3).to_frame()
    assert list(frame.columns) == [
        "time_s",
        "direction",
        "session",
        "participant",
        "carrier",
        "type",
        "message",
    ]
    assert len(frame) == 3
    assert (frame["type"] == "ping").all()
    assert list(SignalingTrace().to_frame().columns) == list(frame.columns)


def test_its_repr_is_short_and_says_who() -> None:
    trace = filled(12)
    trace.record(
        112.5, "out", "p1", "alice", "comm", {"type": "answer", "sdp": "m=a\r\nm=b\r\n", "tracks": []}
    )
    text = repr(trace)
    assert text.startswith("<SignalingTrace: 13 messages>\n  ... 3 before\n")
    assert text.endswith("12.500 s         alice <- answer    sdp=(2 m-lines) tracks=list(0)")
    assert len(text.splitlines()) == 12
    assert repr(SignalingTrace()) == "<SignalingTrace: 0 messages>"
    assert repr(filled(1)).startswith("<SignalingTrace: 1 message>\n")
