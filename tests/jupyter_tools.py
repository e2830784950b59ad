"""A plain Jupyter server of its own for tests, with the extension, a base URL and kernels."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from http_tools import LIMIT, Reply
from rtclab.engine import get_engine
from rtclab.jupyter import EXTENSION
from rtclab.jupyter.uplink import UnixResolver

START_TIMEOUT = 60.0
BASE = "/user/ada/"
# what else the installation has is not asked for, and takes its time
OTHERS = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook", "notebook_shim", "nbclassic")
EXTENSIONS = {EXTENSION: True, **dict.fromkeys(OTHERS, False)}
TOKEN = "the-token-of-jupyter-itself"
AUTHORIZED = {"Authorization": f"token {TOKEN}"}


class JupyterServer:
    """A running Jupyter server.

    Parameters
    ----------
    home : Path
        Where it keeps its files.
    options : sequence of str
        More of its command line.
    port : int
        0 takes a free one.
    sock : Path, optional
        A Unix socket to listen on instead.
    """

    def __init__(
        self, home: Path, options: Sequence[str] = (), port: int = 0, sock: Path | None = None
    ) -> None:
        self.sock = sock
        self.home = home
        self.runtime = home / "runtime"
        self.log_path = home / "server.log"
        self.environ = {
            **os.environ,
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_TOKEN": TOKEN,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [
            sys.executable,
            "-m",
            "jupyter_server",
            "--no-browser",
            "--allow-root",
            "--log-level=DEBUG",
            "--ServerApp.allow_unauthenticated_access=False",
            f"--ServerApp.root_dir={home}",
            f"--ServerApp.base_url={BASE}",
            f"--ServerApp.port={port}" if sock is None else f"--ServerApp.sock={sock}",
            *(f"--ServerApp.jpserver_extensions={name}={on}" for name, on in EXTENSIONS.items()),
            *options,
        ]
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self.process.pid
        self.port = self._wait()

    def _wait(self) -> int:
        record = self.runtime / f"jpserver-{self.pid}.json"
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.port = int(json.loads(record.read_text("utf-8"))["port"])
                self.ask("GET", "api/status")
            except (OSError, ValueError):  # not written yet, or not listening yet
                time.sleep(0.02)
                continue
            return self.port
        self.stop()
        raise RuntimeError(f"the Jupyter server did not start:\n{self.log[-4000:]}")

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self.log_path.read_text("utf-8", "replace")

    def stop(self) -> None:
        """End it, and its kernels."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] = AUTHORIZED,
    ) -> Reply:
        """One request below the base URL."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        if self.sock is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(LIMIT)
            connection.sock.connect(str(self.sock))
        try:
            address = path if path.startswith("/") else BASE + path
            connection.request(method, address, body.encode() if body is not None else None, dict(headers))
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read().decode())
        finally:
            connection.close()

    def log_in(self) -> dict[str, str]:
        """The header of a browser that has logged in: its cookies, one of which is the XSRF token."""
        cookies = []
        for credentials in ({}, AUTHORIZED):  # the page to log in by, and then a login
            reply = self.ask("GET", "login", headers=credentials)
            cookies += [value.partition(";")[0] for value in reply.headers.get_all("Set-Cookie", [])]
        return {"Cookie": "; ".join(cookies)}

    @property
    def last_activity(self) -> datetime:
        """When it was last in use, as whatever looks for idle servers sees it."""
        return datetime.fromisoformat(self.ask("GET", "api/status").json["last_activity"])

    def rooms(self) -> list[dict[str, Any]]:
        """The rooms that it knows."""
        rooms: list[dict[str, Any]] = self.ask("GET", "rtclab/rooms").json["rooms"]
        return rooms


class Socket:
    """A WebSocket of a Jupyter server, for plain threads.

    Parameters
    ----------
    server : JupyterServer
        The server.
    path : str
        Below its base URL.
    headers : mapping
        Of the request; by default those of somebody who knows the token.

    Raises
    ------
    tornado.httpclient.HTTPClientError
        It is refused.
    """

    def __init__(self, server: JupyterServer, path: str, headers: Mapping[str, str] = AUTHORIZED) -> None:
        request = HTTPRequest(
            f"ws://127.0.0.1:{server.port}{BASE}{path}", headers=dict(headers), request_timeout=LIMIT
        )

        async def connect() -> WebSocketClientConnection:
            resolver = UnixResolver(str(server.sock)) if server.sock is not None else None
            return await websocket_connect(request, resolver=resolver)

        self.connection = get_engine().run(connect(), LIMIT)

    def send(self, content: object) -> None:
        """Send bytes as they are, a string as text, anything else as JSON."""
        frame = content if isinstance(content, bytes | str) else json.dumps(content)

        async def send() -> None:
            await self.connection.write_message(frame, isinstance(frame, bytes))

        get_engine().run(send(), LIMIT)

    def receive(self) -> Any:
        """The next frame: bytes, decoded JSON, or None at the end."""

        async def read() -> str | bytes | None:
            return await self.connection.read_message()

        frame = get_engine().run(read(), LIMIT)
        return json.loads(frame) if isinstance(frame, str) else frame

    def join(self, **fields: object) -> Any:
        """Join the room; returns its welcome."""
        fields = {"role": "participant", "name": None, "session": None, "agent": "test", **fields}
        self.send({"type": "join", "id": 1, "version": 1, **fields})
        return self.receive()

    def wait_for_end(self) -> int | None:
        """The close code that comes, whatever comes before."""
        while self.receive() is not None:
            pass
        return self.connection.close_code

    def close(self, code: int = 1000) -> None:
        """Close it."""

        async def close() -> None:
            self.connection.close(code, "enough")

        get_engine().run(close(), LIMIT)


def refusal(server: JupyterServer, path: str, headers: Mapping[str, str]) -> int:
    """The HTTP status by which a WebSocket is refused."""
    with pytest.raises(HTTPClientError) as refused:
        Socket(server, path, headers).close()
    return refused.value.code
