"""A Jupyter server that listens on a Unix socket: its kernels' rooms are reached through it all the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import rtclab
from http_tools import wait_until
from jupyter_tools import TOKEN, JupyterServer, Socket, refusal
from rtclab.jupyter import uplink


@pytest.fixture(scope="module")
def on_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Its socket is in a folder of its own: the path of one is at most a hundred characters long."""
    with tempfile.TemporaryDirectory(prefix="rtclab-") as folder:
        server = JupyterServer(tmp_path_factory.mktemp("socket"), sock=Path(folder) / "jupyter.sock")
        yield server
        server.stop()


def test_a_room_is_reached_through_a_unix_socket(
    on_socket: JupyterServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uplink, "_uplink", None)
    monkeypatch.setenv("JPY_PARENT_PID", str(on_socket.pid))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(on_socket.runtime))
    with rtclab.Room() as room:
        wait_until(lambda: room.server_path)
        assert [one["id"] for one in on_socket.rooms()] == [room.id]
        path = f"{room.server_path}/signaling"
        assert refusal(on_socket, path, {}) == 403
        assert Socket(on_socket, path).join(name="ada")["type"] == "welcome"
        assert [one.carrier for one in room.participants] == ["server"]
        share = room.share()
        watching = Socket(
            on_socket, f"rtclab/share/{room.id}/signaling?token={share.url.partition('=')[2]}", {}
        )
        assert watching.join(role="viewer", name="eve")["type"] == "welcome"
    assert TOKEN not in on_socket.log
    assert not [record for record in caplog.records if record.name.startswith("rtclab")]
