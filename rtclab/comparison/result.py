"""What a comparison found, as frames for a program, a table and a picture for a person."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from .trial import Plan

if TYPE_CHECKING:
    from .plot import Plot


class Line(NamedTuple):
    """A line of the table: a column of the frame, what it is called, and how a value is written."""

    figure: str
    label: str
    scale: float
    digits: int
    unit: str = ""


TABLE: dict[str, tuple[Line, ...]] = {
    "Each participant": (
        Line("uplink_bps", "uplink, payload", 1e-3, 0, "kbit/s"),
        Line("uplink_wire_bps", "uplink, on the wire", 1e-3, 0, "kbit/s"),
        Line("downlink_bps", "downlink, payload", 1e-3, 0, "kbit/s"),
        Line("downlink_wire_bps", "downlink, on the wire", 1e-3, 0, "kbit/s"),
        Line("encodes", "video encoders", 1, 1),
        Line("decodes", "video decoders", 1, 1),
        Line("connections", "connections", 1, 1),
    ),
    "Server": (
        Line("server_in_bps", "in, payload", 1e-3, 0, "kbit/s"),
        Line("server_out_bps", "out, payload", 1e-3, 0, "kbit/s"),
        Line("server_out_pps", "packets out", 1, 0, "1/s"),
        Line("server_cores", "processor", 100, 1, "% of a core"),
    ),
    "What viewers get": (
        Line("latency_p50_s", "latency, median", 1e3, 0, "ms"),
        Line("latency_p95_s", "latency, 95 %", 1e3, 0, "ms"),
        Line("first_frame_s", "first frame after joining", 1e3, 0, "ms"),
        Line("fps", "pictures", 1, 1, "1/s"),
        Line("frames_missing", "pictures that never came", 100, 1, "%"),
        Line("freezes", "freezes, all viewers", 1, 0),
        Line("ssim", "SSIM", 1, 3),
        Line("psnr_db", "PSNR", 1, 1, "dB"),
        Line("skew_s", "sound ahead of picture", 1e3, 0, "ms"),
    ),
}

BUSY = 0.8  # share of a core from which on the participants' thread delays what it measures
LATE_S = 0.4  # over loopback only a queue takes so long
ONE_LAYER = "Everybody sends one layer, so sfu forwards like relay; notebook 06_sfu measures layers."

_STYLE = (
    ".rtclab-compare{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".rtclab-compare tr,.rtclab-compare th,.rtclab-compare td{background:none!important;border:0}"
    ".rtclab-compare th,.rtclab-compare td{padding:2px 0 2px 24px!important;text-align:right!important}"
    ".rtclab-compare td.paper{padding-left:6px!important;font-size:85%}"
    ".rtclab-compare .words{text-align:left!important;padding-left:12px!important}"
    ".rtclab-compare tr.group th{padding-top:10px!important;border-bottom:1px solid currentColor!important}"
    ".rtclab-compare .paper,.rtclab-compare .unit,.rtclab-compare caption{opacity:.65}"
    ".rtclab-compare caption{caption-side:bottom;text-align:left;padding:8px 12px}"
)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Figures of several architectures.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row for each architecture (the index). Of a participant, on average: ``uplink_bps``,
        ``downlink_bps`` (payload), ``uplink_wire_bps``, ``downlink_wire_bps`` (with RTP, SRTP, UDP and IP
        headers), ``encodes``, ``decodes`` (video encoders and decoders at work), ``connections``. Of the
        server: ``server_in_bps``, ``server_out_bps`` (payload), ``server_in_pps``, ``server_out_pps``
        (packets a second), ``server_cores`` (share of a core); ``peers_cores`` is that of the thread on which
        all participants run, codecs aside. Of what viewers get: ``latency_p50_s``,
        ``latency_p95_s``, ``first_frame_s`` (from joining), ``fps``, ``frames_missing`` (share), ``freezes``
        and ``frozen_s`` (all viewers together), ``ssim``, ``psnr_db``, ``skew_s`` (positive: sound first).
        ``<figure>_formula`` is what a figure is on paper, ``video_bps`` and ``audio_bps`` the B in it.
    participants : pandas.DataFrame
        The first of these for each participant.
    latencies : pandas.DataFrame
        Every frame that was sent while it was measured, at every viewer, seen or not: see
        `rtclab.measure.latency`. The last ones, which may have been under way at the end, are left out.
    plan : Plan
        What was done.
    """

    frame: pd.DataFrame
    participants: pd.DataFrame
    latencies: pd.DataFrame
    plan: Plan

    def plot(self, dark: bool = False) -> Plot:
        """Draw it; a notebook shows the figure, `Plot.save` writes it to a file.

        Parameters
        ----------
        dark : bool
            Whether for a dark page.

        Raises
        ------
        rtclab.errors.RtclabError
            matplotlib is not installed.
        """
        from .plot import Plot

        return Plot(self.frame, self.latencies, f"{self._title()}\n{self._doubts()}".strip(), dark)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.frame.index)}: {self._title()}>"

    def _title(self) -> str:
        width, height = self.plan.size
        each = f"{width}x{height} at {self.plan.fps} fps"
        sound = "" if self.plan.sound else " without sound"
        return f"{self.plan.participants} participants, {each}{sound}, {self.plan.seconds:g} s"

    def _repr_html_(self) -> str:
        names = [str(name) for name in self.frame.index]
        head = "".join(f"<th>{html.escape(name)}</th><th></th>" for name in names)
        lines = []
        for group, members in TABLE.items():
            lines.append(
                f'<tr class="group"><th class="words" colspan="{2 * len(names) + 2}">{group}</th></tr>'
            )
            for line in members:
                cells = "".join(self._cells(line, name) for name in names)
                unit = f'<td class="words unit">{line.unit}</td>'
                lines.append(f'<tr><td class="words">{line.label}</td>{cells}{unit}</tr>')
        layers = f"{ONE_LAYER} " if "sfu" in names else ""
        caption = html.escape(f"{self._title()}. Small: what it is on paper. {layers}{self._doubts()}")
        return (
            f'<style>{_STYLE}</style><table class="rtclab-compare"><caption>{caption}</caption>'
            f"<thead><tr><th></th>{head}<th></th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
        )

    def _doubts(self) -> str:
        """Which latencies tell more of this machine than of an architecture."""
        slow = self.frame.index[(self.frame["peers_cores"] > BUSY) | (self.frame["latency_p95_s"] > LATE_S)]
        if not len(slow):
            return ""
        advice = "take fewer participants, a lower fps, or sound=False"
        return f"In {', '.join(slow)} the participants were too much for this machine: {advice}."

    def _cells(self, line: Line, name: str) -> str:
        paper = ""
        if f"{line.figure}_formula" in self.frame:
            paper = _written(self.frame[f"{line.figure}_formula"][name], line)
        return (
            f'<td>{_written(self.frame[line.figure][name], line) or "-"}</td><td class="paper">{paper}</td>'
        )


def _written(value: Any, line: Line) -> str:
    """A value as text; empty for NaN."""
    number = float(value) * line.scale
    if math.isnan(number):
        return ""
    whole = line.digits == 1 and line.unit == "" and number == round(number)
    return f"{number:,.{0 if whole else line.digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
