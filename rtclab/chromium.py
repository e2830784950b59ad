"""Which Chromium the browser tests use, and how a machine without one gets it.

A browser named by ``RTCLAB_CHROMIUM`` wins; then the first of `NAMES` on the search path, then the usual
places on macOS. As root with apt-get, a missing one is installed from the distribution's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import RtclabError

VARIABLE = "RTCLAB_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
INSTALL = (
    ("apt-get", "update", "--quiet"),
    ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium", "fonts-liberation"),
)
HOW_TO = (
    "Install it (Debian: apt-get install chromium; as root, `rtclab doctor --install-chromium` does that), "
    f"or set {VARIABLE} to the path of a Chromium or Chrome."
)

Which = Callable[[str], "str | None"]
Run = Callable[[Sequence[str]], None]


class ChromiumMissing(RtclabError):  # noqa: N818
    """No Chromium was found and none could be installed."""


def find_chromium(environ: Mapping[str, str] = os.environ, which: Which = shutil.which) -> str | None:
    """Path of the Chromium to use, or None.

    Raises
    ------
    ChromiumMissing
        ``RTCLAB_CHROMIUM`` names a file that cannot be run.
    """
    named = environ.get(VARIABLE)
    if named:
        path = which(named)
        if path is None:
            raise ChromiumMissing(f"{VARIABLE} is {named!r}, which is not a program that can be run.")
        return path
    for name in (*NAMES, *APPLICATIONS):
        path = which(name)
        if path is not None:
            return path
    return None


def can_install(which: Which = shutil.which) -> bool:
    """Whether `install_chromium` may work here: root, on a system with apt-get."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and which("apt-get") is not None


def ensure_chromium(
    environ: Mapping[str, str] = os.environ,
    which: Which = shutil.which,
    installable: bool | None = None,
    run: Run | None = None,
) -> str:
    """Path of the Chromium to use, installed first if need be and possible.

    Runs that start at once install it once: the others wait for the first, then find it.

    Raises
    ------
    ChromiumMissing
        There is none, and it cannot be installed here or the installation failed.
    """
    path = find_chromium(environ, which)
    if path is not None:
        return path
    if not (can_install(which) if installable is None else installable):
        raise ChromiumMissing(f"No Chromium was found. {HOW_TO}")
    with _only_one():
        path = find_chromium(environ, which)
        if path is None:
            for command in INSTALL:
                (run or _run)(command)
            path = find_chromium(environ, which)
    if path is None:
        raise ChromiumMissing(f"apt-get installed chromium, but no program of that name appeared. {HOW_TO}")
    return path


def _run(command: Sequence[str]) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        [command[0], "-o", "DPkg::Lock::Timeout=300", *command[1:]],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last_lines = "\n".join(done.stdout.splitlines()[-5:])
        raise ChromiumMissing(f"`{' '.join(command)}` failed. {HOW_TO}\n{last_lines}")


@contextmanager
def _only_one() -> Iterator[None]:
    import fcntl  # only where apt-get is

    with (Path(tempfile.gettempdir()) / "rtclab-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
