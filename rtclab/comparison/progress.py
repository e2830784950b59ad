"""How far a comparison is: a bar where tqdm is installed, else a line for each thing that begins."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..bench.progress import Progress


class Bar:
    """A bar of `total` steps.

    Parameters
    ----------
    total : int
        Steps until the end.
    show : bool
        Whether to show anything.
    """

    def __init__(self, total: int, show: bool) -> None:
        self._bar: Any = None
        self._lines: Progress | None = None
        if show:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                self._lines = Progress()
            else:
                self._bar = tqdm(
                    total=total, desc="compare", bar_format="{l_bar}{bar}| {elapsed}<{remaining}"
                )

    def say(self, text: str) -> None:
        """Say what begins now."""
        if self._bar is not None:
            self._bar.set_description_str(text)
        elif self._lines is not None:
            self._lines.say(text)

    def step(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._lines is not None:
            self._lines.__exit__(kind, error, trace)
