"""``rtclab lab``: JupyterLab on the notebooks, from a checkout or from an installed wheel.

Nothing leaves the machine unasked: JupyterLab's news, update check and extension catalogue are off, the first
two as defaults (``lab_config/``) that a person's own settings override. rtclab's server extension is on, even
where the installation did not enable it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from .errors import RtclabError

FIRST = "00_quickstart.ipynb"
PACKAGE = Path(__file__).resolve().parent
DEFAULTS = PACKAGE / "lab_config"


def notebooks(package: Path = PACKAGE) -> tuple[Path, bool]:
    """Folder of the notebooks of this rtclab, and whether it is a checkout, where they are edited in place.

    Raises
    ------
    rtclab.errors.RtclabError
        The installation has no notebooks.
    """
    checkout = package.parent / "notebooks"
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout, True
    installed = package / "_notebooks"
    if installed.is_dir():
        return installed, False
    raise RtclabError(f"This installation of rtclab has no notebooks ({installed} is missing); reinstall it.")


def workplace(folder: Path | None, package: Path = PACKAGE) -> Path:
    """Folder for JupyterLab to open; notebooks that it lacks are copied into it, none is overwritten.

    Parameters
    ----------
    folder : Path or None
        The folder asked for. None: that of a checkout, else ``rtclab-notebooks`` in the current folder.
    package : Path
        Folder of the package.
    """
    source, checkout = notebooks(package)
    target = folder or (source if checkout else Path("rtclab-notebooks"))
    if target.resolve() != source.resolve():
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.glob("*.ipynb")):
            if not (target / path.name).exists():
                shutil.copyfile(path, target / path.name)
    return target.resolve()


def lab_arguments(folder: Path, port: int | None, open_browser: bool, root: bool) -> list[str]:
    """Arguments for JupyterLab that open `folder` on the first notebook."""
    arguments = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--LabApp.extension_manager=readonly",
    ]
    if port is not None:
        arguments.append(f"--ServerApp.port={port}")
    if not open_browser:
        arguments.append("--no-browser")
    if root:
        arguments.append("--allow-root")
    return arguments


def extension_problem() -> str | None:
    """Why JupyterLab cannot load the server extension, and what that means; None if it can."""
    try:
        importlib.import_module("rtclab.jupyter.extension")
    except ImportError as error:
        return (
            f"the server extension cannot be loaded ({error}), so rooms are reached by comm only, which "
            "waits while a cell runs. Put it right with: pip install -U 'rtclab[lab]'"
        )
    return None


def lab(folder: Path | None = None, port: int | None = None, open_browser: bool = True) -> None:
    """Run JupyterLab on the notebooks until it is stopped.

    Parameters
    ----------
    folder : Path, optional
        See `workplace`.
    port : int, optional
        TCP port; 0 takes a free one, None is JupyterLab's own choice (8888, or the next that is free).
    open_browser : bool
        Open a tab in the person's browser.

    Raises
    ------
    rtclab.errors.RtclabError
        JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise RtclabError("JupyterLab is not installed here. Install it with: pip install 'rtclab[lab]'")
    # before the import, which reads it
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        [*filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")]), str(DEFAULTS)]
    )
    from jupyterlab.labapp import main

    problem = extension_problem()
    if problem is not None:
        sys.stderr.write(f"rtclab: {problem}\n")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    place = workplace(folder)
    sys.stderr.write(f"rtclab: JupyterLab opens {place / FIRST}; stop it with Ctrl+C.\n")
    if root:
        sys.stderr.write("rtclab: running as root, so JupyterLab gets --allow-root.\n")
    main(lab_arguments(place, port, open_browser, root))
