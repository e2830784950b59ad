"""The Jupyter server extension: see `rtclab.jupyter`."""

from __future__ import annotations

import atexit
import os
import secrets
from pathlib import Path
from typing import Any

from jupyter_server._tz import utcnow
from jupyter_server.utils import url_path_join

from . import rooms, share
from .record import record_path, write_record
from .registry import EngineSocket, Registry, StreamSocket

ACTIVITY = "rtclab"  # in the times by which Jupyter tells whether a server is idle


def load(serverapp: Any) -> None:
    """Serve rooms, and leave the key by which kernels register them."""
    path = record_path(Path(serverapp.runtime_dir), os.getpid())
    key = secrets.token_urlsafe(32)

    def leave_record() -> None:
        try:
            write_record(path, key, serverapp.server_info())
        except (OSError, RuntimeError) as error:
            message = "rtclab: no kernel can register a room, as %s cannot be written: %s"
            serverapp.log.error(message, path, error)

    serverapp.io_loop.add_callback(leave_record)  # by then it is known on which port the server listens
    atexit.register(path.unlink, missing_ok=True)
    web_app = serverapp.web_app

    def active(kernel: str | None) -> None:
        """Keep whatever looks for idle servers and kernels from ending this one."""
        now = web_app.settings["last_activity_times"][ACTIVITY] = utcnow()
        manager = serverapp.kernel_manager
        if kernel is not None and kernel in manager:
            manager.get_kernel(kernel).last_activity = now

    registry = Registry(key, active)
    web_app.add_handlers(".*$", routes(web_app.settings["base_url"], registry))


def routes(base_url: str, registry: Registry) -> list[Any]:
    """All rules of the extension."""
    engine = url_path_join(base_url, "rtclab/engine")
    shared = {"registry": registry}
    return [
        (engine, EngineSocket, shared),
        (engine + r"/([\w-]+)", StreamSocket, shared),
        *rooms.routes(base_url, registry),
        *share.routes(base_url, registry),
    ]
