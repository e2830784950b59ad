"""How the Jupyter server helps: it carries a room's signaling, and media that cannot travel by UDP, between
browsers and the kernel.

The kernel's engine dials out to the server that started it (`uplink`), so a running cell is in nobody's way,
and whatever lets a browser reach its notebook lets it reach the room, too. In the server runs `extension`:

    GET        <base_url>rtclab/rooms                  the rooms of this server's kernels, as JSON
    WebSocket  <base_url>rtclab/rooms/<id>/signaling   a client of the room, see `rtclab.signaling.messages`
    HTTP       <base_url>rtclab/rooms/<id>/whip[/name], .../whep[/name], .../sessions/<secret>
                                                       see `rtclab.signaling.whip`

All of it asks for what Jupyter asks for: a login or its token, XSRF tokens, its own origin. What share links
lead to (`share`) asks for their own token instead:

    GET  <base_url>rtclab/share/<id>/                        the page, which is the same for everybody
    WS   <base_url>rtclab/share/<id>/signaling?token=...     somebody with a link
"""

from __future__ import annotations

from typing import Any

EXTENSION = "rtclab"  # what Jupyter calls it


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension."""
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Begin to serve; called by Jupyter Server."""
    from .extension import load  # what a kernel that only dials has no use for

    load(serverapp)
