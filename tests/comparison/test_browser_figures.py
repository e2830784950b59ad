"""Figures from what pages tell: latency by number, freezes as they are counted from the first report on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rtclab import Room
from rtclab.comparison import browser_figures
from rtclab.comparison.browsers import COLUMNS, tile_figures
from rtclab.signaling.trace import TraceEntry

OFFSET = 1_700_000_000.0


def told(second: float, viewer: str, *tracks: dict[str, Any], direction: str = "in") -> TraceEntry:
    message = {"type": "stats", "time": OFFSET + second, "tracks": list(tracks)}
    return TraceEntry(second, direction, viewer, viewer, "websocket", message)


def shown(track: str, second: float, number: int | None, freezes: int = 0, **more: Any) -> dict[str, Any]:
    row = {"track": track, "kind": "video", "via": "room", "freezes": freezes, "frozen_s": 0.5 * freezes}
    return {**row, "fps": 15, "frame_number": number, "frame_time": OFFSET + second, **more}


def test_latency_by_number_and_freezes_since_the_first_report() -> None:
    sent = {"alice": {n: 100 + n / 15 for n in range(300)}}
    entries = [
        told(100 + s, "bob", shown("t1", 100 + s + 0.08, 15 * s, freezes=2 + (s > 5))) for s in range(10)
    ]
    frame = tile_figures(entries, {"t1": ("alice", "pattern")}, sent, OFFSET)
    assert list(frame.columns) == COLUMNS
    row = frame.iloc[0]
    assert (row["viewer"], row["participant"], row["via"], row["samples"]) == ("bob", "alice", "room", 10)
    assert row["latency_p50_s"] == pytest.approx(0.08, abs=1e-4)
    assert (row["freezes"], row["frozen_s"]) == (1, 0.5)


def test_each_viewer_and_track_has_a_row_and_senders_have_none() -> None:
    upward = {"track": "t9", "kind": "video", "fps": 30, "bitrate_bps": 1e6}
    sound = {"track": "t2", "kind": "audio", "freezes": 0}
    entries = [
        told(1, "bob", shown("t1", 1, 5), sound, upward),
        told(2, "eve", shown("t1", 2, None), shown("mix-video", 2, 1, via="mix")),
        told(3, "eve", shown("t1", 3, 7), direction="out"),
    ]
    frame = tile_figures(entries, {"t1": ("alice", "camera")}, {}, OFFSET)
    assert frame[["viewer", "participant"]].to_numpy().tolist() == [
        ["bob", "alice"],
        ["eve", "alice"],
        ["eve", "everyone"],
    ]
    assert frame["samples"].tolist() == [1, 0, 1]
    assert frame["latency_p50_s"].map(math.isnan).all()


def test_a_number_that_comes_again_is_another_picture() -> None:
    sent = {"alice": {n: 100 + n / 15 for n in range(30)}}  # published anew
    numbers = [3, 18, 3, 18]
    entries = [
        told(second, "bob", shown("t1", second + 0.3, number))
        for second, number in zip((90, 91, 100, 101), numbers, strict=True)
    ]
    row = tile_figures(entries, {"t1": ("alice", "camera")}, sent, OFFSET).iloc[0]
    assert row["samples"] == 4
    assert row["latency_p50_s"] == pytest.approx(0.1, abs=1e-4)


def test_freezes_of_several_connections_are_added_up() -> None:
    ways = [("room", 4), ("room", 5), ("direct", 0), ("direct", 2), ("room", 7), ("room", 7), ("room", 1)]
    entries = [
        told(second, "bob", shown("t1", second, second, freezes, via=via))
        for second, (via, freezes) in enumerate(ways)
    ]
    row = tile_figures(entries, {"t1": ("alice", "camera")}, {}, OFFSET).iloc[0]
    assert (row["via"], row["freezes"], row["frozen_s"]) == ("room", 3, 1.5)


def test_who_has_left_keeps_its_name() -> None:
    sent = {"alice": {n: 100 + n / 15 for n in range(30)}}
    listed = [
        {"id": "t1", "participant": {"id": "p1", "name": "alice"}, "source": "camera"},
        {"id": "mix-video", "participant": {"id": "", "name": "room"}, "source": "mix"},
    ]
    tracks = {"type": "tracks", "revision": 1, "tracks": listed}
    entries = [
        TraceEntry(1.0, "out", "bob", "bob", "websocket", tracks),
        told(101, "bob", shown("t1", 101.1, 15), shown("mix-video", 101.1, 1, via="mix")),
    ]
    frame = tile_figures(entries, {}, sent, OFFSET)
    assert frame["participant"].tolist() == ["alice", "everyone"]
    assert frame["source"].tolist() == ["camera", "mix"]
    assert frame["latency_p50_s"][0] == pytest.approx(0.1, abs=1e-4)
    assert math.isnan(frame["latency_p50_s"][1])


def test_malformed_reports_are_left_out() -> None:
    messages: list[Any] = [
        {"type": "stats"},
        {"type": "stats", "time": 1, "tracks": [3, {"kind": "video"}]},
        {"type": "stats", "time": "now", "tracks": [shown("t1", 1, 5)]},
        "stats",
    ]
    entries = [TraceEntry(1.0, "in", "x", "bob", "comm", message) for message in messages]
    assert tile_figures(entries, {}, {}, OFFSET).empty


def test_a_room_without_browsers() -> None:
    with Room() as room:
        assert list(browser_figures(room).columns) == COLUMNS
        assert browser_figures(room).empty
