"""`Room.stats`: one row for each track and viewer, with units in the names and a reason for each drop."""

from __future__ import annotations

import pandas as pd

import rtclab
from room_tools import frame_numbers
from rtclab.rtp.drops import Drop
from waiting import until


def test_there_is_a_row_for_each_track_and_viewer() -> None:
    with rtclab.Room() as room:
        assert room.stats().empty
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=15))
        for name in ("bob", "carol"):
            frame_numbers(room.join(name).watch("alice", queue=60), 20)
        stats = room.stats()
        incoming = stats[stats.direction == "in"]
        outgoing = stats[stats.direction == "out"]
        assert sorted(incoming.kind) == ["audio", "video"]
        assert sorted(outgoing.viewer) == ["bob", "carol"]
        video = incoming[incoming.kind == "video"].iloc[0]
        assert (video.publisher, video.source, video.codec) == ("alice", "pattern", "VP8")
        assert (video.width, video.height) == (160, 90)
        assert video.packets >= 20
        for _, row in outgoing.iterrows():
            assert row.publisher == "alice"
            assert 0 < row.packets <= video.packets
            assert row.bytes > row.packets
            assert row.packets_lost == 0


def test_viewers_say_what_they_got() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=15))
        for name in ("bob", "carol"):
            viewer = room.join(name)
            viewer.watch("alice")
            viewer.watch("alice", "audio")

        def told() -> bool:
            stats = room.stats()
            outgoing = stats[stats.direction == "out"]
            return len(outgoing) == 4 and bool(outgoing.rtt_s.notna().all())

        until(told, "not every viewer's report has come")
        stats = room.stats()
        outgoing = stats[stats.direction == "out"]
        assert (outgoing.loss_fraction == 0).all()
        assert (outgoing.rtt_s < 1).all()
        assert (outgoing.jitter_s < 1).all()


def test_names_have_units_and_drops_have_reasons() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=15))
        frame_numbers(room.join("bob").watch("alice"), 3)
        stats = room.stats()
        assert {"bitrate_bps", "jitter_s", "rtt_s", "loss_fraction"} <= set(stats.columns)
        dropped = [name.removeprefix("dropped_") for name in stats.columns if name.startswith("dropped_")]
        assert dropped
        assert set(dropped) <= {reason.value for reason in Drop}
        assert pd.api.types.is_integer_dtype(stats[f"dropped_{dropped[0]}"])


def test_the_signaling_trace_holds_the_call() -> None:
    with rtclab.Room() as room:
        room.join("alice").publish(rtclab.TestPattern(160, 90, fps=15))
        trace = room.signaling.to_frame()
        ours = trace[trace.type.isin(["join", "welcome", "offer", "answer"])]
        assert list(ours.type) == ["join", "welcome", "offer", "answer"]
        assert list(ours.direction) == ["in", "out", "in", "out"]
        assert (ours.time_s.diff().dropna() >= 0).all()
        assert ours.time_s.iloc[0] < 60
