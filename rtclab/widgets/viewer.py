"""The viewer widget: everybody in a room, or one of them."""

from __future__ import annotations

import traitlets

from ..signaling.carrier import Connect
from . import bundle
from .base import SignalingWidget


class ViewerWidget(SignalingWidget):
    """Shows a tile for each participant who publishes.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    of : str, optional
        Show only the participant of this name.
    room : str
        The room's name, as shown.
    server : str
        See `SignalingWidget.set_server`.
    """

    _esm = bundle.module("entry_viewer.js")
    _css = bundle.style()
    _what = "viewer"

    of = traitlets.Unicode("", read_only=True).tag(sync=True)
    room = traitlets.Unicode("room", read_only=True).tag(sync=True)

    def __init__(
        self, connect: Connect, *, of: str | None = None, room: str = "room", server: str = ""
    ) -> None:
        super().__init__(connect, server, of=of or "", room=room)

    def _title(self) -> str:
        return f"Viewer of {self.of or 'everyone'} in {self.room}"
