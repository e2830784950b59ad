"""The kernel's side: which server it finds, how it comes back to it, and that it is silent without one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import tornado.netutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tornado.httpserver import HTTPServer
from tornado.web import Application

import rtclab
from http_tools import LIMIT, on_engine, wait_until
from rtclab.engine import get_engine
from rtclab.jupyter import uplink as uplinks
from rtclab.jupyter.extension import routes
from rtclab.jupyter.record import Server, find_server, record_path, write_record
from rtclab.jupyter.registry import EngineSocket, Registry
from rtclab.jupyter.uplink import Listing, Uplink, kernel_id

PID = 12345


def leave_record(folder: Path, pid: int = PID, key: str = "a key", **fields: object) -> Path:
    """What the extension leaves in the runtime folder of its server."""
    path = record_path(folder, pid)
    here = {"url": "http://127.0.0.1:8888/", "hostname": "127.0.0.1", "port": 8888}
    write_record(path, key, {**here, **fields})
    return path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of somebody's own, signed by nobody else, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "user-ada")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


class Door:
    """A server of nothing but the extension, in this process, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.pid = PID
        self.registry = Registry("")
        self.tls: ssl.SSLContext | None = None
        self._http: HTTPServer | None = None

    async def start(self) -> None:
        [bound] = tornado.netutil.bind_sockets(self.port, "127.0.0.1")
        self.port = bound.getsockname()[1]
        self.registry = Registry(f"the key of {self.pid}")
        self._http = HTTPServer(Application(routes("/base/", self.registry)), ssl_options=self.tls)
        self._http.add_sockets([bound])
        scheme = "http" if self.tls is None else "https"
        url = f"{scheme}://127.0.0.1:{self.port}/base/"
        leave_record(self.folder, self.pid, self.registry.key, url=url, port=self.port)

    async def stop(self) -> None:
        assert self._http is not None
        self._http.stop()
        for engine in set(self.registry.rooms.values()):
            engine.close()
        await self._http.close_all_connections()
        record_path(self.folder, self.pid).unlink()


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr(uplinks, "FIRST_PAUSE", 0.02)
    door = Door(tmp_path)
    get_engine().run(door.start(), LIMIT)
    yield door
    with contextlib.suppress(FileNotFoundError):
        get_engine().run(door.stop(), LIMIT)


@contextlib.contextmanager
def registered(folder: Path, on_path: Callable[[str | None], None] = lambda path: None) -> Iterator[Listing]:
    """A room at the server of a folder, by an uplink of its own."""
    uplink = Uplink(get_engine(), lambda former: find_server(folder, PID, former))
    listing = Listing("room", "a room", lambda carrier, grant=None: pytest.fail("nobody came"), on_path)
    on_engine(lambda: uplink.add(listing))
    get_engine().run(uplink.settled(listing), LIMIT)
    try:
        yield listing
    finally:
        on_engine(lambda: uplink.remove(listing))


def test_it_comes_back_to_a_server_that_is_started_again(door: Door) -> None:
    with registered(door.folder) as listing:
        assert listing.path == "rtclab/rooms/room"
        get_engine().run(door.stop(), LIMIT)
        wait_until(lambda: listing.path is None)
        door.pid += 1  # at the same address, with another key
        get_engine().run(door.start(), LIMIT)
        wait_until(lambda: listing.path == "rtclab/rooms/room")
        assert list(door.registry.rooms) == ["room"]
    wait_until(lambda: not door.registry.rooms)


def test_who_cannot_be_told_of_it_does_no_harm(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    def fail(path: str | None) -> None:
        raise RuntimeError("this comm is closed")

    with registered(door.folder, fail) as listing:
        assert listing.path is not None
        assert list(door.registry.rooms) == ["room"]
    assert "not everybody could be told" in caplog.text


def test_a_server_that_comes_later_is_found(door: Door) -> None:
    get_engine().run(door.stop(), LIMIT)
    with registered(door.folder) as listing:
        assert listing.path is None
        get_engine().run(door.start(), LIMIT)
        wait_until(lambda: listing.path)


def test_whatever_fails_is_tried_again_and_logged_once(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    attempts = 0

    def find(former: Server | None) -> Server | None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise ZeroDivisionError("nobody has thought of this")
        return find_server(door.folder, PID, former)

    uplink = Uplink(get_engine(), find)
    listing = Listing("room", "a room", lambda carrier, grant=None: pytest.fail("nobody came"))
    on_engine(lambda: uplink.add(listing))
    get_engine().run(uplink.settled(listing), LIMIT)  # a cell waits for the first attempt only
    wait_until(lambda: listing.path)
    on_engine(lambda: uplink.remove(listing))
    assert caplog.text.count("it is tried again") == 1
    assert "nobody has thought of this" in caplog.text


def test_a_hub_that_asks_for_certificates_gets_one(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    get_engine().run(door.stop(), LIMIT)
    door.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    door.tls.verify_mode = ssl.CERT_REQUIRED
    door.tls.load_cert_chain(certificate, key)
    get_engine().run(door.start(), LIMIT)
    with registered(door.folder) as listing:
        assert listing.path is None
    monkeypatch.setenv("JUPYTERHUB_SSL_CERTFILE", str(certificate))
    monkeypatch.setenv("JUPYTERHUB_SSL_KEYFILE", str(key))
    with registered(door.folder) as listing:
        assert listing.path == "rtclab/rooms/room"


def test_what_a_newer_server_says_is_passed_over(door: Door) -> None:
    with registered(door.folder) as listing:
        [engine] = door.registry.rooms.values()

        async def talk() -> None:
            words: list[Any] = [
                "",
                "[]",
                b"\xff",
                "{}",
                '{"type": 3}',
                '{"type": "open"}',
                '{"type": "news"}',
            ]
            words += ['{"type": "registered", "rooms": 7}', '{"type": "registered", "rooms": [[]]}']
            words += [json.dumps({"type": "request", "id": 1, "room": "room"})]
            for word in words:
                await engine.write_message(word, isinstance(word, bytes))
            engine.tell({"type": "open", "stream": "s", "room": "other"})
            await engine.ask({"room": "other", "method": "GET", "path": "/whip", "headers": {}, "body": ""})

        get_engine().run(talk(), LIMIT)
        assert listing.path is not None
        assert list(door.registry.rooms.values()) == [engine]


def test_a_kernel_that_is_gone_leaves_nobody_waiting(door: Door) -> None:
    with registered(door.folder):
        [engine] = door.registry.rooms.values()

        async def lose() -> list[int | None]:
            asked = asyncio.ensure_future(door.registry.open("room", "signaling", None, None))
            requested = asyncio.ensure_future(engine.ask({"room": "room"}))
            await asyncio.sleep(0)
            engine.close()
            EngineSocket.on_close(engine)
            ends = await asyncio.gather(asked, requested, return_exceptions=True)
            return [getattr(end, "status_code", None) for end in ends]

        assert get_engine().run(lose(), LIMIT) == [502, 502]


def test_without_a_server_it_is_silent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getpid()))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with caplog.at_level(logging.DEBUG), rtclab.Room() as room:  # a server without the extension
        assert room.server_path is None
        leave_record(tmp_path, os.getpid(), url="http://127.0.0.1:9/")  # and one that does not answer
        get_engine().run(asyncio.sleep(0.4), LIMIT)
        assert room.server_path is None
    assert not [record for record in caplog.records if record.name != "asyncio"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"url": "http://localhost:8888/user/ada/"}, "http://localhost:8888/user/ada/"),
        ({"url": "https://10.0.0.7:443/user/ada", "hostname": "10.0.0.7"}, "https://10.0.0.7:443/user/ada/"),
        ({"url": "http://pod-7:9999/x/", "hostname": "0.0.0.0", "port": 9999}, "http://localhost:9999/x/"),
        ({"url": "http://[::1]:8888/", "hostname": "::1"}, "http://[::1]:8888/"),
    ],
)
def test_which_address_is_dialed(tmp_path: Path, fields: dict[str, Any], url: str) -> None:
    leave_record(tmp_path, **fields)
    server = find_server(tmp_path, PID)
    assert server is not None
    assert (server.url, server.key) == (url, "a key")


def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    leave_record(
        tmp_path, url="http+unix://%2Ftmp%2Fjupyter/user/ada", hostname="", port=0, sock="/tmp/jupyter"
    )
    assert find_server(tmp_path, PID) == Server("http://localhost/user/ada/", "a key", False, "/tmp/jupyter")


def test_what_is_no_server_of_this_kernel_is_not_dialed(tmp_path: Path) -> None:
    assert find_server(tmp_path, PID) is None
    record = leave_record(tmp_path)
    assert find_server(tmp_path, PID) is not None
    assert find_server(tmp_path, None) is None
    assert find_server(None, PID) is None
    assert find_server(tmp_path, PID + 1) is None
    broken = ("", "[]", "{", '{"url": 7, "key": "a key"}', '{"url": "http://localhost/"}')
    for content in (*broken, '{"url": "http+unix://%2Fsocket/", "key": "a key"}'):
        record.write_text(content)
        assert find_server(tmp_path, PID) is None


def test_only_a_server_at_the_same_address_follows_another(tmp_path: Path) -> None:
    former_record = leave_record(tmp_path)
    former = find_server(tmp_path, PID)
    former_record.unlink()
    leave_record(tmp_path, PID + 1, url="http://127.0.0.1:8889/")
    assert find_server(tmp_path, PID, former) is None
    leave_record(tmp_path, PID + 2, "a new key")
    assert find_server(tmp_path, PID, former) == Server("http://127.0.0.1:8888/", "a new key")


def test_containers_that_share_a_folder_and_a_pid_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {"pod-ada": "/user/ada/", "pod-ada--lab": "/user/ada/lab/", "pod-ada-7": "/user/ada/7/"}
    for host, path in hosts.items():
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        leave_record(tmp_path, PID, f"the key of {host}", url=f"http://127.0.0.1:8888{path}")
    for host, path in hosts.items():
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        server = find_server(tmp_path, PID)
        assert server == Server(f"http://127.0.0.1:8888{path}", f"the key of {host}")
        assert find_server(tmp_path, PID + 1, server) == server
        for other in hosts.values():
            followed = find_server(tmp_path, PID + 1, prefix=other)
            assert followed == (server if other == path else None)


def test_on_a_hub_a_kernel_of_another_process_goes_by_the_prefix(tmp_path: Path) -> None:
    leave_record(tmp_path, PID, url="http://127.0.0.1:8888/user/ada")
    leave_record(tmp_path, PID + 1, url="http://127.0.0.1:9999/")  # one that ada started in a terminal
    own = Server("http://127.0.0.1:8888/user/ada/", "a key")
    assert find_server(tmp_path, PID + 2, prefix="/user/ada/") == own
    assert find_server(tmp_path, PID + 1, prefix="/user/ada/") != own
    assert find_server(tmp_path, PID + 2, prefix="/user/bob/") is None
    assert find_server(tmp_path, PID + 2) is None
    for place, when in ((PID, 2e9), (PID + 3, 1e9)):  # one that was killed leaves its own
        left = leave_record(tmp_path, place, f"{when}", url="http://127.0.0.1:8888/user/ada/")
        os.utime(left, (when, when))
    found = find_server(tmp_path, PID + 2, prefix="/user/ada/")
    assert found is not None
    assert found.key == "2000000000.0"


def test_the_environment_of_a_hub_names_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", str(PID))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    leave_record(tmp_path, PID + 1, url="http://127.0.0.1:8888/user/ada/")
    assert uplinks._find(None) is None
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    found = uplinks._find(None)
    assert found is not None
    assert found.url == "http://127.0.0.1:8888/user/ada/"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["launcher.py", "-f", "/run/kernel-0f3c-77.json"], "0f3c-77"),
        (["launcher.py", "-f", "/run/connection.json"], None),
        (["script.py"], None),
    ],
)
def test_the_kernel_knows_its_id(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], found: str | None
) -> None:
    monkeypatch.setattr("sys.argv", arguments)
    assert kernel_id() == found
