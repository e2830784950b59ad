"""What carries messages between a client and a room, and where it can, media; nothing more.

A carrier (a widget's comm, a WebSocket, a queue in the process) belongs to one client. When a client appears,
the carrier's side calls the room's `Connect` with itself and gets an `Endpoint` to deliver to. All of it
happens on the engine's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


class Carrier(Protocol):
    """The room's way to one client."""

    @property
    def kind(self) -> str:
        """The name shown in the trace: ``"comm"``, ``"in-process"``, ..."""
        ...

    def send(self, message: dict[str, Any]) -> None:
        """Send `message`, a JSON object; never raises and never blocks, nothing happens after the end."""
        ...

    def close(self) -> None:
        """End it from the room's side; what was sent before still arrives. `Endpoint.lost` is not called."""
        ...


@runtime_checkable
class MediaCarrier(Carrier, Protocol):
    """A carrier that also takes media (see `rtclab.transport.tunnel_format`), in order with each other."""

    @property
    def unsent(self) -> int:
        """Bytes, of messages and media, that wait in it; 0 where that is not known."""
        ...

    def send_media(self, data: bytes) -> None:
        """Send one binary message; as quiet as `send`. What the client does not take in time is lost."""
        ...


class Endpoint(Protocol):
    """One client's way into the room."""

    def receive(self, message: object) -> None:
        """Take what the client sent: any JSON value, not checked yet."""
        ...

    def receive_media(self, data: bytes) -> None:
        """Take one binary message of the client, not checked yet."""
        ...

    def lost(self, reason: str) -> None:
        """Learn, once, that the carrier is gone and nothing can be sent any more."""
        ...


Connect = Callable[[Carrier], Endpoint]

ConnectGuest = Callable[..., Endpoint]  # also takes `grant`, of who comes by a share link
