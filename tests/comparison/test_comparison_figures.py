"""From a recording to figures: a perfect way gives the formulas, and a bad one shows where it is bad."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from comparison_rig import LATENCY_S, SOUND_LATENCY_S, VIDEO_BPS, recording
from rtclab.comparison import Comparison
from rtclab.comparison.figures import WITH_FORMULA, figures
from rtclab.measure import formulas
from rtclab.measure.formulas import ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_perfect_way_gives_the_formulas(architecture: str) -> None:
    row, participants, latencies = figures(recording(architecture))
    for name in WITH_FORMULA:
        assert row[name] == pytest.approx(row[f"{name}_formula"]), name
    assert row["video_bps"] == pytest.approx(VIDEO_BPS)
    assert row["uplink_wire_bps"] == pytest.approx(1.06 * row["uplink_bps"])
    assert [row["server_cores"], row["peers_cores"]] == pytest.approx([0.05, 0.4])
    assert [row["latency_p50_s"], row["latency_p95_s"]] == pytest.approx([LATENCY_S] * 2)
    assert (row["freezes"], row["frames_missing"]) == (0, 0)
    assert (row["ssim"], row["psnr_db"]) == (1, math.inf)
    assert row["first_frame_s"] == pytest.approx(0.3)
    assert row["skew_s"] == pytest.approx(LATENCY_S - SOUND_LATENCY_S, abs=1e-3)
    assert len(participants) == 3
    assert set(latencies.groupby(["viewer", "talker"]).size()) == {40}


def test_a_copy_too_many_is_seen() -> None:
    """Each formula takes B from the other end of the wire, so what is sent twice or lost does not hide."""
    perfect = recording("sfu")
    doubled = perfect.end.room.copy()
    doubled.loc[doubled["direction"] == "out", "bytes"] *= 2
    row, _, _ = figures(dataclasses.replace(perfect, end=dataclasses.replace(perfect.end, room=doubled)))
    assert row["server_out_bps"] == pytest.approx(2 * row["server_out_bps_formula"])
    peers = perfect.end.peers.copy()
    peers.loc[peers["direction"] == "up", "payload_bytes"] *= 2
    row, _, _ = figures(dataclasses.replace(perfect, end=dataclasses.replace(perfect.end, peers=peers)))
    assert row["uplink_bps"] == pytest.approx(2 * row["uplink_bps_formula"])
    assert row["downlink_bps"] == pytest.approx(row["downlink_bps_formula"] / 2)


def test_encoders_at_rest_do_not_count() -> None:
    perfect = recording("mesh")
    peers = perfect.end.peers.copy()
    peers.loc[(peers["connection"] == "bob") & (peers["direction"] == "up"), "frames"] = 0
    row, participants, _ = figures(
        dataclasses.replace(perfect, end=dataclasses.replace(perfect.end, peers=peers))
    )
    assert participants["encodes"].tolist() == [1, 2, 1]
    assert row["encodes"] < row["encodes_formula"]


def test_lost_pictures_are_missing_and_no_freeze_at_ten_a_second() -> None:
    row, _, latencies = figures(recording("relay", lost_every=5))
    assert row["frames_missing"] == pytest.approx(0.19, abs=0.02)
    assert row["freezes"] == 0
    assert row["fps"] == pytest.approx(8, abs=0.3)
    assert latencies["seen_s"].isna().sum() > 0


def test_a_picture_that_stops_for_good_is_frozen_and_missing() -> None:
    stopped = recording("sfu")
    recorder, talker = stopped.recorders["bob"], stopped.talkers[0]
    recorder.seen[talker.stream] = recorder.seen[talker.stream][:20]  # of four seconds two
    row, _, latencies = figures(stopped)
    own = latencies[(latencies["viewer"] == "bob") & (latencies["talker"] == "alice")]
    assert own["seen_s"].notna().sum() == 20
    assert 16 <= own["seen_s"].isna().sum() <= 19  # the last may have been under way
    assert row["freezes"] == 1
    assert row["frozen_s"] == pytest.approx(4 - (1.9 + LATENCY_S))
    assert row["fps"] == pytest.approx((5 * 10 + 5) / 6)
    assert 0.06 < row["frames_missing"] < 0.09


def test_a_picture_that_never_comes_is_frozen_and_missing() -> None:
    deaf = recording("sfu")
    deaf.recorders["bob"].seen.clear()
    deaf.recorders["bob"].kept.clear()
    row, _, latencies = figures(deaf)
    bobs = latencies["viewer"] == "bob"
    assert bobs.sum() >= 2 * 36
    assert (latencies["seen_s"].isna() == bobs).all()
    assert (row["freezes"], row["frozen_s"]) == (2, 8.0)
    assert row["fps"] == pytest.approx(4 * 10 / 6)
    assert row["frames_missing"] == pytest.approx(1 / 3, abs=0.02)


def test_nobody_sees_anything() -> None:
    blind = recording("relay")
    for recorder in blind.recorders.values():
        recorder.seen.clear()
        recorder.kept.clear()
    row, people, latencies = figures(blind)
    assert (row["frames_missing"], row["fps"], row["freezes"]) == (1, 0, 6)
    assert math.isnan(row["latency_p50_s"])
    frame = pd.DataFrame([row]).set_index("architecture")
    assert Comparison(frame, people, latencies, blind.plan).plot()._repr_png_()


def test_an_architecture_of_ones_own_has_no_formula() -> None:
    named_otherwise = dataclasses.replace(recording("sfu"), architecture="mine")
    row, _, _ = figures(named_otherwise)
    assert math.isnan(row["uplink_bps_formula"])
    assert row["uplink_bps"] == pytest.approx(formulas("sfu", 3, 480_000.0)["uplink_bps"])


def test_a_silent_talker_has_no_skew() -> None:
    quiet = recording("sfu", 2)
    for recorder in quiet.recorders.values():
        recorder.sound.clear()
    assert math.isnan(figures(quiet)[0]["skew_s"])
