"""A real kernel of a real Jupyter server: busy cells, idle servers, restarts."""

from __future__ import annotations

import json
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient

from http_tools import LIMIT
from jupyter_tools import START_TIMEOUT, JupyterServer, Socket

MAKE_A_ROOM = """import rtclab, time
room = rtclab.Room('lesson')
while (path := room.server_path) is None:  # a busy machine may need more than the moment that a room waits
    time.sleep(0.02)"""


class Kernel:
    """A kernel of the server, as a front end has it."""

    def __init__(self, server: JupyterServer) -> None:
        self.server = server
        self.id: str = server.ask("POST", "api/kernels", "{}").json["id"]
        self._client = self._connect()

    def _connect(self) -> BlockingKernelClient:
        client = BlockingKernelClient(connection_file=str(self.server.runtime / f"kernel-{self.id}.json"))
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        return client

    def start(self, code: str) -> str:
        """Begin to run code; the message's id."""
        return self._client.execute(code)

    def is_done(self, message: str, timeout: float) -> bool:
        """Whether a cell has ended, after at most so many seconds."""
        try:
            reply = self._client.get_shell_msg(timeout=timeout)
        except queue.Empty:
            return False
        return bool(reply["parent_header"]["msg_id"] == message)

    def value(self, code: str, expression: str) -> Any:
        """Run code; the JSON value of an expression afterwards."""
        reply = self._client.execute(
            f"import json, os\n{code}",
            user_expressions={"value": f"json.dumps({expression})"},
            reply=True,
            timeout=START_TIMEOUT,
        )
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return json.loads(value["data"]["text/plain"].strip("'"))

    def restart(self) -> None:
        """Start it again."""
        self._client.stop_channels()
        assert self.server.ask("POST", f"api/kernels/{self.id}/restart", "{}").status == 200
        self._client = self._connect()

    @property
    def model(self) -> dict[str, Any]:
        """What the server says of it."""
        model: dict[str, Any] = self.server.ask("GET", f"api/kernels/{self.id}").json
        return model

    @property
    def last_activity(self) -> datetime:
        """When the server thinks that it was last in use."""
        return datetime.fromisoformat(self.model["last_activity"])

    def end(self) -> None:
        """Shut it down."""
        self._client.stop_channels()
        self.server.ask("DELETE", f"api/kernels/{self.id}")


@pytest.fixture
def kernel(jupyter: JupyterServer) -> Iterator[Kernel]:
    kernel = Kernel(jupyter)
    yield kernel
    kernel.end()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for what another process brings about."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_room_in_a_kernel(jupyter: JupyterServer, kernel: Kernel) -> None:
    path, pid = kernel.value(MAKE_A_ROOM, "[path, os.getpid()]")
    room = {"id": path.split("/")[-1], "name": "lesson", "kernel": kernel.id, "path": path}
    assert jupyter.rooms() == [room]

    # while a cell holds the kernel up, people come in
    cell = kernel.start("import time; time.sleep(60)")
    wait_for(lambda: kernel.model["execution_state"] == "busy")
    socket = Socket(jupyter, f"{path}/signaling")
    assert socket.join(name="late")["room"]["name"] == "lesson"
    assert not kernel.is_done(cell, 0.01)

    # and keep the server and the kernel from being culled, with whatever they say
    for _ in range(3):  # the cell itself had at most one more thing to say
        server_was, kernel_was = jupyter.last_activity, kernel.last_activity
        socket.send({"type": "ping", "id": 2})
        while socket.receive()["type"] != "pong":
            pass
        assert jupyter.last_activity > server_was
        assert kernel.last_activity > kernel_was

    # until the kernel dies: the page is told at once, and the next room is found as the first was
    os.kill(pid, signal.SIGKILL)
    assert socket.wait_for_end() == 1001
    wait_for(lambda: not jupyter.rooms())
    kernel.restart()
    again = kernel.value(MAKE_A_ROOM, "path")
    assert [room["path"] for room in jupyter.rooms()] == [again] != [path]
