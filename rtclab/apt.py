"""Programs that tests and benchmarks need and pip cannot bring, from the distribution's packages.

They are installed where that is possible without asking, as root on a system with apt-get: a container that
runs the tests. Everywhere else the error says what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import RtclabError

Which = Callable[[str], "str | None"]
Run = Callable[[Sequence[str]], None]


def can_install(which: Which = shutil.which) -> bool:
    """Whether `ensure` may install here: root, on a system with apt-get."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and which("apt-get") is not None


def ensure(
    find: Callable[[], str | None],
    packages: Sequence[str],
    installable: bool | None = None,
    run: Run | None = None,
) -> str | None:
    """What `find` finds, after installing `packages` if that is nothing and it is possible.

    Runs that start at once install once: the others wait for the first, then find what it brought.

    Raises
    ------
    rtclab.errors.RtclabError
        apt-get failed.
    """
    found = find()
    if found is not None or not (can_install() if installable is None else installable):
        return found
    with _only_one():
        found = find()
        if found is None:
            for command in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
                (run or run_quietly)(("apt-get", command[0], "--quiet", *command[1:]))
            found = find()
    return found


def run_quietly(command: Sequence[str]) -> None:
    """Run apt-get without questions; its last words are in the error when it fails."""
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
        raise RtclabError(f"`{' '.join(command)}` failed.\n{last_lines}")


@contextmanager
def _only_one() -> Iterator[None]:
    import fcntl  # only where apt-get is

    with (Path(tempfile.gettempdir()) / "rtclab-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
