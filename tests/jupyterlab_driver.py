"""A person at JupyterLab, for tests: a server of its own, and a notebook driven by keyboard and menu."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from rtclab.jupyter import EXTENSION

START_TIMEOUT = 60.0
CELL_TIMEOUT = 60.0

# A prompt may read [1] before and after a run (restarted kernel): its changes are watched, not its text.
WATCH_PROMPTS = """(prompts) => {
  for (const prompt of prompts) {
    delete prompt.dataset.ran;
    const observer = new MutationObserver(() => { prompt.dataset.ran = "yes"; observer.disconnect(); });
    observer.observe(prompt, {childList: true, characterData: true, subtree: true});
  }
}"""
RAISED = re.compile(r"Traceback \(most recent call last\)|Cell In\[\d+\], line \d+")


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab.

    Attributes
    ----------
    url : str
        Its address, with a slash at the end.
    token : str
        What lets tests ask the server.
    folder : Path
        The notebooks: a copy, free to be changed.
    needs_token : bool
        Whether a page needs the token as ``?token=``; else it has logged in.
    """

    url: str
    token: str
    folder: Path
    needs_token: bool = True

    def page(self, path: str) -> str:
        """Address of a page."""
        return f"{self.url}{path}?token={self.token}" if self.needs_token else self.url + path

    def request(self, method: str, path: str) -> Any:
        """Ask the server's REST interface; the decoded JSON, or None for an empty reply."""
        request = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            body = reply.read()
        return json.loads(body) if body else None

    def write_notebook(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook of code cells into the folder; returns `name`."""
        content = {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell-{index}",
                    "metadata": {},
                    "execution_count": None,
                    "outputs": [],
                    "source": source,
                }
                for index, source in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        return name

    def shut_down_kernels(self) -> None:
        """End every kernel, and forget the open tabs that belong to them."""
        for session in self.request("GET", "api/sessions"):
            self.request("DELETE", f"api/sessions/{session['id']}")


def start_lab(folder: Path, home: Path, extension: bool = True) -> tuple[LabServer, subprocess.Popen[bytes]]:
    """Start ``rtclab lab`` on a free port and wait until it answers.

    Parameters
    ----------
    folder : Path
        The folder of notebooks; those that it lacks are copied there.
    home : Path
        Where Jupyter and IPython keep their own files, so that the person's stay untouched.
    extension : bool
        Whether the server has rtclab's extension.
    """
    token = uuid.uuid4().hex
    runtime = home / "runtime"
    environ = {
        **os.environ,
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_TOKEN": token,
    }
    if not extension:
        off = home / "off" / "jupyter_server_config.d"
        off.mkdir(parents=True)
        content = {"ServerApp": {"jpserver_extensions": {EXTENSION: False}}}
        (off / "rtclab.json").write_text(json.dumps(content), "utf-8")
        environ["JUPYTER_CONFIG_PATH"] = str(off.parent)
    log = home / "server.log"
    command = [
        sys.executable,
        "-m",
        "rtclab.cli",
        "lab",
        "--no-browser",
        "--port=0",
        f"--notebook-dir={folder}",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        port = _listening_port(runtime / f"jpserver-{process.pid}.json", token)
        if port:
            return LabServer(f"http://127.0.0.1:{port}/", token, folder), process
        time.sleep(0.05)
    stop_lab(process)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _listening_port(record: Path, token: str) -> int | None:
    try:
        port = int(json.loads(record.read_text("utf-8"))["port"])
        LabServer(f"http://127.0.0.1:{port}/", token, record).request("GET", "api/status")
    except (OSError, ValueError):  # not written yet, or not listening yet
        return None
    return port


def stop_lab(process: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its kernels."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Notebook:
    """A notebook that is open in a page of JupyterLab. Cells are code cells, counted from 0.

    Attributes
    ----------
    page : Page
        The Playwright page, for everything that a test does itself.
    """

    def __init__(self, page: Page, server: LabServer, name: str) -> None:
        self.page = page
        self._server = server
        self._name = name
        # a workspace of its own: no tabs of earlier tests are restored
        self._address = server.page(f"lab/workspaces/{uuid.uuid4().hex}/tree/{name}")
        self.open()

    def open(self) -> None:
        """Open (or reload) the notebook and wait until its kernel is idle."""
        self.page.goto(self._address)
        self.wait_idle()
        cells = json.loads((self._server.folder / self._name).read_text("utf-8"))["cells"]
        expect(self.cells).to_have_count(sum(cell["cell_type"] == "code" for cell in cells))

    def wait_idle(self, timeout: float = CELL_TIMEOUT) -> None:
        """Wait until the kernel is connected and idle."""
        status = self.page.locator("#jp-main-statusbar")
        expect(status).to_contain_text(re.compile(r"\| Idle"), timeout=timeout * 1000)

    @property
    def cells(self) -> Locator:
        """All code cells."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")

    def outputs(self, cell: int) -> Locator:
        """The outputs of a cell; locate within them."""
        return self.cells.nth(cell).locator(".jp-OutputArea-output")

    def text(self, cell: int) -> str:
        """What the outputs of a cell say, as a person reads it."""
        return "\n".join(self.outputs(cell).all_inner_texts()).strip()

    def run(self, cell: int, timeout: float = CELL_TIMEOUT) -> str:
        """Run one cell by keyboard, wait until it is done and return its text.

        Raises
        ------
        AssertionError
            The cell raised; the message is its traceback.
        """
        self.start(cell)
        self.finish(cell, timeout)
        return self.text(cell)

    def start(self, cell: int) -> None:
        """Run one cell by keyboard, without waiting; `finish` waits."""
        self._prompt(cell).evaluate_all(WATCH_PROMPTS)
        self._prompt(cell).click()
        self.page.keyboard.press("Control+Enter")

    def finish(self, cell: int, timeout: float = CELL_TIMEOUT) -> None:
        """Wait until a cell that was started is done; raises as `run` does."""
        prompt = self._prompt(cell)
        expect(prompt).to_have_attribute("data-ran", "yes", timeout=timeout * 1000)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=timeout * 1000)
        errors = self.outputs(cell).filter(has_text=RAISED)
        if errors.count():
            raise AssertionError(f"cell {cell} raised:\n{errors.first.inner_text()}")

    def run_all(self, timeout: float = CELL_TIMEOUT) -> None:
        """Run > Run All Cells, by menu; waits for each cell and raises as `run` does."""
        self.cells.locator(".jp-InputPrompt").evaluate_all(WATCH_PROMPTS)
        self.menu("Run", "Run All Cells")
        for cell in range(self.cells.count()):
            self.finish(cell, timeout)

    def restart_kernel(self) -> None:
        """Kernel > Restart Kernel, by menu, confirmed; waits until the new one is idle."""
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)
        self.wait_idle()

    def save(self) -> None:
        """Save by keyboard, and wait until it is saved."""
        self.page.keyboard.press("Control+s")
        expect(self.page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-dirty")).to_have_count(0)

    def set_theme(self, name: str) -> None:
        """Settings > Theme: ``"JupyterLab Light"`` or ``"JupyterLab Dark"``."""
        self.menu("Settings", "Theme", name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)

    def menu(self, *labels: str) -> None:
        """Choose an entry of the menu bar, for instance ``menu("Run", "Run All Cells")``."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{re.escape(labels[0])}$")).click()
        for label in labels[1:]:
            item = self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{re.escape(label)}$"))
            item.last.click()

    def _prompt(self, cell: int) -> Locator:
        return self.cells.nth(cell).locator(".jp-InputPrompt")
