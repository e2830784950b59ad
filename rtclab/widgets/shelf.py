"""The widgets of one room: each cell's by what it shows, so that a cell that runs again replaces its own."""

from __future__ import annotations

from typing import TypeVar

from .base import SignalingWidget
from .cell import running_cell

Widget = TypeVar("Widget", bound=SignalingWidget)


class Shelf:
    """Every open widget of a room.

    Attributes
    ----------
    server : str
        Where the room is at the Jupyter server, see `SignalingWidget.set_server`.
    """

    def __init__(self) -> None:
        self.server = ""
        self._widgets: dict[tuple[str, ...], SignalingWidget] = {}

    def keep(self, widget: Widget, *what: str) -> Widget:
        """Remember a widget, and close the one that an earlier run of the same cell made."""
        cell = running_cell()
        former = self._widgets.pop((cell, *what), None) if cell else None
        if former is not None:
            former.close()
        self._widgets[(cell or str(id(widget)), *what)] = widget
        widget.set_server(self.server)  # again: it may have changed meanwhile
        return widget

    def set_server(self, path: str | None) -> None:
        """Tell every widget where the room is now; on any thread."""
        self.server = path or ""
        for widget in list(self._widgets.values()):
            widget.set_server(self.server)

    def end(self) -> None:
        """Let every widget take no more messages."""
        for widget in self._widgets.values():
            widget.end()
        self._widgets.clear()
