"""coturn (Debian's package), the TURN server: its configuration and its process, on the loopback interface.

It listens on one port for UDP and TCP, and on another for TLS when it has a certificate. Other machines
cannot reach it, and it relays to loopback addresses, which it refuses unless told.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from ..errors import RtclabError
from .processes import Process, find_program

HOST = "127.0.0.1"
REALM = "rtclab"
START_S = 15.0
INSTALL = (
    "coturn is not installed. On Debian or Ubuntu: apt-get install coturn "
    "(its service need not run: systemctl disable --now coturn)"
)


def find_coturn() -> str:
    """Path of the program; raises `rtclab.errors.RtclabError` that says how to install it."""
    return find_program("turnserver", INSTALL)


class Coturn(Process):
    """A coturn with a folder and ports of its own.

    Parameters
    ----------
    username, credential : str
        Who may use it.
    secret : str, optional
        A secret shared with whoever makes short-lived credentials; then there is no fixed user.
    certificate : pair of Path, optional
        Files with the certificate and the private key for TLS.

    Attributes
    ----------
    port, tls_port : int
        Where it listens.

    Raises
    ------
    rtclab.errors.RtclabError
        It is not installed, or does not start.
    """

    def __init__(
        self,
        username: str = "lab",
        credential: str = "learn",
        secret: str | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        program = find_coturn()
        self.username, self.credential = username, credential
        self.port, self.tls_port = _free_ports(2)
        self._folder = Path(tempfile.mkdtemp(prefix="rtclab-coturn-"))
        self._log = self._folder / "coturn.log"
        lines = [
            f"listening-ip={HOST}",
            f"relay-ip={HOST}",
            f"listening-port={self.port}",
            f"tls-listening-port={self.tls_port}",
            f"realm={REALM}",
            "allow-loopback-peers",
            "no-cli",
            "no-dtls",
            "fingerprint",
            "simple-log",
            f"log-file={self._log}",
            f"pidfile={self._folder / 'coturn.pid'}",
            f"userdb={self._folder / 'users.db'}",
        ]
        lines += [f"use-auth-secret\nstatic-auth-secret={secret}"] if secret else []
        lines += [] if secret else ["lt-cred-mech", f"user={username}:{credential}"]
        lines += [f"cert={certificate[0]}", f"pkey={certificate[1]}"] if certificate else ["no-tls"]
        config = self._folder / "coturn.conf"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        super().__init__([program, "-c", str(config)])
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def url(self, transport: str = "udp") -> str:
        """Its URL for ``"udp"``, ``"tcp"`` or ``"tls"``."""
        if transport == "tls":
            return f"turns:{HOST}:{self.tls_port}?transport=tcp"
        return f"turn:{HOST}:{self.port}?transport={transport}"

    def ice_server(self, transport: str = "udp", credential: str | None = None) -> dict[str, Any]:
        """What `rtclab.Room` takes in ``ice_servers``."""
        return {
            "urls": self.url(transport),
            "username": self.username,
            "credential": self.credential if credential is None else credential,
        }

    def log(self) -> str:
        """What it has written to its log."""
        with contextlib.suppress(OSError):
            return self._log.read_text("utf-8", "replace")
        return ""

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            if not self.running or time.monotonic() > deadline:
                raise RtclabError(f"coturn did not start: {self.log()[-500:].strip() or 'it says nothing'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it and remove its folder."""
        super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
