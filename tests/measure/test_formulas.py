"""The identities of the four architectures, worked by hand."""

from __future__ import annotations

import pytest

from rtclab.measure import formulas
from rtclab.measure.formulas import ARCHITECTURES

M = 1_000_000.0

#                  up, down, encodes, decodes, connections, server in, server out, encodes, decodes
BY_HAND = {
    "mesh": (3 * M, 3 * M, 3, 3, 3, 0, 0, 0, 0),
    "relay": (M, 3 * M, 1, 3, 1, 4 * M, 12 * M, 0, 0),
    "sfu": (M, 3 * M, 1, 3, 1, 4 * M, 12 * M, 0, 0),
    "mcu": (M, M, 1, 1, 1, 4 * M, 4 * M, 1, 4),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_four_people_of_one_megabit(architecture: str) -> None:
    assert tuple(formulas(architecture, 4, M).values()) == BY_HAND[architecture]


def test_simulcast_costs_the_uplink_and_last_n_spares_the_downlink() -> None:
    figures = formulas("sfu", 6, M, audio_bps=50_000, layers_bps=(0.1 * M, 0.4 * M, M), last_n=2)
    assert figures["uplink_bps"] == pytest.approx(1.5 * M + 50_000)
    assert figures["downlink_bps"] == pytest.approx(2 * M + 5 * 50_000)  # every voice is heard
    assert (figures["encodes"], figures["decodes"]) == (3, 2)
    assert figures["server_out_bps"] == pytest.approx(6 * figures["downlink_bps"])


def test_last_n_of_the_paper() -> None:
    """30 people, last 10: 65.5 % less (Grozev et al., NOSSDAV 2015, measured 63 %)."""
    everybody, ten = (formulas("sfu", 30, M, last_n=n)["downlink_bps"] for n in (None, 10))
    assert 1 - ten / everybody == pytest.approx(0.655, abs=0.001)


def test_the_mix_has_a_bitrate_of_its_own() -> None:
    figures = formulas("mcu", 4, M, audio_bps=40_000, mix_bps=1.5 * M, mix_audio_bps=64_000)
    assert figures["uplink_bps"] == 1.04 * M
    assert figures["downlink_bps"] == pytest.approx(1.564 * M)
    assert figures["server_out_bps"] == pytest.approx(4 * 1.564 * M)


@pytest.mark.parametrize("architecture", ["mesh", "relay", "sfu"])
def test_alone_nothing_is_sent(architecture: str) -> None:
    figures = formulas(architecture, 1, M)
    assert figures["uplink_bps"] == figures["downlink_bps"] == figures["server_out_bps"] == 0


def test_wrong_questions() -> None:
    with pytest.raises(ValueError, match="mesh, relay, sfu, mcu, not 'star'"):
        formulas("star", 4, M)
    with pytest.raises(ValueError, match="participants"):
        formulas("mesh", 0, M)
