"""How a kernel finds the Jupyter server that started it, and proves to it that it is of the same user.

A Jupyter server gives its pid to its kernels as ``JPY_PARENT_PID``. In its runtime folder the extension
leaves ``rtclab-<host>-<pid>.json``, for the eyes of its user only: where it listens, and a key of its own. A
kernel that shows it may register rooms and nothing else. So Jupyter's own token is not needed, which a server
with a password does not even have, and no file means that there is no extension. One that listens on a Unix
socket (``jupyter lab --sock=...``) has the socket's path in its record.

Jupyter's own ``jpserver-<pid>.json`` would not do: containers that share a home directory (the named servers
of a hub's user) often have the same pid, too, and write over each other's. On a hub a kernel that was not
started by its server itself still knows that one's base URL, as ``JUPYTERHUB_SERVICE_PREFIX``.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

ADDRESS: Final = ("url", "hostname", "port", "sock")
WILDCARDS: Final = ("", "0.0.0.0", "::", "*")


@dataclass(frozen=True)
class Server:
    """A Jupyter server on this machine that has the extension.

    Attributes
    ----------
    url : str
        Its base URL, with a slash at the end, as it is reached from here.
    key : str
        What a kernel shows.
    exposed : bool
        Whether other machines reach it by any address of this one.
    sock : str or None
        Path of the Unix socket on which it listens, and not on any address; `url` then has the name
        ``localhost`` in place of one.
    """

    url: str
    key: str = field(repr=False)
    exposed: bool = False
    sock: str | None = None


def runtime_folder() -> Path | None:
    """Where Jupyter servers of this user leave their records; None without Jupyter."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return None
    return Path(jupyter_runtime_dir())


def record_path(folder: Path, pid: int) -> Path:
    """Where a server of this host leaves its record."""
    return folder / f"rtclab-{_host()}-{pid}.json"


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", socket.gethostname(), flags=re.ASCII)


def write_record(path: Path, key: str, info: Mapping[str, Any]) -> None:
    """Leave for this user's kernels a key, and of what Jupyter says of its server where that listens.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from jupyter_core.paths import secure_write

    path.parent.mkdir(parents=True, exist_ok=True)
    with secure_write(str(path)) as file:
        json.dump({"key": key, **{name: info.get(name) for name in ADDRESS}}, file)


def parent_pid() -> int | None:
    """The process id of the Jupyter server that started this process, as far as one did."""
    try:
        value = int(os.environ["JPY_PARENT_PID"])
    except (KeyError, ValueError):
        return None
    if sys.platform == "win32":  # there it is a handle
        return int(ctypes.windll.kernel32.GetProcessId(value))
    return value


def service_prefix() -> str | None:
    """The base URL of the server that a JupyterHub started for this user, as far as one did."""
    return os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or None


def find_server(
    folder: Path | None, pid: int | None, former: Server | None = None, prefix: str | None = None
) -> Server | None:
    """The server to dial.

    Parameters
    ----------
    folder : Path or None
        See `runtime_folder`.
    pid : int or None
        See `parent_pid`.
    former : Server, optional
        The one that was found earlier; the newest at its URL takes its place, since a server that is started
        again has another pid.
    prefix : str, optional
        See `service_prefix`: if no server has the pid, because another process stands between it and the
        kernel, the newest with this base URL is taken.
    """
    if folder is None or pid is None:
        return None
    if former is None and (own := _read(record_path(folder, pid))) is not None:
        return own
    # the newest first, since a server that was killed leaves its own
    for path in sorted(folder.glob("rtclab-*.json"), key=_written, reverse=True):
        number = path.stem.rpartition("-")[2]
        server = _read(path) if number.isdecimal() and path == record_path(folder, int(number)) else None
        if server is None:
            continue
        if former is None:
            found = urlsplit(server.url).path == prefix
        else:
            found = (server.url, server.sock) == (former.url, former.sock)
        if found:
            return server
    return None


def _read(path: Path) -> Server | None:
    record = _load(path)
    url, key = record.get("url"), record.get("key")
    if not isinstance(url, str) or not isinstance(key, str) or not key.isascii():
        return None
    parts = urlsplit(url)
    sock = record.get("sock")
    if parts.scheme == "http+unix" and isinstance(sock, str) and sock and hasattr(socket, "AF_UNIX"):
        parts = parts._replace(scheme="http", netloc="localhost")
    elif parts.scheme in ("http", "https"):
        sock = None
    else:
        return None
    exposed = sock is None and record.get("hostname") in WILDCARDS
    if exposed:  # the name in the URL may not even resolve here
        parts = parts._replace(netloc=f"localhost:{record.get('port')}")
    url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/", query="", fragment=""))
    return Server(url, key, exposed, sock)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # gone meanwhile
        return 0


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # gone, or being written
        return {}
    return content if isinstance(content, dict) else {}
