"""The joined modules and the style sheet: without the network, joined by rules that are checked."""

from __future__ import annotations

import re

import pytest

from rtclab.widgets import bundle

ENTRIES = ("entry_publisher.js", "entry_viewer.js")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_bundle_needs_nothing_else(entry: str) -> None:
    text = bundle.module(entry)
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
    assert len(re.findall(r"^export ", text, re.MULTILINE)) == 1
    assert "export default {" in text
    assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert bundle.module(entry) is text, "made once"


def test_every_style_rule_names_an_element_of_ours() -> None:
    css = re.sub(r"@(?:media|container)[^{]*\{", "", bundle.style())
    css = re.sub(r"@keyframes (\S+) \{.*?\}\n\}", lambda found: found[1] and "", css, flags=re.DOTALL)
    assert set(re.findall(r"@keyframes (\S+)", bundle.style())) == {"rtclab-pulse"}
    for selectors in re.findall(r"^([^{}]+)\{", css, re.MULTILINE):
        for selector in selectors.split(","):
            assert "rtclab-" in selector, selector
    assert "url(" not in css
    assert "@import" not in css


def test_modules_come_in_the_order_of_their_imports() -> None:
    files = {
        "c.js": 'import { a } from "./a.js";\nimport { b } from "./b.js";\nexport default a + b;\n',
        "b.js": 'import { a } from "./a.js";\n// why\nexport const b = a;\n',
        "a.js": "/** What\n * it is. */\nexport const a = /** @type {any} */ (1);\n",
    }
    assert bundle.join("c.js", files) == "const a = (1);\nconst b = a;\nexport default a + b;\n"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"a.js": 'import { b } from "./b.js";\n'}, "b.js, which is not there"),
        ({"a.js": 'import { b } from "./b.js";\n', "b.js": "const b = 1;\n"}, "does not export"),
        (
            {
                "a.js": 'import { b } from "./b.js";\nconst c = 1;\n',
                "b.js": "const c = 2;\nexport const b = c;\n",
            },
            "both declare 'c'",
        ),
        (
            {
                "a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
                "b.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
            },
            "in a circle: a.js > b.js > a.js",
        ),
        ({"a.js": 'import * as b from "./b.js";\n', "b.js": ""}, "cannot|no import"),
        ({"a.js": 'import { b as c } from "./b.js";\n', "b.js": "export const b = 1;\n"}, "'b as c'"),
        ({"a.js": 'export { b } from "./b.js";\n', "b.js": ""}, "no import or export"),
        (
            {"a.js": 'import { b } from "./b.js";\n', "b.js": "export const b = 1;\nexport default b;\n"},
            "default export",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(files: dict[str, str], complaint: str) -> None:
    with pytest.raises(bundle.BundleError, match=complaint):
        bundle.join("a.js", files)
