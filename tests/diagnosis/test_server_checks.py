"""What ``rtclab doctor`` says of the Jupyter server's extension, and of the environment's STUN and TURN."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import stun

from rtclab.diagnosis import machine, server
from rtclab.jupyter import EXTENSION
from rtclab.jupyter.record import record_path, write_record


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))  # before all others
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "jupyter_server_config.d").mkdir()
    return tmp_path


@pytest.mark.parametrize(("enabled", "state"), [(True, "ok"), (False, "warn")])
def test_the_extension_is_looked_up_in_jupyters_configuration(
    config: Path, enabled: bool, state: str
) -> None:
    content = {"ServerApp": {"jpserver_extensions": {EXTENSION: enabled}}}
    (config / "jupyter_server_config.d" / "rtclab.json").write_text(json.dumps(content), "utf-8")
    found = server.extension()
    assert found[0] == state
    assert (server.ENABLE in found[1]) is not enabled


def test_servers_that_run_without_it_are_named(config: Path) -> None:
    assert server.servers() == ("ok", "none runs now")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/user/x/"
    record = {
        "pid": os.getpid(),
        "url": url,
        "port": port,
        "hostname": "127.0.0.1",
    }
    (config / f"jpserver-{os.getpid()}.json").write_text(json.dumps(record), "utf-8")
    state, detail = server.servers()
    assert state == "warn"
    assert detail.endswith(url)

    write_record(record_path(config, os.getpid()), "a key", record)
    state, detail = server.servers()
    assert state == "warn"
    assert detail.startswith(f"{url} has the extension, but no WebSocket to it opens")


@pytest.fixture
def responder() -> Iterator[int]:
    """A STUN server; returns its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))

        def answer() -> None:
            while (received := bound.recvfrom(1024))[0] != b"end":
                asked = stun.parse_message(received[0])
                reply = stun.Message(
                    message_method=stun.Method.BINDING,
                    message_class=stun.Class.RESPONSE,
                    transaction_id=asked.transaction_id,
                )
                reply.attributes["XOR-MAPPED-ADDRESS"] = received[1]
                bound.sendto(bytes(reply), received[1])

        thread = threading.Thread(target=answer)
        thread.start()
        yield bound.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"end", bound.getsockname())
        thread.join()


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("STUN_", "TURN_", "CLOUDFLARE_", "TWILIO_", "METERED_")):
            monkeypatch.delenv(name)


def test_without_servers_nothing_is_asked() -> None:
    assert server.ice() == ("ok", "the environment names none, so nothing leaves this machine")


def test_a_stun_server_is_asked(responder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUN_URL", f"stun:127.0.0.1:{responder}")
    assert server.ice() == ("ok", f"stun:127.0.0.1:{responder} works")


def test_what_does_not_work_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))  # bound and not listening: refused
        udp.bind(("127.0.0.1", 0))
        closed, silent = tcp.getsockname()[1], udp.getsockname()[1]
        monkeypatch.setattr(server, "TRY_S", 0.05)
        monkeypatch.setenv("STUN_URL", f"stun:127.0.0.1:{silent}")
        monkeypatch.setenv("TURN_URL", f"turn:127.0.0.1:{closed}?transport=tcp")
        monkeypatch.setenv("TURN_USERNAME", "u")
        monkeypatch.setenv("TURN_PASSWORD", "secret-word")
        state, detail = server.ice()
    assert state == "warn"
    assert f"stun:127.0.0.1:{silent} does not answer" in detail
    assert "relays nothing: nothing listens there" in detail
    assert "secret-word" not in detail


def test_variables_that_are_half_set_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURN_URL", "turn:turn.example.org")
    monkeypatch.setattr(machine, "CHECKS", {"STUN and TURN": server.ice})
    report = machine.examine()
    assert report.ok
    assert report.checks[0].state == "warn"
    assert report.checks[0].detail.startswith("TURN_URL is set but TURN_USERNAME and TURN_PASSWORD")


def test_a_provider_that_cannot_be_reached_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERED_SECRET_KEY", "secret-word")
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))  # bound and not listening: refused
        domain = f"127.0.0.1:{tcp.getsockname()[1]}"
        monkeypatch.setenv("METERED_DOMAIN", domain)
        state, detail = server.ice()
    assert state == "warn"
    assert detail.startswith(f"Metered: {domain} gave no usable answer")
    assert "secret-word" not in detail
