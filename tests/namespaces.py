"""A network namespace (Linux, root): processes in it share a loopback of their own and nothing else.

``cable`` is a veth pair to the namespace of the tests. Unplugged, its inner end is down: a datagram to the
address of the namespace is lost without a word, as behind the proxy of a hub. TCP goes in by sockets that are
made inside, whatever the cable does.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from debian import ensure_program
from shaper import dial

CLONE_NEWNET = 0x40000000
OUTSIDE, INSIDE = "198.18.77.1", "198.18.77.2"  # RFC 2544: for tests, routed nowhere


class Namespace:
    """A namespace that exists until `close`.

    Attributes
    ----------
    address : str
        Its IPv4 address, at the inner end of the cable.
    """

    address = INSIDE

    def __init__(self, name: str) -> None:
        self._name = name
        self._cable = f"rl{os.getpid()}"
        self._ip = ensure_program("ip", "iproute2")
        self._run("netns", "add", name)
        self._inside = ThreadPoolExecutor(1, initializer=self._enter)
        try:
            # packets of an ordinary size: with loopback's 64 KiB the kernel would queue megabytes
            self._run("-n", name, "link", "set", "lo", "up", "mtu", "1500")
            inner = f"{self._cable}i"
            self._run("link", "add", self._cable, "type", "veth", "peer", "name", inner, "netns", name)
            self._run("address", "add", f"{OUTSIDE}/30", "dev", self._cable)
            self._run("link", "set", self._cable, "up")
            self._run("-n", name, "address", "add", f"{INSIDE}/30", "dev", inner)
        except BaseException:
            self.close()
            raise

    def plug(self, plugged: bool) -> None:
        """Let datagrams pass between the tests' namespace and this one, or lose them all."""
        self._run("-n", self._name, "link", "set", f"{self._cable}i", "up" if plugged else "down")

    def command(self, *command: str) -> list[str]:
        """The command that runs `command` inside."""
        return [self._ip, "netns", "exec", self._name, *command]

    def connect(self, port: int) -> socket.socket:
        """A TCP connection to a port of the namespace's loopback."""
        return self._inside.submit(dial, ("127.0.0.1", port)).result()

    def close(self) -> None:
        """End it; what runs in it must have ended."""
        self._inside.shutdown()
        self._run("netns", "delete", self._name)  # and the cable with it

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

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self._ip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
