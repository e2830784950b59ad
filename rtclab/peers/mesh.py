"""The connections of a headless peer with the other clients, where the room only signals.

One `Link` for each client that the room names. What the peer publishes is read and prepared once, and
encoded once for each connection: that is what a mesh costs. When the room takes the media over again the
connections stay for a moment, so that frames come until the room's arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from . import rtc
from .link import Link
from .outlets import Spread
from .sinks import Inlet

LINGER_S = 1.0


class Mesh:
    """All connections of one client with others.

    Parameters
    ----------
    send : callable
        Sends a message to the room, which passes it on.
    changed : callable
        Called when tracks arrive by another way than before.

    Attributes
    ----------
    ice : rtc.Ice
        The servers that new connections use.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], changed: Callable[[], None]) -> None:
        self._send = send
        self._changed = changed
        self.ice = rtc.NO_SERVERS
        self._links: dict[str, Link] = {}
        self._spreads: dict[str, Spread] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def connect(self, peers: Sequence[Mapping[str, Any]]) -> None:
        """Be connected with exactly these: ``{id, name, polite}`` each."""
        named = {peer["id"]: peer for peer in peers}
        gone = [id for id in self._links if id not in named]
        for id in gone:
            self._leave(self._links.pop(id), LINGER_S if not named else 0)
        for id, peer in named.items():
            if id not in self._links:
                link = Link(peer["name"], bool(peer["polite"]), self._sayer(id), self._changed, self.ice)
                self._links[id] = link
                link.carry(self._spreads)
        if gone:
            self._changed()

    def carry(self, spreads: Mapping[str, Spread]) -> None:
        """Send exactly these to everybody, by the room's track ids."""
        self._spreads = dict(spreads)
        for link in self._links.values():
            link.carry(self._spreads)

    def receive(self, message: Mapping[str, Any]) -> None:
        """Take what another client says, as the room passes it on."""
        link = self._links.get(message["from"])
        if link is not None:
            link.receive(message)

    def inlet(self, track: str) -> Inlet | None:
        """Where a track arrives directly, if it does."""
        inlets = (link.inlet(track) for link in self._links.values())
        return next((inlet for inlet in inlets if inlet is not None), None)

    def figures(self, now: float) -> Iterator[dict[str, Any]]:
        """What each m-line has carried; see `rtclab.peers.Peer.stats`."""
        for link in self._links.values():
            for figures in link.figures(now):
                yield {"connection": link.name, **figures}

    async def close(self) -> None:
        """End all connections."""
        links = list(self._links.values())
        self._links.clear()
        leaving = list(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*(link.close() for link in links), *leaving, return_exceptions=True)

    def _sayer(self, to: str) -> Callable[..., None]:
        def say(description: Any, candidate: Any, tracks: Any) -> None:
            content = {"description": description, "candidate": candidate, "tracks": tracks}
            self._send({"type": "peer", "to": to, **content})

        return say

    def _leave(self, link: Link, linger: float) -> None:
        async def leave() -> None:
            try:
                await asyncio.sleep(linger)
            finally:
                await link.close()

        link.retire()
        task = asyncio.ensure_future(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
