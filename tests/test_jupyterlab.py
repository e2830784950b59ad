"""The JupyterLab fixtures: a notebook opens, runs by keyboard and menu, and shows widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import expect

from jupyterlab_driver import Notebook

Open = Callable[["str | Sequence[str]"], Notebook]

WIDGET = """
import anywidget
import traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''
    export default {
      render({ model, el }) {
        const button = document.createElement("button");
        button.className = "count";
        const show = () => { button.textContent = `count ${model.get("value")}`; };
        button.onclick = () => { model.set("value", model.get("value") + 1); model.save_changes(); };
        model.on("change:value", show);
        show();
        el.append(button);
      },
    };
    '''
    value = traitlets.Int(41).tag(sync=True)

counter = Counter()
counter
"""


def test_cells_run_and_widgets_live(lab_page: Open) -> None:
    notebook = lab_page(["import sys; print(6 * 7)", WIDGET, "counter.value"])
    assert notebook.run(0) == "42"
    notebook.run(1)
    button = notebook.outputs(1).locator("button.count")
    expect(button).to_have_text("count 41")
    button.click()
    expect(button).to_have_text("count 42")
    assert notebook.run(2) == "42"

    expect(notebook.page.locator(".jp-Dialog, .Toastify__toast")).to_have_count(0)
    notebook.set_theme("JupyterLab Dark")
    notebook.set_theme("JupyterLab Light")

    notebook.restart_kernel()
    assert notebook.run(0) == "42"
    notebook.save()
    notebook.open()
    assert notebook.text(0) == "42"
    notebook.run_all()


def test_a_cell_that_raises_fails_the_test(lab_page: Open) -> None:
    notebook = lab_page(["x = 1", "x / 0", "x = = 2"])
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run_all()
    with pytest.raises(AssertionError, match="SyntaxError"):
        notebook.run(2)
