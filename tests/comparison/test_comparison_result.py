"""The table and the figure of a comparison."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from comparison_rig import recording
from rtclab.comparison import Comparison
from rtclab.comparison.figures import figures
from rtclab.comparison.plot import DARK, LIGHT, Colours
from rtclab.comparison.result import ONE_LAYER, TABLE
from rtclab.measure.formulas import ARCHITECTURES


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    recordings = [recording(architecture) for architecture in ARCHITECTURES]
    rows, people, latencies = zip(*(figures(each) for each in recordings), strict=True)
    return Comparison(
        pd.DataFrame(list(rows)).set_index("architecture"),
        pd.concat(people),
        pd.concat(latencies),
        recordings[0].plan,
    )


def test_the_table_has_every_line_and_the_formulas(comparison: Comparison) -> None:
    page = comparison._repr_html_()
    for lines in TABLE.values():
        for line in lines:
            assert line.figure in comparison.frame
            assert f">{line.label}</td>" in page
    uplink = re.search(r"uplink, payload</td>(.*?)</tr>", page)
    assert uplink is not None
    cells = re.findall(r'<td>(\d+)</td><td class="paper">(\d+)</td>', uplink[1])
    assert cells == [("960", "960"), *[("480", "480")] * 3]
    assert "nan" not in page
    assert repr(comparison).startswith("<Comparison of mesh, relay, sfu, mcu: 3 participants")


def test_the_table_says_that_one_layer_is_sent(comparison: Comparison) -> None:
    assert ONE_LAYER in comparison._repr_html_()
    without = dataclasses.replace(comparison, frame=comparison.frame.drop(index="sfu"))
    assert ONE_LAYER not in without._repr_html_()


def test_a_busy_machine_is_named(comparison: Comparison) -> None:
    assert "too much" not in comparison._repr_html_()
    frame = comparison.frame.copy()
    frame.loc["mesh", "peers_cores"] = 0.95
    frame.loc["sfu", "latency_p95_s"] = 0.7
    assert (
        "In mesh, sfu the participants were too" in dataclasses.replace(comparison, frame=frame)._repr_html_()
    )


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_says_what_was_measured(comparison: Comparison, dark: bool, tmp_path: Path) -> None:
    plot = comparison.plot(dark=dark)
    bits, codecs, traffic, processor, delay, picture = plot.figure.axes
    for axes, names in (
        (bits, ("uplink_bps", "downlink_bps")),
        (codecs, ("encodes", "decodes")),
        (traffic, ("server_in_bps", "server_out_bps")),
    ):
        scale = 1 if axes is codecs else 1e-6
        heights = [bar.get_height() for bars in axes.containers for bar in bars]
        assert heights == pytest.approx([scale * value for name in names for value in comparison.frame[name]])
        assert axes.get_legend() is not None
    assert [bar.get_height() for bar in processor.containers[0]] == pytest.approx([5.0] * 4)
    assert [label.get_text() for label in picture.get_xticklabels()] == list(ARCHITECTURES)
    assert delay.get_ylim()[0] == 0
    plot.save(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG" == plot._repr_png_()[:4]


def test_the_figure_keeps_its_page(comparison: Comparison) -> None:
    """On a dark page that is set to transparent figures, dark text on nothing would not be seen."""
    with matplotlib.rc_context({"savefig.facecolor": "none"}):
        picture = Image.open(io.BytesIO(comparison.plot()._repr_png_())).convert("RGBA")
    assert picture.getpixel((2, 2)) == (255, 255, 255, 255)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_what_is_drawn_stands_out_from_the_page(colours: Colours) -> None:
    """Contrast by WCAG 2: 4.5 for text, 2.4 for bars."""

    def luminance(colour: str) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(colour: str) -> float:
        levels = sorted([luminance(colour), luminance(colours.page)])
        return (levels[1] + 0.05) / (levels[0] + 0.05)

    assert contrast(colours.text) > 7
    assert min(contrast(colours.first), contrast(colours.second), contrast(colours.only)) > 2.4
