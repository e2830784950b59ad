"""How a kernel finds the Jupyter server that started it, and proves to it that it is of the same user.

A Jupyter server writes ``jpserver-<pid>.json`` into its runtime folder, for the eyes of its user only, and
gives its pid to its kernels as ``JPY_PARENT_PID``. The extension leaves ``rtclab-<pid>.json`` beside it, with
a key of its own: a kernel that shows it may register rooms and nothing else. So Jupyter's own token is not
needed, which a server with a password does not even have, and no file means that there is no extension. One
that listens on a Unix socket (``jupyter lab --sock=...``) has the socket's path in its record.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

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


def key_path(folder: Path, pid: int) -> Path:
    """Where the key of a server is."""
    return folder / f"rtclab-{pid}.json"


def write_key(path: Path) -> str:
    """Make a key and leave it for this user's kernels.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from jupyter_core.paths import secure_write

    key = secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with secure_write(str(path)) as file:
        json.dump({"key": key}, file)
    return key


def parent_pid() -> int | None:
    """The process id of the Jupyter server that started this process, as far as one did."""
    try:
        value = int(os.environ["JPY_PARENT_PID"])
    except (KeyError, ValueError):
        return None
    if sys.platform == "win32":  # there it is a handle
        return int(ctypes.windll.kernel32.GetProcessId(value))
    return value


def find_server(folder: Path | None, pid: int | None, former: Server | None = None) -> Server | None:
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
    """
    if folder is None or pid is None:
        return None
    if former is None:
        return _read(folder, pid)
    # the newest first, since a server that was killed leaves its own
    for path in sorted(folder.glob("rtclab-*.json"), key=_written, reverse=True):
        number = path.stem.partition("-")[2]
        server = _read(folder, int(number)) if number.isdecimal() else None
        if server is not None and (server.url, server.sock) == (former.url, former.sock):
            return server
    return None


def _read(folder: Path, pid: int) -> Server | None:
    record, secret = _load(folder / f"jpserver-{pid}.json"), _load(key_path(folder, pid))
    url, key = record.get("url"), secret.get("key")
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
