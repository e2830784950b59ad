"""The publisher widget: a camera, a screen or a test pattern of this page, sent to a room."""

from __future__ import annotations

import traitlets

from ..signaling.carrier import Connect
from . import bundle
from .base import FIRST_FRAME, SignalingWidget

SOURCES = ("camera", "screen", "pattern")


class PublisherWidget(SignalingWidget):
    """Publishes from the page that shows it, once a person has pressed Start.

    Parameters
    ----------
    connect : callable
        The room's side of a carrier, see `rtclab.signaling.carrier`.
    name : str, optional
        The participant's name; the room chooses one by default.
    source : str
        What is chosen at first: ``"camera"``, ``"screen"`` or ``"pattern"``.
    simulcast : bool
        Send three layers, at a quarter, half and full size. A screen is always sent in one.
    room : str
        The room's name, as shown.
    server : str
        See `SignalingWidget.set_server`.

    Raises
    ------
    ValueError
        `source` is none of these.
    """

    _esm = bundle.module("entry_publisher.js")
    _css = bundle.style()
    _what = "publisher"
    _phases = ("permission", "signaling", "ICE", "DTLS", FIRST_FRAME)

    source = traitlets.Unicode("camera", read_only=True).tag(sync=True)
    simulcast = traitlets.Bool(True, read_only=True).tag(sync=True)
    room = traitlets.Unicode("room", read_only=True).tag(sync=True)

    def __init__(
        self,
        connect: Connect,
        *,
        name: str | None = None,
        source: str = "camera",
        simulcast: bool = True,
        room: str = "room",
        server: str = "",
    ) -> None:
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, not {source!r}")
        super().__init__(connect, server, name=name or "", source=source, simulcast=simulcast, room=room)

    def _title(self) -> str:
        who = f" {self.name!r}" if self.name else ""
        return f"Publisher{who} of a {self.source} in {self.room}"
