"""The house keeps its order: imports go down, files stay small, pure folders stay pure."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rtclab
from rtclab.widgets import bundle

PACKAGE = Path(rtclab.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted(PACKAGE.rglob("*.js")), *sorted((ROOT / "tests").rglob("*.py"))]

# From the ground up; a file or folder imports from its own floor and from those below it.
FLOORS = [
    {"errors", "engine"},
    {"rtp"},
    {"netlab"},
    {"transport"},
    {"congestion"},
    {"mixing"},
    {"forwarding"},
    {"signaling"},
    {"measure"},
    {"peers"},
    {"jupyter"},
    {"widgets"},
    {"room", "participant", "share", "web_server"},
    {"cli", "bench", "comparison", "diagnosis", "apt", "chromium", "lab", "serve"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
IMPURE = {"asyncio", "random", "select", "selectors", "socket", "threading", "time"}
MAX_LINES = 500
MAX_BUNDLE_BYTES = 136 * 1024


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import, those inside functions too."""
    package = ["rtclab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def floor_of(dotted: str) -> int | None:
    """Floor of a name inside rtclab; None for other packages and for plain values such as the version."""
    parts = dotted.split(".")
    if parts[0] != "rtclab" or len(parts) == 1 or parts[1].startswith("_"):
        return None
    return FLOOR_OF[parts[1]]


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=name_of)
def test_imports_go_down(path: Path) -> None:
    own = FLOOR_OF[path.relative_to(PACKAGE).parts[0].removesuffix(".py")]
    upward = [f"line {line}: {name}" for line, name in imported(path) if (floor_of(name) or 0) > own]
    assert not upward


@pytest.mark.parametrize("folder", ["rtp", "congestion"])
def test_pure_folders_know_no_clock_and_no_network(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("*.py"):
        used = {name.split(".")[0] for _, name in imported(path)} & IMPURE
        assert not used, name_of(path)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_are_small_and_finished(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MAX_LINES, "two ideas in one file?"
    assert not re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", text)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_are_for(path: Path) -> None:
    text = path.read_text("utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text))


def test_public_names_exist() -> None:
    for name in rtclab.__all__:
        assert getattr(rtclab, name) is not None


def test_readme_speaks_of_what_exists() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    for dotted in set(re.findall(r"\brtclab(?:\.[A-Za-z_]\w*)+", "\n".join(blocks))):
        module, *names = dotted.split(".")
        value = importlib.import_module(module)
        for name in names:
            value = getattr(value, name)


def test_ci_runs_the_second_command_of_the_readme() -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text("utf-8"))
    assert commands[0].endswith("rtclab lab")
    assert commands[1] in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize("entry", sorted(path.name for path in PACKAGE.rglob("entry_*.js")))
def test_bundles_are_small(entry: str) -> None:
    assert len(bundle.module(entry).encode()) <= MAX_BUNDLE_BYTES


def test_types_are_published() -> None:
    assert (PACKAGE / "py.typed").is_file()
