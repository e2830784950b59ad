"""A benchmark as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import RtclabError

SIZE = (9, 4)  # inches


def check_plot() -> None:
    """Refuse early, before anything was measured.

    Raises
    ------
    rtclab.errors.RtclabError
        matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RtclabError("--plot needs matplotlib. Install it with: pip install 'rtclab[lab]'") from None


def plot(command: str, rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the rows of ``fanout``, ``join`` or ``latency`` into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    if command == "fanout":
        for system in dict.fromkeys(row["system"] for row in rows):
            for axes, key in ((left, "cpu_us"), (right, "p99_ms")):
                own = [row for row in rows if row["system"] == system and row.get(key) is not None]
                viewers = [row["viewers"] for row in own]
                axes.plot(viewers, [row[key] for row in own], marker="o", label=system)
        left.set(xlabel="viewers", ylabel="server CPU, us a packet", ylim=(0, None))
        right.set(xlabel="viewers", ylabel="latency p99, ms", yscale="log")
        left.legend()
    else:
        label, first, second = (
            ("system", "median_ms", "cpu_ms") if command == "join" else ("beside", "p50_ms", "p99_ms")
        )
        for axes, key in ((left, first), (right, second)):
            axes.bar([row[label] for row in rows], [row[key] or 0 for row in rows])
            axes.set(ylabel=key.replace("_", ", "), yscale="log" if command == "latency" else "linear")
            axes.tick_params(axis="x", rotation=20)
    figure.suptitle(f"rtclab bench {command}")
    figure.savefig(path, dpi=120)
