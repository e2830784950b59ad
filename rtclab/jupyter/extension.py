"""The Jupyter server extension: see `rtclab.jupyter`."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

from jupyter_server._tz import utcnow
from jupyter_server.utils import url_path_join

from . import rooms, share
from .record import key_path, write_key
from .registry import EngineSocket, Registry, StreamSocket

ACTIVITY = "rtclab"  # in the times by which Jupyter tells whether a server is idle


def load(serverapp: Any) -> None:
    """Serve rooms, and leave the key by which kernels register them."""
    path = key_path(Path(serverapp.runtime_dir), os.getpid())
    try:
        key = write_key(path)
    except (OSError, RuntimeError) as error:
        serverapp.log.error("rtclab: no kernel can register a room, as %s cannot be written: %s", path, error)
        return
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
