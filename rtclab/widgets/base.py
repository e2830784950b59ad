"""What the widgets have in common: a comm that carries signaling, the wait for the first frame, the poster.

The kernel's side of a widget is small. Every custom message is an envelope `{client, message}` of
`rtclab.signaling.comm`, one client for each page that shows the widget, and goes to the room unread; only the
`phase` messages are noted on the way, so that a cell can wait for the first frame. A page whose signaling
goes through the Jupyter server (the trait `server`) says them here, too: `{client, note}`.
"""

from __future__ import annotations

import asyncio
import html
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from ..engine import get_engine
from ..errors import Closed, RtclabError, Timeout
from ..signaling.carrier import Connect
from ..signaling.comm import CommHub
from ..signaling.messages import PHASES

FIRST_FRAME = "first frame"
TUNNEL = "tunnel"

_POSTER = """<div style="border:1px solid #c4c8cd;border-radius:4px;padding:10px 14px;max-width:640px;\
font-family:system-ui,sans-serif;font-size:13px;line-height:1.5">
<strong>rtclab {what}</strong><br>{text}<br>
<span style="opacity:.75">It is live only with a running kernel: run this notebook's cells.</span></div>"""

_TRY = {
    "permission": "press Start in the widget and allow the browser to capture",
    "signaling": "display the widget in a page, and let running cells finish: no page has been heard of",
    "ICE": "check that UDP passes between the browser and this kernel (Room(host_candidates=...))",
    "DTLS": "run the cell again; a firewall may pass only small packets",
    FIRST_FRAME: "check that somebody publishes, and what room.stats() says of drops",
}


class SignalingWidget(anywidget.AnyWidget):
    """A widget whose pages are clients of a room."""

    key = traitlets.Unicode(read_only=True).tag(sync=True)
    name = traitlets.Unicode("", read_only=True).tag(sync=True)
    server = traitlets.Unicode("", read_only=True).tag(sync=True)

    _what = "widget"
    _phases: tuple[str, ...] = ("signaling", "ICE", "DTLS", FIRST_FRAME)
    _is_closed = True  # until it is made
    _made = False
    _lock = threading.Lock()

    def __init__(self, connect: Connect, server: str = "", **traits: object) -> None:
        # before the comm opens: the page's `initialize` sees only what that carries
        for trait, value in {"key": uuid.uuid4().hex, "server": server, **traits}.items():
            self.set_trait(trait, value)
        super().__init__()
        self._phase: str | None = None
        self._detail = ""
        self._waiters: set[asyncio.Future[None]] = set()
        self._is_closed = False
        self._engine = get_engine()  # kept: at interpreter exit `close` must not start another
        self._hub = CommHub(self.send, connect)
        self.on_msg(self._on_envelope)
        self._made = True

    @property
    def phase(self) -> str | None:
        """The last phase that a page reached.

        One of ``"permission"``, ``"signaling"``, ``"ICE"``, ``"DTLS"``, ``"tunnel"`` (in place of ICE and
        DTLS, where UDP does not pass), ``"first frame"``, ``"stopped"`` and ``"failed"``; None before the
        first.
        """
        return self._phase

    def set_server(self, path: str) -> None:
        """Say where the room is reached through the Jupyter server; on any thread.

        Parameters
        ----------
        path : str
            The room's path below the server's base URL, ``""`` when there is none.
        """
        with self._lock:
            if not self._is_closed:
                self.set_trait("server", path)

    async def connected(self, timeout: float = 30.0) -> None:
        """Wait until the first frame has passed: shown by a viewer, sent by a publisher.

        Awaitable from any loop. A cell that waits without ``await`` keeps the kernel from hearing of it.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most.

        Raises
        ------
        rtclab.errors.Timeout
            With the phase that hangs, and what to try.
        rtclab.errors.RtclabError
            The page gave up: the camera was refused, the room turned it away.
        rtclab.errors.Closed
            The widget was closed.
        """
        await self._engine.wait(self._connected(timeout))

    async def _connected(self, timeout: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiters.add(future)
        self._settle()
        try:
            await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError as error:
            if isinstance(error, Timeout):
                raise
            hung = self._hung()
            raise Timeout(
                f"no first frame within {timeout:g} s; the {hung} phase hangs: {_TRY[hung]}", hung
            ) from None
        finally:
            self._waiters.discard(future)

    def _hung(self) -> str:
        if self._phase == TUNNEL:
            return FIRST_FRAME
        if self._phase in self._phases:
            return self._phases[min(self._phases.index(self._phase) + 1, len(self._phases) - 1)]
        return self._phases[0]

    def _on_envelope(self, _widget: object, content: object, buffers: Sequence[memoryview] | None) -> None:
        """Handle a message of a page; runs on any thread."""
        envelope = content if isinstance(content, dict) else {}
        if "note" in envelope:
            message = envelope["note"]
        else:
            self._hub.receive(content, buffers or ())
            message = envelope.get("message")
        if (
            not isinstance(message, dict)
            or message.get("type") != "phase"
            or message.get("phase") not in PHASES
        ):
            return
        self._phase = message["phase"]
        self._detail = str(message.get("detail") or "")
        self._engine.call_soon(self._settle)

    def _settle(self) -> None:
        """Tell those who wait; on the engine's thread."""
        for future in [future for future in self._waiters if not future.done()]:
            if self._is_closed:
                future.set_exception(Closed(f"the {self._what} was closed"))
            elif self._phase == FIRST_FRAME:
                future.set_result(None)
            elif self._phase == "failed":
                future.set_exception(RtclabError(self._detail or f"the {self._what} could not connect"))

    def end(self) -> None:
        """Take no more messages. Every page keeps the widget, with what the room said last."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._hub.close()
        self._engine.call_soon(self._settle)

    def close(self) -> None:
        """Leave the room and take the widget from every page. May be called more than once."""
        if self._made:
            self.end()
            super().close()

    def _title(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self._phase or "not started"
        return f"<{self._title()}, {state}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        poster = _POSTER.format(what=self._what, text=html.escape(self._title()))
        return {**data, "text/plain": repr(self), "text/html": poster}, metadata
