"""Programs that tests need beside Chromium: found, or as root on Debian installed from its packages."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rtclab.chromium import can_install

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def ensure_program(name: str, package: str) -> str:
    """Path of a program; `package` is installed first if the machine lacks it.

    Raises
    ------
    RuntimeError
        There is none, and it cannot be installed here or the installation failed.
    """
    with (Path(tempfile.gettempdir()) / "rtclab-debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of runs that start at once one installs it
        path = shutil.which(name, path=SEARCH_PATH)
        if path is None and can_install():
            for command in (("update",), ("install", "--yes", "--no-install-recommends", package)):
                subprocess.run(
                    ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", *command],
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                    stdin=subprocess.DEVNULL,
                    check=True,
                )
            path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise RuntimeError(f"There is no {name}. Install it; on Debian: apt-get install {package}")
    return path
