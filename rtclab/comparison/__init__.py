"""Which architecture costs what? The same people in a mesh, a relay, an SFU and an MCU, side by side."""

from .browsers import browser_figures
from .compare import compare
from .pages import page_figures
from .result import Comparison

__all__ = ["Comparison", "browser_figures", "compare", "page_figures"]
