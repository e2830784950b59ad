"""Who takes part without a browser? Headless peers, what they publish and what they receive."""

from .pattern import TestPattern
from .peer import Peer
from .sinks import RemoteTrack
from .sources import File

__all__ = ["File", "Peer", "RemoteTrack", "TestPattern"]
