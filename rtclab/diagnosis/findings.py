"""What ``rtclab doctor`` reports: a finding for each thing looked at, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .. import __version__

State = Literal["ok", "warn", "fail", "none"]
Finding = tuple[State, str]

# the checks by which media can travel
REACH: Final = "Addresses"
SERVERS: Final = ("Server extension", "Jupyter servers")


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    state : str
        ``"ok"``, ``"warn"``, ``"fail"``, or ``"none"`` for what cannot be looked at here.
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

    @property
    def sentence(self) -> str:
        """How media will travel from here and what to change, in one sentence."""
        if not self.ok:
            return self.summary
        warned = [check.name for check in self.checks if check.state == "warn"]
        near = "pages on this machine" if REACH in warned else "pages that reach this machine"
        beside = [name for name in SERVERS if name in warned]
        if beside:
            far = "by comm, which stands still while a cell runs"
        else:
            far = "through the WebSocket of their Jupyter server"
        change = (
            f"what could be better stands beside {', '.join(warned)}" if warned else "nothing needs to change"
        )
        return f"Media will travel by WebRTC over UDP to {near}, and to others {far}; {change}."

    def __repr__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [f"{check.state:<4}  {check.name:<{width}}  {check.detail}" for check in self.checks]
        return "\n".join([f"rtclab {__version__}", "", *lines, "", self.sentence])
