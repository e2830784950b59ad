"""A network namespace (Linux, root): processes in it share a loopback of their own and nothing else.

``cable`` is a veth pair to the namespace of the tests. Unplugged, its inner end is down: a datagram to the
address of the namespace is lost without a word, as behind the proxy of a hub. TCP goes in by sockets that are
made inside, whatever the cable does.
"""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import os
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rtclab import apt

CLONE_NEWNET = 0x40000000
RANGE = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544: for tests, routed nowhere
_numbers = itertools.count()


class Namespace:
    """A namespace that exists until `close`.

    Attributes
    ----------
    address : str
        Its IPv4 address, at the inner end of the cable.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        number = next(_numbers)
        self._cable = f"rl{os.getpid()}-{number}"
        first = RANGE[4 * (8 * os.getpid() + number) % RANGE.num_addresses]  # of a /30 of its own
        outside, self.address = str(first + 1), str(first + 2)
        self._ip = ip_program()
        inner = f"{self._cable}i"
        self._run("netns", "add", name)
        # packets of an ordinary size: with loopback's 64 KiB the kernel would queue megabytes
        self._run("-n", name, "link", "set", "lo", "up", "mtu", "1500")
        self._run("link", "add", self._cable, "type", "veth", "peer", "name", inner, "netns", name)
        self._run("address", "add", f"{outside}/30", "dev", self._cable)
        self._run("link", "set", self._cable, "up")
        self._run("-n", name, "address", "add", f"{self.address}/30", "dev", inner)
        self._inside = ThreadPoolExecutor(1, initializer=self._enter)

    def plug(self, plugged: bool) -> None:
        """Let datagrams pass between the tests' namespace and this one, or lose them all."""
        self._run("-n", self._name, "link", "set", f"{self._cable}i", "up" if plugged else "down")

    def command(self, *command: str) -> list[str]:
        """The command that runs `command` inside."""
        return [self._ip, "netns", "exec", self._name, *command]

    def connect(self, port: int) -> socket.socket:
        """A TCP connection to a port of the namespace's loopback."""
        return self._inside.submit(socket.create_connection, ("127.0.0.1", port), 10).result()

    def kill(self) -> None:
        """Kill every process in it."""
        for pid in self._run("netns", "pids", self._name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """End it and what runs in it."""
        self.kill()
        self._inside.shutdown()
        self._run("link", "delete", self._cable)  # with the namespace it would go a moment later
        self._run("netns", "delete", self._name)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self._name).open("rb") as file:
            if libc.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self._ip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def ip_program() -> str:
    """Path of ``ip``; as root on Debian it is installed first if the machine has none."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = apt.ensure(lambda: shutil.which("ip", path=path), ["iproute2"])
    if found is None:
        raise RuntimeError("There is no `ip`. Install it; on Debian: apt-get install iproute2")
    return found
