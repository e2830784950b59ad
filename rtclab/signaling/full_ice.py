"""Offers to a room that uses full ICE: its candidates have to be gathered before there is an answer.

The client goes on meanwhile and its candidates trickle in; they go to the agent that was made for its offer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..errors import Closed, IceServerError
from ..transport.full import FullIce, FullTransport
from ..transport.secure import RemoteParameters
from ..transport.servers import each
from . import session as events
from .member import Member
from .negotiation import RemoteFields

if TYPE_CHECKING:
    from .server import SignalingServer

logger = logging.getLogger(__name__)


class FullIceDesk:
    """Has transports ready when offers are answered.

    Parameters
    ----------
    server : SignalingServer
        The room's signaling.
    full : FullIce
        What makes the transports.
    """

    def __init__(self, server: SignalingServer, full: FullIce) -> None:
        self.server = server
        self.full = full
        self._ready: dict[str, FullTransport] = {}  # by member, of those that have not been answered
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def ready(self, member: Member, event: events.Offered, remote: RemoteFields | None, anew: bool) -> bool:
        """Whether an offer can be answered; if not, it is handled again once it can.

        Parameters
        ----------
        anew : bool
            Whether the offer comes from a new peer connection.
        """
        if remote is None or (not anew and remote.ufrag == member.remote_ufrag):
            return True
        transport = self._ready.get(member.id) if anew else member.transport
        if isinstance(transport, FullTransport) and transport.prepared(remote.ufrag):
            return True
        self.forget(member)
        if anew:
            transport = self._ready[member.id] = self.full.new_transport()
        assert isinstance(transport, FullTransport)
        self._tasks[member.id] = asyncio.ensure_future(self._prepare(member, event, remote, transport))
        return False

    async def _prepare(
        self, member: Member, event: events.Offered, remote: RemoteFields, transport: FullTransport
    ) -> None:
        server = self.server
        parameters = RemoteParameters(
            remote.ufrag, remote.pwd, remote.fingerprints, remote.setup, remote.candidates
        )
        try:
            servers = [list(each([one])) for one in await server.ice.ask()]
            await transport.prepare(parameters, servers, server.ice.policy)
            del self._tasks[member.id]
            server.offered(member, event)
        except (IceServerError, Closed) as error:
            self.forget(member)
            member.session.error(event.id, "ice_servers", str(error))
        except Exception:  # a mistake of the room's: the client shall not wait for ever
            logger.exception("an offer could not be answered")
            self.forget(member)
            member.session.error(event.id, "internal", "the room failed to handle this; its log says why")
        server.flush(member)

    def take(self, member: Member) -> FullTransport:
        """The transport that was prepared for a member's new peer connection."""
        return self._ready.pop(member.id)

    def add_candidate(self, member: Member, line: str) -> None:
        """Learn a candidate that a client found after its offer."""
        transport = self._ready.get(member.id, member.transport)
        if isinstance(transport, FullTransport):
            transport.add_candidate(line)

    def forget(self, member: Member) -> None:
        """Give up what was prepared for a member."""
        task = self._tasks.pop(member.id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        transport = self._ready.pop(member.id, None)
        if transport is not None:
            transport.close()
