"""The files in ``binder/``: pinned, of a Python that will do, complete for the notebooks, and no Node."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rtclab
from rtclab.jupyter import EXTENSION

ROOT = Path(rtclab.__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OF_THE_IMAGE = {"jupyterlab", "jupyter-server", "ipykernel", "ipython", "tornado"}  # repo2docker brings them


def pins() -> dict[str, str]:
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pinned.items()}


def steps() -> list[str]:
    """The commands of postBuild."""
    lines = (BINDER / "postBuild").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_dependency_is_pinned_to_a_version_that_will_do() -> None:
    pinned = pins()
    needed = [
        Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lab"])
    ]
    for requirement in needed:
        name = canonicalize_name(requirement.name)
        if name not in OF_THE_IMAGE:
            assert requirement.specifier.contains(pinned[name]), name


def test_what_the_dependencies_need_is_pinned_too() -> None:
    pinned = pins()
    for name in ("aiortc", "anywidget", "ipywidgets", "matplotlib", "pandas", "pyOpenSSL"):
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed = canonicalize_name(requirement.name)
                from_image = OF_THE_IMAGE | {
                    "comm",
                    "traitlets",
                    "packaging",
                    "python-dateutil",
                    "cffi",
                    "six",
                }
                assert needed in pinned or needed in from_image | {"typing-extensions", "pytz", "tzdata"}, (
                    text
                )


def test_the_python_will_do() -> None:
    version = re.fullmatch(r"python-(3\.\d+)\n", (BINDER / "runtime.txt").read_text("utf-8"))
    assert version is not None
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version[1]}.0")


def test_the_notebooks_import_nothing_else() -> None:
    here = set(pins()) | OF_THE_IMAGE | {"rtclab"}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            source = re.sub(r"^[%!].*$", "pass", "".join(cell["source"]), flags=re.MULTILINE)
            for node in ast.walk(ast.parse(source)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    top = name.split(".")[0]
                    package = canonicalize_name({"PIL": "pillow"}.get(top, top))
                    assert top in sys.stdlib_module_names or package in here, f"{path.name}: {name}"


def test_post_build_stops_at_the_first_error_and_needs_no_node() -> None:
    first, *rest = steps()
    assert first == "set -eu"
    assert os.access(BINDER / "postBuild", os.X_OK)
    assert (BINDER / "postBuild").read_text("utf-8").startswith("#!/bin/sh\n")
    assert not [step for step in rest if re.search(r"\b(node|npm|yarn|conda)\b", step)]
    assert "python3 -m pip install --no-cache-dir --no-deps ." in rest
    subprocess.run(["sh", "-n", str(BINDER / "postBuild")], check=True, timeout=10)


def test_no_other_files_are_in_its_way() -> None:
    for name in (".binder", "environment.yml", "requirements.txt", "runtime.txt", "postBuild", "Dockerfile"):
        assert not (ROOT / name).exists(), "repo2docker would take this, or refuse both"


def test_the_extension_is_enabled_as_written(tmp_path: Path) -> None:
    [step] = [step for step in steps() if " extension enable " in step]
    assert step.split()[:5] == ["jupyter", "server", "extension", "enable", EXTENSION]
    jupyter, *words = step.replace("--sys-prefix", "--user").split()
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()  # as the wheel leaves it, but off
    off = {"ServerApp": {"jpserver_extensions": {EXTENSION: False}}}
    (folder / "rtclab.json").write_text(json.dumps(off), "utf-8")
    environ = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "0"}
    command = [str(Path(sys.executable).with_name(jupyter)), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "rtclab.json").read_text("utf-8"))
    assert written["ServerApp"]["jpserver_extensions"] == {EXTENSION: True}


def test_the_badge_opens_the_quickstart() -> None:
    badge = re.search(
        r"https://mybinder\.org/v2/gh/\S+\?urlpath=lab/tree/(\S+)\)", (ROOT / "README.md").read_text("utf-8")
    )
    assert badge is not None
    assert (ROOT / badge[1]).is_file()
    assert badge[1].endswith("00_quickstart.ipynb")


@pytest.mark.parametrize("name", ["requirements.txt", "runtime.txt", "postBuild"])
def test_files_end_their_last_line(name: str) -> None:
    assert (BINDER / name).read_text("utf-8").endswith("\n")
