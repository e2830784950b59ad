"""A share link on display: HTML that follows what its page tells of itself.

Behind a hub's proxy only the page of the notebook knows the address of the Jupyter server as people have it.
It says so when it shows the card, which is then drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable

import anywidget
import traitlets

from . import bundle


class ShareCard(anywidget.AnyWidget):
    """Shows a link.

    Parameters
    ----------
    draw : callable
        Gives the HTML.
    on_origin : callable
        Told the origin of a page that shows the card; called on any thread.
    """

    _esm = bundle.module("entry_share_card.js")

    html = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, draw: Callable[[], str], on_origin: Callable[[str], None]) -> None:
        self._draw = draw
        self._on_origin = on_origin
        self.set_trait("html", draw())
        super().__init__()
        self.on_msg(self._told)

    def redraw(self) -> None:
        """Show what is so now."""
        self.set_trait("html", self._draw())

    def _told(self, _widget: object, content: object, _buffers: object) -> None:
        origin = content.get("origin") if isinstance(content, dict) else None
        if isinstance(origin, str):
            self._on_origin(origin)
            self.redraw()
