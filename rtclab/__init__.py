"""The WebRTC lab that lives in a notebook.

    import rtclab

    room = rtclab.Room()      # an SFU in this process, on one UDP port
    room.publisher()          # widget: camera, screen or test pattern
    room.viewer()             # widget: everyone in the room
"""

from . import errors, measure
from .participant import Layer, Participant, Track
from .peers import File, Peer, RemoteTrack, TestPattern
from .room import Room

__version__ = "0.1.0"

__all__ = [
    "File",
    "Layer",
    "Participant",
    "Peer",
    "RemoteTrack",
    "Room",
    "TestPattern",
    "Track",
    "errors",
    "measure",
]
