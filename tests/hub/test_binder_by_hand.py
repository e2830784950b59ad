"""The files in ``binder/`` followed by hand, by somebody who is not root and has a checkout and a Python.

The Python's packages are those of the tests where they are the pinned ones, which are then not fetched; what
is installed goes to an environment of its own. Its server runs where no datagram comes, below ``/user/x/``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import rtclab
from browser_tools import LIVE, moves, start_publishing, tile
from jupyterlab_driver import LabServer, Notebook
from namespaces import Namespace
from shaper import Shaper

ROOT = Path(rtclab.__file__).parents[1]
CHECKOUT = ("binder", "notebooks", "rtclab", "LICENSE", "README.md", "pyproject.toml")
JUPYTER = ("jupyter-core", "jupyter-server", "jupyterlab")  # whose commands an image has
SOMEBODY = 47_011  # a user id that nobody has
INSIDE_PORT = 8888
START_TIMEOUT = 60.0
ROOM, PUBLISHER, VIEWER = 0, 1, 2


class Somebody:
    """A user without a name, in a folder of their own with a checkout and an environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.checkout = home / "rtclab"
        self.python = home / "env" / "bin" / "python3"
        self.environ = {
            "HOME": str(home),
            "PATH": f"{self.python.parent}:{os.defpath}",
            "LANG": "C.UTF-8",
            # what repo2docker's image has of Jupyter
            "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),
            "JUPYTERLAB_DIR": str(Path(sys.prefix, "share", "jupyter", "lab")),
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }
        self._make_environment()
        ignore = shutil.ignore_patterns("__pycache__")
        self.checkout.mkdir()
        for name in CHECKOUT:
            source, copy = ROOT / name, self.checkout / name
            if source.is_dir():
                shutil.copytree(source, copy, ignore=ignore)
            else:
                shutil.copy(source, copy)
        for path in (home, *home.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)

    def _make_environment(self) -> None:
        """An environment that sees this one's packages, and has Jupyter's commands."""
        venv.create(self.python.parents[1], with_pip=False)
        own = sysconfig.get_path("purelib", vars={"base": str(self.python.parents[1])})
        seen = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        Path(own, "of_the_image.pth").write_text("\n".join(seen) + "\n", "utf-8")
        for package in JUPYTER:
            for command in metadata.distribution(package).entry_points:
                if command.group == "console_scripts":
                    script = self.python.parent / command.name
                    run = f"from {command.module} import {command.attr} as main\nraise SystemExit(main())"
                    script.write_text(f"#!{self.python}\n{run}\n", "utf-8")
                    script.chmod(0o755)

    def command(self, *command: str) -> list[str]:
        """The command that runs `command` as them."""
        ids = (f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups")
        return ["setpriv", *ids, "--", *command]

    def run(self, *command: str) -> str:
        """Run a command in the checkout; what it said."""
        done = subprocess.run(
            self.command(*command),
            cwd=self.checkout,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    home = Path(tempfile.mkdtemp(prefix="rtclab-binder-"))  # pytest's own folders are root's
    yield Somebody(home)
    shutil.rmtree(home)


@pytest.fixture
def server(somebody: Somebody) -> Iterator[LabServer]:
    """Their server, after they have followed `binder/`."""
    assert somebody.run("python3", "--version").startswith(
        f"Python {(somebody.checkout / 'binder' / 'runtime.txt').read_text('utf-8').strip()[7:]}."
    )
    pip = ("python3", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check")
    somebody.run(*pip, "-r", "binder/requirements.txt")
    assert "rtclab" in somebody.run("binder/postBuild")
    assert str(somebody.home) in somebody.run("python3", "-c", "import rtclab; print(rtclab.__file__)")

    log, token = somebody.home / "server.log", uuid.uuid4().hex
    with Namespace(f"rtclab-binder-{os.getpid()}") as namespace, log.open("wb") as output:
        line = Shaper(lambda: namespace.connect(INSIDE_PORT))
        place = (f"--port={INSIDE_PORT}", "--ip=127.0.0.1", "--ServerApp.base_url=/user/x/")
        process = subprocess.Popen(
            namespace.command(*somebody.command("jupyter", "lab", "--no-browser", *place)),
            cwd=somebody.checkout,
            env={**somebody.environ, "JUPYTER_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        server = LabServer(f"http://127.0.0.1:{line.port}/user/x/", token, somebody.checkout)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                server.request("GET", "api/status")
                break
            except OSError:
                said = log.read_text("utf-8", "replace")
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
        yield server
        namespace.kill()
        process.wait()
        line.close()


@pytest.mark.timeout(240)
def test_the_quickstart_works_without_udp(server: LabServer, empty_page: Page) -> None:
    empty_page.context.grant_permissions(["camera", "microphone"])
    notebook = Notebook(empty_page, server, "notebooks/00_quickstart.ipynb")
    for cell in (ROOM, PUBLISHER, VIEWER):
        notebook.run(cell)
    start_publishing(notebook, PUBLISHER)
    expect(tile(notebook, VIEWER, "you").locator("video")).to_be_visible(timeout=LIVE)
    moves(empty_page, "you")
    for cell in (PUBLISHER, VIEWER):
        expect(notebook.outputs(cell)).to_contain_text("Signaling: Jupyter server")
        expect(notebook.outputs(cell)).to_contain_text("Media: WebSocket, because UDP did not get through")
