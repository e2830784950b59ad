"""Which Chromium the browser tests use, and how a machine without one gets it.

A browser named by ``RTCLAB_CHROMIUM`` wins; then the first of `NAMES` on the search path, then the usual
places on macOS. As root with apt-get, a missing one is installed from the distribution's packages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from . import apt
from .errors import RtclabError

VARIABLE = "RTCLAB_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PACKAGES = ("chromium", "fonts-liberation")
HOW_TO = (
    "Install it (Debian: apt-get install chromium; as root, `rtclab doctor --install-chromium` does that), "
    f"or set {VARIABLE} to the path of a Chromium or Chrome."
)


class ChromiumMissing(RtclabError):  # noqa: N818
    """No Chromium was found and none could be installed."""


def find_chromium(environ: Mapping[str, str] = os.environ, which: apt.Which = shutil.which) -> str | None:
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


def ensure_chromium(
    environ: Mapping[str, str] = os.environ,
    which: apt.Which = shutil.which,
    installable: bool | None = None,
    run: apt.Run | None = None,
) -> str:
    """Path of the Chromium to use, installed first if need be and possible.

    Raises
    ------
    ChromiumMissing
        There is none, and it cannot be installed here or the installation failed.
    """
    installable = apt.can_install(which) if installable is None else installable
    try:
        path = apt.ensure(lambda: find_chromium(environ, which), PACKAGES, installable, run)
    except ChromiumMissing:
        raise
    except RtclabError as error:
        raise ChromiumMissing(f"{HOW_TO} {error}") from None
    if path is not None:
        return path
    if not installable:
        raise ChromiumMissing(f"No Chromium was found. {HOW_TO}")
    raise ChromiumMissing(f"apt-get installed chromium, but no program of that name appeared. {HOW_TO}")
