"""By which address people reach the server: a page of its own says it, one of another host's does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import rtclab
from http_tools import wait_until
from jupyter_tools import AUTHORIZED, BASE, JupyterServer, Socket
from rtclab.jupyter import uplink


@pytest.fixture
def open_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JupyterServer]:
    """A server that lets in pages of every origin, as on mybinder.org; this process is one of its kernels."""
    server = JupyterServer(tmp_path, ("--ServerApp.allow_origin=*", "--ServerApp.allow_remote_access=True"))
    monkeypatch.setattr(uplink, "_uplink", None)
    monkeypatch.setenv("JPY_PARENT_PID", str(server.pid))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime))
    yield server
    server.stop()


def test_a_link_leads_to_the_server_and_not_to_a_page_that_shows_its_notebook(
    open_to_all: JupyterServer,
) -> None:
    server = open_to_all
    with rtclab.Room() as room:
        wait_until(lambda: room.server_path)
        share = room.share()

        def come(origin: str, host: str = f"127.0.0.1:{server.port}") -> str:
            """A page with a login takes part; where the link leads then."""
            headers = {**AUTHORIZED, "Origin": origin, "Host": host}
            assert Socket(server, f"{room.server_path}/signaling", headers).join()["type"] == "welcome"
            return share.url.partition(f"{BASE}rtclab/share/{room.id}/#")[0]

        unknown = f"http://localhost:{server.port}"
        for foreign in ("https://elsewhere.example", f"http://127.0.0.1:{server.port + 1}"):
            assert come(foreign) == unknown
        own = f"http://127.0.0.1:{server.port}"
        assert come(own) == own
        assert come("https://elsewhere.example") == own
        # the proxy of a hub has ended TLS, and passes on the name that people know
        assert come("https://Hub.example.org", "hub.example.org") == "https://Hub.example.org"
