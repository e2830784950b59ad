"""What happened? Frame codes, latency, quality, freezes, lip sync, and what each should be on paper.

Each function works alone, on arrays, sequences and DataFrames.
"""

from .formulas import formulas
from .frame_code import FrameCode, draw_frame_code, read_frame_code
from .freezes import Freezes, freezes
from .latency import LatencySummary, latency, summary
from .quality import Quality, luma, mean_quality, quality
from .skew import onsets, skew

__all__ = [
    "FrameCode",
    "Freezes",
    "LatencySummary",
    "Quality",
    "draw_frame_code",
    "formulas",
    "freezes",
    "latency",
    "luma",
    "mean_quality",
    "onsets",
    "quality",
    "read_frame_code",
    "skew",
    "summary",
]
