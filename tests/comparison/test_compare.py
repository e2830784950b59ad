"""Real participants in each architecture: the identities hold, within one run of each."""

from __future__ import annotations

import pytest

import rtclab
from rtclab.comparison.figures import WITH_FORMULA
from rtclab.measure.formulas import ARCHITECTURES


@pytest.fixture(scope="module")
def comparison() -> rtclab.Comparison:
    return rtclab.compare(participants=2, seconds=3, size=(160, 90), fps=10, progress=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("figure", WITH_FORMULA)
def test_identities(comparison: rtclab.Comparison, architecture: str, figure: str) -> None:
    measured = float(comparison.frame[figure][architecture])
    paper = float(comparison.frame[f"{figure}_formula"][architecture])
    exact = figure in ("encodes", "decodes", "connections") or (architecture == "mesh" and "server" in figure)
    assert measured == pytest.approx(paper, rel=0 if exact else 0.1, abs=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_viewers_get(comparison: rtclab.Comparison, architecture: str) -> None:
    row = comparison.frame.loc[architecture]
    assert 0 < row["latency_p50_s"] <= row["latency_p95_s"]
    assert row["first_frame_s"] > 0
    assert 0.9 < row["ssim"] < 1
    assert row["psnr_db"] > 30
    assert row["uplink_wire_bps"] > row["uplink_bps"] > 0
    assert abs(row["skew_s"]) < 0.5


def test_a_mix_costs_quality_and_processor_time(comparison: rtclab.Comparison) -> None:
    frame = comparison.frame
    assert frame["ssim"]["mcu"] < frame["ssim"]["relay"]
    assert frame["server_cores"]["mcu"] > frame["server_cores"]["relay"] > frame["server_cores"]["mesh"]


def test_relay_and_sfu_look_alike(comparison: rtclab.Comparison) -> None:
    ssim = comparison.frame["ssim"]
    assert ssim["sfu"] == pytest.approx(ssim["relay"], abs=0.02)


def test_every_viewer_saw_every_talker(comparison: rtclab.Comparison) -> None:
    pairs = comparison.latencies.dropna().groupby(["architecture", "viewer", "talker"]).size()
    assert len(pairs) == 2 * len(ARCHITECTURES)
    assert pairs.min() >= 10


def test_an_architecture_from_a_notebook_is_compared_too() -> None:
    @rtclab.architecture("forward all")
    class ForwardAll(rtclab.Architecture):
        """What the base class does."""

    frame = rtclab.compare(["forward all"], 2, 1, size=(160, 90), fps=10, progress=False).frame
    assert frame["decodes"]["forward all"] == 1
    assert frame["uplink_bps_formula"].isna().all()
