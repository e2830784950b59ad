"""A Jupyter server for all tests of this folder, and rooms that find it as those of its kernels do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rtclab
from http_tools import wait_until
from jupyter_tools import JupyterServer
from rtclab.jupyter import uplink


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A Jupyter server with the extension, below a base URL."""
    server = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture
def as_kernel(jupyter: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process looks like one of the server's kernels; afterwards the server has none of its rooms."""
    monkeypatch.setattr(uplink, "_uplink", None)
    monkeypatch.setenv("JPY_PARENT_PID", str(jupyter.pid))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter.runtime))
    yield
    wait_until(lambda: not jupyter.rooms())


@pytest.fixture
def room(as_kernel: None) -> Iterator[rtclab.Room]:
    """A room that is registered."""
    with rtclab.Room() as room:
        wait_until(lambda: room.server_path)
        yield room
