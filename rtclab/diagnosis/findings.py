"""What ``rtclab doctor`` reports: a finding for each thing looked at, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .. import __version__

State = Literal["ok", "warn", "fail"]
Finding = tuple[State, str]


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    state : str
        ``"ok"``, ``"warn"`` or ``"fail"``.
    detail : str
        What was found, and what to do unless it is ok.
    """

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Report:
    """What the doctor found; its ``repr`` is the table.

    Attributes
    ----------
    checks : tuple of Check
        In the order they were made.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings are allowed."""
        return all(check.state != "fail" for check in self.checks)

    @property
    def summary(self) -> str:
        """One sentence."""
        failed = [check.name for check in self.checks if check.state == "fail"]
        warned = [check.name for check in self.checks if check.state == "warn"]
        if failed:
            return f"rtclab cannot work here until this is put right: {', '.join(failed)}."
        if warned:
            return f"rtclab works here, with limits: {', '.join(warned)}."
        return "rtclab has everything it needs here."

    def __repr__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [f"{check.state:<4}  {check.name:<{width}}  {check.detail}" for check in self.checks]
        return "\n".join([f"rtclab {__version__}", "", *lines, "", self.summary])
