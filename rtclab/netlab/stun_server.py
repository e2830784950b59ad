"""A STUN server for a notebook (RFC 8489): it tells whoever asks from where the question came.

    client                                        here
      | binding request (20 bytes and attributes)
      | ----------------------------------------->
      | <-----------------------------------------  success: XOR-MAPPED-ADDRESS, the source it has seen

It knows neither users nor relays; `rtclab.bench.coturn` does.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aioice import stun

HOST = "127.0.0.1"


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, server: StunServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = respond(data, (addr[0], addr[1]))
        if answer is not None:
            self._server.answered += 1
            self._transport.sendto(answer, addr)


def respond(data: bytes, source: tuple[str, int]) -> bytes | None:
    """The answer to a datagram from `source`; None if it is no binding request."""
    try:
        request = stun.parse_message(data)
    except (ValueError, struct.error, IndexError):
        return None
    if request.message_method != stun.Method.BINDING or request.message_class != stun.Class.REQUEST:
        return None
    response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
    response.attributes["XOR-MAPPED-ADDRESS"] = source
    response.add_fingerprint()
    return bytes(response)


class StunServer:
    """A server on the loopback interface, until it is closed.

    Attributes
    ----------
    answered : int
        Questions answered so far.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> StunServer:
        """Listen, on the running loop."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Answering(self), local_addr=(HOST, 0)
        )
        return self

    @property
    def url(self) -> str:
        """What goes into ``ice_servers``."""
        assert self._transport is not None, "open it first"
        return f"stun:{HOST}:{self._transport.get_extra_info('sockname')[1]}"

    def close(self) -> None:
        """Listen no more; on the loop that `open` ran on."""
        if self._transport is not None:
            self._transport.close()
