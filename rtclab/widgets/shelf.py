"""The widgets of one room: each cell's by what it shows, so that a cell that runs again replaces its own."""

from __future__ import annotations

import threading
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
        self._lock = threading.Lock()

    def keep(self, widget: Widget, *what: str) -> Widget:
        """Remember a widget, and close the one that an earlier run of the same cell made."""
        cell = running_cell()
        with self._lock:
            former = self._widgets.get((cell, *what)) if cell else None
            self._widgets[(cell or str(id(widget)), *what)] = widget
            widget.set_server(self.server)  # again: it may have changed meanwhile
        if former is not None:
            former.close()
        return widget

    def set_server(self, path: str | None) -> None:
        """Tell every widget where the room is now; on any thread."""
        with self._lock:
            self.server = path or ""
            for widget in self._widgets.values():
                widget.set_server(self.server)

    def end(self) -> None:
        """Let every widget take no more messages."""
        with self._lock:
            for widget in self._widgets.values():
                widget.end()
            self._widgets.clear()
