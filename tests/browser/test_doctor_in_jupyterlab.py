"""`rtclab.doctor()` in a real JupyterLab: every check ends, and a cell that waits gets the sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from playwright.sync_api import expect

from jupyterlab_driver import Notebook

CELLS = (
    "import rtclab\nreport = rtclab.doctor()\nreport",
    "print(await report.done(45))",
    "print(report.results['state'].to_json())",
)


def test_the_doctor_is_through_in_jupyterlab(lab_page: Callable[[str | Sequence[str]], Notebook]) -> None:
    notebook = lab_page(CELLS)
    notebook.run(0)
    doctor = notebook.outputs(0).locator("[data-rtclab=doctor]")
    expect(doctor).to_have_attribute("data-status", "done", timeout=45_000)
    sentence = notebook.run(1)
    assert sentence.startswith("Media will travel by WebRTC over UDP, straight to this kernel")
    expect(doctor.get_by_role("status").filter(has_text=sentence)).to_be_visible()
    states = json.loads(notebook.run(2))
    assert not {"waiting", "running", "fail"} & set(states.values())
    for check in ("secure", "webcodecs", "jupyter", "comm", "extension", "udp", "busy", "kernel", "versions"):
        assert states[check] == "ok", check
    busy = doctor.locator("[data-check=busy]")
    expect(busy).to_contain_text("while the kernel was held up for 1 s; by the Jupyter server's WebSocket")
    expect(doctor.locator("[data-check=versions]")).to_contain_text("JupyterLab")

    notebook.run(0)
    expect(notebook.page.locator("[data-rtclab=doctor]")).to_have_count(1)
