"""What a kernel and the extension in its Jupyter server say to each other.

The kernel dials `<base_url>rtclab/engine`, a WebSocket on which both send JSON objects in text frames:

kernel to server
    register {version, kernel, rooms: [{id, name}]}         all rooms of this kernel; whenever that changes
    refuse {stream, status, detail, code, retry_s}          an HTTP status, a sentence, a word for programs,
                                                            seconds after which it may be otherwise
    response {id, status, headers: [[name, value]], body}   to a `request`
    active {}                                               somebody is connected past the server

server to kernel
    registered {rooms: [id]}                                they can be reached from now on
    open {stream, room, kind, token, remote, origin}        somebody comes; kind: "signaling", or "share"
                                                            with a token; origin: their page's, if that
                                                            is the server's own
    request {id, room, method, path, headers: {name: value}, body}
                                                            path: what follows `rtclab/rooms/<id>`, or
                                                            `/page/...`, the page of share links

To `open` the kernel answers `refuse`, or it dials `<base_url>rtclab/engine/<stream>`: a WebSocket that the
server joins to the browser's, which only now is accepted. Frames pass both ways unchanged, and no faster than
they are taken; so do close codes.
"""

from __future__ import annotations

import re
from typing import Final

VERSION: Final = 1
MAX_CONTROL: Final = 1 << 20  # bytes of a control message
MAX_FRAME: Final = 1 << 20  # bytes of a frame of a stream
MAX_ROOMS: Final = 256  # of one kernel
ID: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
GOING_AWAY: Final = 1001

# what of an HTTP request and its response concerns a room
REQUEST_HEADERS: Final = ("Content-Type", "If-Match", "User-Agent")
RESPONSE_HEADERS: Final = (
    "Accept-Patch",
    "Accept-Post",
    "Allow",
    "Content-Type",
    "Etag",  # as Tornado spells it
    "Link",
    "Location",
    "Retry-After",
)

PAGE: Final = "/page"


def room_path(room: str) -> str:
    """Where a room is, below a server's base URL."""
    return f"rtclab/rooms/{room}"


def share_path(room: str) -> str:
    """Where a room's share links lead, below a server's base URL."""
    return f"rtclab/share/{room}"


def close_code(code: int | None) -> int:
    """A code for a close frame (RFC 6455 section 7.4), from one that was received, or missed."""
    if code is not None and (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return code
    return GOING_AWAY
