"""An ICE restart of a headless connection (RFC 8445 section 9), which aiortc cannot do: step by step.

    restart = IceRestart(connection)
    await restart.gather()                 # new sockets, new ufrag and password
    answer = ...                           # of the room, to restart.offer(sdp): the offer with these in it
    await restart.check(answer)            # the new pairs; media go on by the old one meanwhile
    await restart.take_over()              # from here on by the new one

DTLS sits on top and does not notice: same handshake, same keys, same SSRCs.
"""

from __future__ import annotations

import asyncio
import re

from aioice import Candidate
from aiortc import RTCIceGatherer, RTCPeerConnection
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.sdp import candidate_to_sdp

from ..errors import NegotiationError
from . import rtc

LIMIT_S = 30.0
_MONITOR = "_RTCIceTransport__monitor_task"
_GATHERER = "_RTCIceTransport__iceGatherer"
_WAKE = b"\0"  # neither STUN, DTLS nor RTP: whoever takes it throws it away
_REPLACED = re.compile(r"^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)\b.*\r\n", re.MULTILINE)


class IceRestart:
    """One restart of a connection that is connected; used on the connection's loop.

    Parameters
    ----------
    connection : RTCPeerConnection
        Made by `rtclab.peers.rtc.new_connection`.
    ice : Ice
        The servers to ask, as for the connection itself.
    """

    def __init__(self, connection: RTCPeerConnection, ice: rtc.Ice = rtc.NO_SERVERS) -> None:
        configuration = rtc.configuration(ice)
        self._connection = connection
        self._transport: RTCIceTransport = connection.getTransceivers()[0].receiver.transport.transport
        self._gatherer = RTCIceGatherer(configuration.iceServers or [], configuration.iceTransportPolicy)
        self._gatherer._connection.ice_controlling = self._transport._connection.ice_controlling

    async def gather(self) -> None:
        """Open new sockets and find candidates.

        Raises
        ------
        rtclab.errors.IceServerError
            Only relays may be used, and there is none.
        """
        with rtc.gathering(self._connection):
            await self._gatherer.gather()

    def offer(self, sdp: str) -> str:
        """The offer `sdp` with the new credentials and candidates in place of the old ones."""
        parameters = self._gatherer.getLocalParameters()
        lines = [f"a=ice-ufrag:{parameters.usernameFragment}", f"a=ice-pwd:{parameters.password}"]
        lines += [f"a=candidate:{candidate_to_sdp(one)}" for one in self._gatherer.getLocalCandidates()]
        added = "\r\n".join([*lines, "a=end-of-candidates", ""])
        head, *media = re.split(r"^(?=m=)", _REPLACED.sub("", sdp), flags=re.MULTILINE)
        return head + "".join(section + added for section in media)

    async def check(self, answer: str) -> None:
        """Find a pair that works with the answer's candidates.

        Raises
        ------
        rtclab.errors.NegotiationError
            There is none, or the answer restarts nothing.
        """
        fresh, old = self._gatherer._connection, self._transport._connection
        ufrag, pwd = (re.search(rf"^a=ice-{key}:(\S+)", answer, re.MULTILINE) for key in ("ufrag", "pwd"))
        if ufrag is None or pwd is None or ufrag[1] == old.remote_username:
            raise NegotiationError("bad_sdp", "the answer has no new ICE credentials")
        fresh.remote_username, fresh.remote_password = ufrag[1], pwd[1]
        fresh.remote_is_lite = "a=ice-lite" in answer
        for line in dict.fromkeys(re.findall(r"^a=candidate:(.*?)\r?$", answer, re.MULTILINE)):
            await fresh.add_remote_candidate(Candidate.from_sdp(line))
        await fresh.add_remote_candidate(None)
        try:
            await asyncio.wait_for(fresh.connect(), LIMIT_S)
        except (ConnectionError, asyncio.TimeoutError) as error:
            raise NegotiationError("bad_sdp", "no pair of the new candidates works") from error

    async def take_over(self) -> None:
        """Let media go by the new pair, and close what the old one had."""
        transport, fresh = self._transport, self._gatherer._connection
        old = transport._connection
        monitor: asyncio.Task[None] = getattr(transport, _MONITOR)
        monitor.cancel()  # it would take the end of the old sockets for the end of the connection
        transport._connection, transport._recv, transport._send = fresh, fresh.recv, fresh.send
        setattr(transport, _GATHERER, self._gatherer)
        setattr(transport, _MONITOR, asyncio.ensure_future(transport._monitor()))
        old._queue.put_nowait((_WAKE, 1))  # DTLS waits there; from now on it reads from the new sockets
        await asyncio.sleep(0)
        await old.close()
