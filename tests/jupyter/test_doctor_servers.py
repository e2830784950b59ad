"""What ``rtclab doctor`` says of a Jupyter server that runs: the extension is there, a WebSocket opens."""

from __future__ import annotations

import pytest

from jupyter_tools import JupyterServer
from rtclab.diagnosis import server


def test_a_server_that_runs_is_asked(jupyter: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter.runtime))
    state, detail = server.servers()
    assert state == "ok", detail
    assert "has the extension, and a WebSocket to it opened in" in detail
