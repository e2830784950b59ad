"""The room under test, in a process of its own.

Clients signal over one TCP connection of loopback for each process of the load, a JSON object a line:
``{"client": id, "message": {...}}`` both ways, the messages being those of `rtclab.signaling.messages`. The
benchmark asks over standard input: ``open``, ``figures``, ``architecture``, ``busy``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from typing import Any

from ..engine import get_engine
from ..room import Room
from ..signaling.carrier import Connect, Endpoint
from .busy import BUSY
from .processes import reply

LINE_LIMIT = 1 << 20  # bytes


class _LineCarrier:
    """The room's way to one client."""

    kind = "bench"

    def __init__(self, client: str, writer: asyncio.StreamWriter) -> None:
        self._client = client
        self._writer: asyncio.StreamWriter | None = writer

    def send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            line = json.dumps({"client": self._client, "message": message})
            self._writer.write(line.encode() + b"\n")

    def close(self) -> None:
        self._writer = None


async def listen(connect: Connect) -> int:
    """Take in clients on a TCP port of loopback, and return its number."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints: dict[str, Endpoint] = {}
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the load has hung up, or all ends
            while line := await reader.readline():
                envelope = json.loads(line)
                client = envelope["client"]
                endpoint = endpoints.get(client)
                if endpoint is None:
                    endpoint = endpoints[client] = connect(_LineCarrier(client, writer))
                endpoint.receive(envelope["message"])
        for endpoint in endpoints.values():
            endpoint.lost("the load has ended")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LINE_LIMIT)
    port: int = server.sockets[0].getsockname()[1]
    return port


def _figures(room: Room) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    batch = room._router.batch
    return {
        "sent": batch.sent,
        "system_calls": batch.system_calls,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "mode": batch.mode,
    }


def main() -> None:
    """Serve one room until standard input ends."""
    with Room(host_candidates=["127.0.0.1"]) as room:
        port = get_engine().run(listen(room.connect))
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "open":
                reply({"port": port})
            elif request["do"] == "figures":
                reply(_figures(room))
            elif request["do"] == "architecture":
                room.architecture = request["name"]
                reply({})
            elif request["do"] == "busy":
                reply({"per_second": BUSY[request["kind"]](request["seconds"])})
            else:
                reply({"error": f"unknown request {request['do']!r}"})


if __name__ == "__main__":
    main()
