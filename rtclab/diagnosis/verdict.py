"""What the checks come to: one sentence that says how media will travel here, and what to change.

In the order of preference: UDP straight to the kernel; UDP or TCP through a TURN server; encoded frames on
the Jupyter server's WebSocket; the same by comm, which stands still while a cell runs. Pages that have no
WebCodecs get pictures (JPEG) where no WebRTC passes, and cannot publish. A browser that has no WebRTC at all
gets nothing: every session begins with its peer connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

State = Literal["waiting", "running", "ok", "warn", "fail", "none"]
Tone = Literal["info", "warn", "error"]

ENABLE: Final = "install rtclab where the Jupyter server runs, too, and restart that server"
SECURE: Final = "open this page by https or as http://localhost (for instance through `ssh -L`)"
NO_PAGE: Final = (
    "No page has shown this widget, so nothing is known of browsers: participants made by room.join() use "
    "UDP inside this machine, and a page that displays rtclab.doctor() will tell the rest."
)
NO_WEBRTC: Final = (
    "No media will travel between this page and the kernel, as every way begins with WebRTC, which this "
    "browser does not have: switch it on in the browser's settings or take another one, and examine again."
)


class Verdict(NamedTuple):
    """How media will travel.

    Attributes
    ----------
    way : str
        ``"webrtc"``, ``"turn"``, ``"websocket"``, ``"comm"``, ``"none"``, or ``"unknown"`` without a page.
    tone : str
        ``"info"`` when nothing needs to change, ``"warn"`` when something is missing, ``"error"`` when no
        media will travel.
    sentence : str
        For people.
    """

    way: str
    tone: Tone
    sentence: str


def verdict(
    states: Mapping[str, State], page: bool = True, relayed: bool = False, absent: bool = False
) -> Verdict:
    """Sum up.

    Parameters
    ----------
    states : mapping
        The state of each check by its name, see `rtclab.diagnosis.doctor.CHECKS`.
    page : bool
        Whether a page has taken part.
    relayed : bool
        Whether the connection that came about went through a TURN server.
    absent : bool
        Whether the page's browser has no WebRTC, or it is switched off.
    """
    if states.get("kernel") == "fail":
        return Verdict(
            "none", "error", "rtclab cannot work in this kernel until what is listed beside it is put right."
        )
    if not page:
        return Verdict("unknown", "warn", NO_PAGE)
    if absent:
        return Verdict("none", "error", NO_WEBRTC)
    codecs = states.get("webcodecs") in ("ok", "warn")
    server = states.get("extension") == "ok"
    changes: list[str] = []
    if states.get("udp") == "ok":
        way = "turn" if relayed else "webrtc"
        how = (
            "by WebRTC through the TURN server" if relayed else "by WebRTC over UDP, straight to this kernel"
        )
        if states.get("extension") in ("warn", "fail"):
            changes.append(f"to join and change things while a cell runs, {ENABLE}")
    elif server or states.get("comm") == "ok":
        way = "websocket" if server else "comm"
        how = (
            "through the Jupyter server's WebSocket, as UDP does not get through"
            if server
            else "by comm, as UDP does not get through and the server extension is not used, and will stand "
            "still while a cell runs"
        )
        if not codecs:
            how += "; without WebCodecs that means pictures only, without sound"
        if not server:
            changes.append(f"to keep it going, {ENABLE}")
        changes.append(
            "for less delay, run where UDP passes or give the room a TURN server "
            '(rtclab.Room(ice_servers=..., ice="full"))'
        )
    else:
        return Verdict(
            "none",
            "error",
            "No media will travel between this page and the kernel, as neither UDP nor any message gets "
            "through: let the running cell finish or restart the kernel, and examine again.",
        )
    if states.get("ice") == "fail":
        changes.append("for pages that need a relay, put right what stands beside STUN and TURN")
    if states.get("secure") == "fail":
        changes.insert(0, f"to publish from here, {SECURE}")
    elif "fail" in (states.get("permission"), states.get("camera")):
        changes.insert(
            0, "to publish a camera, put right what stands beside it (the test pattern works anyway)"
        )
    ending = "; " + ", and ".join(changes) if changes else "; nothing needs to change"
    fine = way in ("webrtc", "turn") and "fail" not in states.values()
    return Verdict(way, "info" if fine else "warn", f"Media will travel {how}{ending}.")
