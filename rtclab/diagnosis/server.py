"""What ``rtclab doctor`` looks at beside the machine: the Jupyter server, and STUN and TURN servers.

Servers on other machines are asked only if the environment names them, see `rtclab.signaling.ice_servers`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from typing import TYPE_CHECKING

from ..errors import IceServerError
from ..jupyter import EXTENSION
from ..jupyter.record import Server as JupyterServer
from ..jupyter.record import find_server, runtime_folder
from .findings import Finding

if TYPE_CHECKING:
    from ..transport.servers import Server

ENABLE = f"jupyter server extension enable {EXTENSION} --sys-prefix"
TRIES = 3
TRY_S = 0.5
ALLOCATE_S = 5.0
SOCKET_S = 3.0


def extension() -> Finding:
    """Whether Jupyter servers that are started here will have the extension."""
    if importlib.util.find_spec("jupyter_server") is None:
        return "warn", "there is no Jupyter server here; for one: pip install 'rtclab[lab]'"
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    manager = ExtensionConfigManager(read_config_path=jupyter_config_path())
    listed = manager.get_jpserver_extensions()
    if not listed.get(EXTENSION):
        # Jupyter enables only what is listed
        remedy = ENABLE if EXTENSION in listed else "reinstall rtclab, which enables it"
        return "warn", f"not enabled (`rtclab lab` does so by itself); for other servers: {remedy}"
    return "ok", "enabled for every Jupyter server that is started here"


def servers() -> Finding:
    """Whether the Jupyter servers that run have it, and a WebSocket to it opens."""
    folder = runtime_folder()
    if folder is None or importlib.util.find_spec("jupyter_server") is None:
        return "ok", "none"
    from jupyter_server.serverapp import list_running_servers

    said, without, state = [], [], "ok"
    for record in list_running_servers(str(folder)):
        url, server = str(record["url"]), find_server(folder, int(record["pid"]))
        if server is None:
            without.append(url)
            continue
        begun = time.monotonic()
        problem = asyncio.run(_open(server))
        took = f"in {1000 * (time.monotonic() - begun):.0f} ms"
        said.append(f"{url} has the extension, {problem or f'and a WebSocket to it opened {took}'}")
        state = "warn" if problem else state
    if without:
        said.append(
            f"without the extension, until it is enabled and they are started again: {', '.join(without)}"
        )
    return ("warn" if without or state == "warn" else "ok"), "; ".join(said) or "none runs now"


async def _open(server: JupyterServer) -> str:
    """Open a WebSocket as a kernel does; what is wrong, or ``""``."""
    from ..jupyter.uplink import DIAL_ERRORS, Uplink

    try:
        socket = await asyncio.wait_for(Uplink.dial(server), SOCKET_S)
    except DIAL_ERRORS as error:
        return f"but no WebSocket to it opens ({error or type(error).__name__}): start that server again"
    socket.close()
    return ""


def ice() -> Finding:
    """Whether the STUN and TURN servers that the environment names do what they should."""
    from ..signaling.ice_servers import from_environment
    from ..transport.servers import each

    try:
        named = list(each(from_environment()()))
    except IceServerError as error:  # rooms work without them
        return "warn", str(error)
    if not named:
        return "ok", "the environment names none, so nothing leaves this machine"
    problems = asyncio.run(_ask(named))
    said = [f"{server.url} {problem or 'works'}" for server, problem in zip(named, problems, strict=True)]
    return "warn" if any(problems) else "ok", "; ".join(said)


async def _ask(named: list[Server]) -> list[str]:
    return await asyncio.gather(*(_allocate(server) if server.relays else _bind(server) for server in named))


async def _allocate(server: Server) -> str:
    """Let a TURN server relay for a moment; what is wrong, or ``""``."""
    from aioice.turn import create_turn_endpoint

    from ..transport.turn import why

    made = create_turn_endpoint(
        asyncio.DatagramProtocol,
        (server.host, server.port),
        server.username,
        server.credential,
        ssl=server.scheme == "turns",
        transport=server.transport,
    )
    try:
        transport, _ = await asyncio.wait_for(made, ALLOCATE_S)
    except Exception as error:  # whatever a name, a socket, TLS or the server may do
        return f"relays nothing: {why(error)}"
    transport.close()
    return ""


async def _bind(server: Server) -> str:
    """Ask a STUN server for this machine's address; what is wrong, or ``""``."""
    from aioice import stun

    if server.scheme != "stun":
        return ""  # STUN over TLS: browsers do not ask it either
    request = bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))
    try:
        transport, answer = await asyncio.get_running_loop().create_datagram_endpoint(
            _Answer, remote_addr=(server.host, server.port)
        )
    except OSError as error:
        return f"does not answer: {error.strerror or error}"
    try:
        for _ in range(TRIES):
            transport.sendto(request)
            done, _ = await asyncio.wait([answer.came], timeout=TRY_S)
            if done:
                return answer.came.result()
        return "does not answer"
    finally:
        transport.close()


class _Answer(asyncio.DatagramProtocol):
    """Waits for what a STUN server answers."""

    def __init__(self) -> None:
        self.came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._settle("" if data[:2] == b"\x01\x01" else "answers something that is not STUN")

    def error_received(self, exc: Exception) -> None:
        self._settle(f"does not answer: {exc}")

    def _settle(self, problem: str) -> None:
        if not self.came.done():
            self.came.set_result(problem)
