"""``rtclab lab``: which notebooks, which arguments, and that a person finds the quickstart open."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from jupyterlab_driver import LabServer
from rtclab.cli import main
from rtclab.errors import RtclabError
from rtclab.lab import FIRST, extension_problem, lab_arguments, notebooks, workplace


def package_in(folder: Path, notebooks_at: str, *, checkout: bool) -> Path:
    """A folder laid out like an installation; returns its package."""
    package = folder / "rtclab"
    package.mkdir(parents=True)
    (folder / notebooks_at).mkdir()
    for name in (FIRST, "01_layers.ipynb"):
        (folder / notebooks_at / name).write_text(f"original {name}")
    if checkout:
        (folder / "pyproject.toml").touch()
    return package


def test_a_checkout_is_worked_in_directly(tmp_path: Path) -> None:
    package = package_in(tmp_path, "notebooks", checkout=True)
    assert notebooks(package) == (tmp_path / "notebooks", True)
    assert workplace(None, package) == tmp_path / "notebooks"


def test_a_wheel_copies_its_notebooks_and_keeps_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_in(tmp_path / "site", "rtclab/_notebooks", checkout=False)
    monkeypatch.chdir(tmp_path)
    folder = workplace(None, package)
    assert folder == tmp_path / "rtclab-notebooks"
    (folder / FIRST).write_text("edited")
    (folder / "01_layers.ipynb").unlink()

    assert workplace(None, package) == folder
    assert (folder / FIRST).read_text() == "edited"
    assert (folder / "01_layers.ipynb").read_text() == "original 01_layers.ipynb"


def test_another_folder_is_filled(tmp_path: Path) -> None:
    package = package_in(tmp_path / "checkout", "notebooks", checkout=True)
    folder = workplace(tmp_path / "class" / "week1", package)
    assert sorted(path.name for path in folder.iterdir()) == [FIRST, "01_layers.ipynb"]


def test_an_installation_without_notebooks_says_so(tmp_path: Path) -> None:
    with pytest.raises(RtclabError, match="reinstall"):
        notebooks(tmp_path / "rtclab")


def test_root_is_allowed_only_to_root() -> None:
    folder = Path("/home/ada/notebooks")
    assert "--allow-root" not in lab_arguments(folder, None, True, root=False)
    assert lab_arguments(folder, 8890, False, root=True)[-3:] == [
        "--ServerApp.port=8890",
        "--no-browser",
        "--allow-root",
    ]


def test_a_missing_jupyterlab_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["lab"]) == 1
    assert "pip install 'rtclab[lab]'" in capsys.readouterr().err


def test_a_server_extension_that_cannot_be_loaded_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extension_problem() is None
    for name in ("rtclab.jupyter.extension", "jupyter_server.auth.decorator"):
        monkeypatch.setitem(sys.modules, name, None)
    problem = extension_problem()
    assert problem is not None
    assert "pip install -U 'rtclab[lab]'" in problem


def test_the_quickstart_is_what_opens(jupyter_lab: LabServer, empty_page: Page) -> None:
    empty_page.goto(f"{jupyter_lab.url}?token={jupyter_lab.token}")
    expect(empty_page.locator(".lm-TabBar-tab.lm-mod-current", has_text=FIRST)).to_be_visible(timeout=30_000)
    assert "rooms" in jupyter_lab.request("GET", "rtclab/rooms"), "the server extension is off"
    jupyter_lab.shut_down_kernels()
