"""A comm between a page and the widgets of this process, in place of Jupyter's."""

from __future__ import annotations

import json
import queue
from typing import Any

from playwright.sync_api import Page

from rtclab.diagnosis.doctor import Doctor
from rtclab.widgets.base import SignalingWidget

PUMP = """() => {
  window.bridged = (key, traits) => {
    const receive = (model, content) => toKernel(key, JSON.stringify(content));
    const model = new FakeModel(traits, { delay: 0, receive, note: receive });
    model.key = key;
    (window.models ??= []).push(model);
    return model;
  };
  const pump = async () => {
    for (const [key, content] of JSON.parse(await fromKernel())) {
      for (const model of window.models ?? []) if (model.key === key) model.emit("msg:custom", content, []);
    }
    setTimeout(pump, 20);
  };
  pump();
}"""


class Bridge:
    """Carries custom messages both ways; Playwright delivers them whenever a test waits for the page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._widgets: dict[str, SignalingWidget | Doctor] = {}
        self._outgoing: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        page.expose_function("toKernel", self._to_kernel)
        page.expose_function("fromKernel", self._from_kernel)
        page.evaluate(PUMP)

    def show(self, widget: SignalingWidget | Doctor, module: str, width: int | None = None) -> None:
        """Render `widget` with the page's `module` (``"Publisher"``, ``"Viewer"``, ``"Doctor"``)."""
        self._widgets[widget.key] = widget
        widget.send = lambda content, buffers=None: self._outgoing.put((widget.key, content))
        widget._hub._widget_send = widget.send
        names = ("key", "name", "server", "source", "simulcast", "of", "room", "checks")
        traits = {name: getattr(widget, name) for name in names if hasattr(widget, name)}
        self._page.evaluate(
            "([module, traits]) => display(window[module], bridged(traits.key, traits))", [module, traits]
        )

    def _to_kernel(self, key: str, content: str) -> None:
        widget = self._widgets.get(key)
        if widget is not None:
            widget._handle_custom_msg(json.loads(content), [])

    def _from_kernel(self) -> str:
        waiting = []
        while not self._outgoing.empty():
            waiting.append(self._outgoing.get())
        return json.dumps(waiting)
