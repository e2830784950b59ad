"""Joins the widgets' ES modules into one: anywidget loads a module from a blob URL, which imports no other.

The modules in `js/` are plain files that any page can import as they are. To be joined they keep to a few
rules, which are checked: imports come from "./file.js" by name, without renaming; only declarations are
exported, and an entry's default; a name is declared at the top level of one module only. Comments and
indentation are left out.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
STYLES = ("base.css", "publisher.css", "viewer.css", "doctor.css")

# the stand-alone page: its files by name, with their types; the page itself has an empty name
PAGE_FILES = {
    "": "text/html",
    "page.js": "text/javascript",
    "publisher.js": "text/javascript",
    "viewer.js": "text/javascript",
    "page.css": "text/css",
}
PAGE_ENTRIES = {
    "page.js": "entry_page.js",
    "publisher.js": "entry_page_publisher.js",
    "viewer.js": "entry_page_viewer.js",
}

_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"\./([\w.]+)";\n', re.MULTILINE)
_OTHER_IMPORT = re.compile(r"^(import\b.*|export\s*[{*].*)$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default\b", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
_INLINE_COMMENT = re.compile(r"/\*\* @type .*?\*/ ?")
_BLANK = re.compile(r"^[ \t]+|\n(?=\n)", re.MULTILINE)


class BundleError(Exception):
    """The modules break a rule that joining them needs."""


@cache
def module(entry: str) -> str:
    """The text of one ES module made of `entry` (a file in `js/`) and all that it imports."""
    return join(entry, {path.name: path.read_text("utf-8") for path in (HERE / "js").glob("*.js")})


@cache
def style() -> str:
    """The text of the widgets' style sheet."""
    return "".join(_squeezed((HERE / "css" / name).read_text("utf-8")) for name in STYLES)


@cache
def page_file(name: str) -> str:
    """The text of one of `PAGE_FILES`."""
    if name == "page.css":
        return style() + _squeezed((HERE / "css" / name).read_text("utf-8"))
    return module(PAGE_ENTRIES[name]) if name in PAGE_ENTRIES else (HERE / "page.html").read_text("utf-8")


def join(entry: str, files: dict[str, str]) -> str:
    """Join `entry` and what it imports, dependencies first.

    Raises
    ------
    BundleError
        A module is missing, imports in a circle, breaks a rule, or declares a name that another one has.
    """
    order: list[str] = []
    _visit(entry, files, order, ())
    owners: dict[str, str] = {}
    parts = []
    for name in order:
        text = files[name]
        for declared in _DECLARED.findall(text):
            if declared in owners:
                raise BundleError(f"{name} and {owners[declared]} both declare {declared!r}")
            owners[declared] = name
        if name != entry and _DEFAULT.search(text):
            raise BundleError(f"{name} has a default export, which only the entry may have")
        text = _EXPORT.sub("", _IMPORT.sub("", text))
        if other := _OTHER_IMPORT.search(text):
            raise BundleError(f"{name}: {other[0]!r} is no import or export that can be joined")
        parts.append(_squeezed(text))
    return "".join(parts)


def _visit(name: str, files: dict[str, str], order: list[str], above: tuple[str, ...]) -> None:
    if name in order:
        return
    if name in above:
        raise BundleError(f"modules import in a circle: {' > '.join((*above, name))}")
    if name not in files:
        raise BundleError(f"{above[-1] if above else 'nobody'} imports {name}, which is not there")
    for names, source in _IMPORT.findall(files[name]):
        _visit(source, files, order, (*above, name))
        exported = set(_EXPORTED.findall(files[source]))
        for imported in filter(None, (part.strip() for part in names.split(","))):
            if imported not in exported:
                raise BundleError(f"{name} imports {imported!r}, which {source} does not export")
    order.append(name)


def _squeezed(text: str) -> str:
    return _BLANK.sub("", _INLINE_COMMENT.sub("", _COMMENT.sub("", text))).strip() + "\n"
