"""A comparison as one figure: what a participant pays, what the server pays, what a viewer gets."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import RtclabError

SIZE = (10.5, 6.2)  # inches
DPI = 110
BAR = 0.36  # width, where two stand side by side


class Colours(NamedTuple):
    """What a figure is drawn with."""

    page: str
    text: str
    faint: str
    first: str
    second: str
    only: str


LIGHT = Colours("#ffffff", "#1d2530", "#d9dee5", "#2f6fc4", "#e08a1e", "#54708c")
DARK = Colours("#11161d", "#e6ebf2", "#313a46", "#6aa5f2", "#f0ad4e", "#8ea7c0")


class Plot:
    """A drawn comparison.

    Parameters
    ----------
    frame, latencies : pandas.DataFrame
        Of a `Comparison`.
    title : str
        Written above.
    dark : bool
        Whether for a dark page.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        The figure, to change or to add to.

    Raises
    ------
    rtclab.errors.RtclabError
        matplotlib is not installed.
    """

    def __init__(self, frame: pd.DataFrame, latencies: pd.DataFrame, title: str, dark: bool = False) -> None:
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise RtclabError("a plot needs matplotlib. Install it with: pip install 'rtclab[lab]'") from None
        self._colours = DARK if dark else LIGHT
        self._frame = frame
        self._names = [str(name) for name in frame.index]
        self.figure = Figure(SIZE, layout="constrained", facecolor=self._colours.page)
        FigureCanvasAgg(self.figure)
        self.figure.get_layout_engine().set(w_pad=0.12, h_pad=0.10)  # type: ignore[union-attr, call-arg]
        (bits, codecs, traffic), (processor, delay, picture) = self.figure.subplots(2, 3)
        self._pair(bits, "Each participant: Mbit/s", "uplink_bps", "downlink_bps", 1e-6, ("up", "down"))
        self._pair(codecs, "Each participant: video codecs", "encodes", "decodes", 1, ("encode", "decode"))
        self._pair(traffic, "Server: Mbit/s", "server_in_bps", "server_out_bps", 1e-6, ("in", "out"))
        self._single(processor, "Server: % of a core", 100 * frame["server_cores"])
        self._delay(delay, latencies)
        self._picture(picture)
        self.figure.suptitle(title, color=self._colours.text, fontsize=10)

    def save(self, path: str | Path) -> None:
        """Write it to a file; the name's ending picks the format."""
        self._write(path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self._write(buffer, format="png")
        return buffer.getvalue()

    def _write(self, target: Any, **more: Any) -> None:
        # on its own page, whatever a notebook has set matplotlib's defaults to
        self.figure.savefig(target, dpi=DPI, facecolor="auto", **more)

    def __repr__(self) -> str:
        return f"<Plot of {', '.join(self._names)}>"

    # -- panels -----------------------------------------------------------------------------------------

    def _pair(
        self, axes: Any, title: str, first: str, second: str, scale: float, labels: tuple[str, str]
    ) -> None:
        """Two bars for each architecture, with what they are on paper as a line across."""
        places = np.arange(len(self._names))
        paper = None
        for side, (figure, label) in enumerate(zip((first, second), labels, strict=True)):
            at = places + (side - 0.5) * (BAR + 0.03)
            colour = (self._colours.first, self._colours.second)[side]
            axes.bar(at, scale * self._frame[figure], BAR, color=colour, label=label)
            paper = axes.hlines(
                scale * self._frame[f"{figure}_formula"],
                at - BAR / 2,
                at + BAR / 2,
                color=self._colours.text,
                linewidth=1.6,
            )
        assert paper is not None
        paper.set_label("formula")
        self._dress(axes, title)
        low, high = axes.get_ylim()
        axes.set_ylim(low, 1.22 * high)  # for the legend
        axes.legend(
            ncols=3,
            loc="upper center",
            frameon=False,
            fontsize=8,
            labelcolor=self._colours.text,
            handlelength=1.1,
            columnspacing=1.2,
            borderaxespad=0.2,
        )

    def _single(self, axes: Any, title: str, values: pd.Series[float]) -> None:
        bars = axes.bar(self._names, values, 0.5, color=self._colours.only)
        axes.bar_label(bars, fmt="%.1f", fontsize=8, color=self._colours.text, padding=2)
        self._dress(axes, title)
        axes.set_ylim(0, 1.15 * max(float(values.max()), 0.1))

    def _delay(self, axes: Any, latencies: pd.DataFrame) -> None:
        """The middle 90 % as a line, the median as a dot."""
        for place, name in enumerate(self._names):
            values = 1e3 * latencies.loc[latencies["architecture"] == name, "latency_s"].dropna()
            if len(values):
                low, middle, high = np.percentile(values, [5, 50, 95])
                axes.vlines(place, low, high, color=self._colours.only, linewidth=7, alpha=0.55)
                self._dot(axes, place, float(middle), f"{middle:.0f}", beside=True)
        self._dress(axes, "Viewers: latency, ms (median, 5 to 95 %)")
        axes.set_ylim(0, None)

    def _picture(self, axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for place, name in enumerate(self._names):
            decibels = float(self._frame["psnr_db"][name])
            self._dot(axes, place, float(self._frame["ssim"][name]), f"{decibels:.0f} dB")
        self._dress(axes, "Viewers: SSIM (and PSNR)")
        axes.yaxis.set_major_formatter("{x:.3f}")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        low = float(self._frame["ssim"].min())
        if not math.isnan(low):  # else nobody saw anything
            axes.set_ylim(min(low - 0.25 * (1 - low), 0.98), 1)

    def _dot(self, axes: Any, place: int, value: float, label: str, beside: bool = False) -> None:
        """A value with its label to the right or below."""
        axes.plot(place, value, "o", markersize=8, color=self._colours.first)
        offset, across, down = ((9, 0), "left", "center") if beside else ((0, -8), "center", "top")
        axes.annotate(
            label,
            (place, value),
            offset,
            textcoords="offset points",
            ha=across,
            va=down,
            fontsize=8,
            color=self._colours.text,
        )

    def _dress(self, axes: Any, title: str) -> None:
        colours = self._colours
        axes.set_title(title, color=colours.text, fontsize=10, loc="left")
        axes.set_facecolor(colours.page)
        axes.set_xticks(range(len(self._names)), self._names)
        axes.set_xlim(-0.6, len(self._names) - 0.4)
        axes.tick_params(colors=colours.text, labelsize=9, length=0)
        axes.grid(axis="y", color=colours.faint, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(colours.faint)
