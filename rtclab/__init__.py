"""The WebRTC lab that lives in a notebook.

    import rtclab

    room = rtclab.Room()      # an SFU in this process, on one UDP port
    room.publisher()          # widget: camera, screen or test pattern
    room.viewer()             # widget: everyone in the room

Names are loaded when first used: `rtclab doctor` must run where aiortc or PyAV cannot even be imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors, measure
    from .comparison import Comparison, compare
    from .diagnosis.doctor import doctor
    from .forwarding.architecture import Architecture, architecture
    from .participant import Layer, Participant, Track
    from .peers import File, Peer, RemoteTrack, TestPattern
    from .room import Room
    from .share import Share
    from .signaling import ice_servers

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Comparison",
    "File",
    "Layer",
    "Participant",
    "Peer",
    "RemoteTrack",
    "Room",
    "Share",
    "TestPattern",
    "Track",
    "architecture",
    "compare",
    "doctor",
    "errors",
    "ice_servers",
    "measure",
]

_HOMES = {
    "_jupyter_server_extension_points": "jupyter",
    "Architecture": "forwarding.architecture",
    "Comparison": "comparison",
    "File": "peers",
    "Layer": "participant",
    "Participant": "participant",
    "Peer": "peers",
    "RemoteTrack": "peers",
    "Room": "room",
    "Share": "share",
    "TestPattern": "peers",
    "Track": "participant",
    "architecture": "forwarding.architecture",
    "compare": "comparison",
    "doctor": "diagnosis.doctor",
}

_MODULES = {"errors": "errors", "ice_servers": "signaling.ice_servers", "measure": "measure"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{_MODULES[name]}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
