"""`rtclab.doctor`: a widget that finds out how media will travel between its page and this kernel.

The page examines itself and the ways to the kernel; the kernel opens a room for that, which nobody else is
told of, and examines itself. Both speak over the widget's comm, in `{doctor: page, say, ...}`:

    begin {browser}                 a page opens the examination       room {path}   the reply
    result {n, check, state, detail, relayed, absent}   what a page has found
    ping {n}                                                           pong {n}
    busy {}     the kernel's loop is held up for a second              busy {seconds} now
    arrived {}  has the room heard anything of this page by UDP?       arrived {seen}
    end {}      the page is through

and to every page: `rows {rows}` and `verdict {tone, sentence}`. Envelopes with a `client` are signaling of
the room (`rtclab.signaling.comm`). Only the page that began last is listened to.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import html
import importlib.metadata
import platform
import secrets
import threading
import time
from typing import Any, Final

import anywidget
import pandas as pd
import traitlets

from .. import __version__
from ..engine import get_engine
from ..errors import Closed, Timeout
from ..room import Room
from ..signaling.carrier import Carrier, Endpoint
from ..signaling.comm import CommHub
from ..signaling.ice_config import IceConfig, IceServers
from ..widgets import bundle
from ..widgets.cell import running_cell
from . import machine
from .verdict import State, Verdict, verdict

CHECKS: Final = {
    "secure": ("Secure context", "page"),
    "permission": ("Permissions", "page"),
    "camera": ("Camera, microphone", "page"),
    "webcodecs": ("WebCodecs", "page"),
    "jupyter": ("Jupyter server", "page"),
    "comm": ("Comm", "page"),
    "extension": ("Server extension", "page"),
    "udp": ("WebRTC over UDP", "page"),
    "ice": ("STUN and TURN", "page"),
    "busy": ("Beside a busy cell", "page"),
    "kernel": ("Kernel", "kernel"),
    "versions": ("Versions", "kernel"),
}
STATES: Final[tuple[State, ...]] = ("waiting", "running", "ok", "warn", "fail", "none")
BUSY_S: Final = 1.0
PAGE_S: Final = 10.0
POLL_S: Final = 0.02
MAX_DETAIL: Final = 1000
PACKAGES: Final = ("ipykernel", "ipywidgets", "anywidget", "aiortc", "av")

_POSTER = """<pre style="border:1px solid #c4c8cd;border-radius:4px;padding:10px 14px;white-space:pre-wrap">\
{text}</pre>"""

_of_cell: dict[str, Doctor] = {}  # a cell that is run again replaces its report


def doctor(ice_servers: IceServers = (), page_timeout: float = PAGE_S, ice: str = "lite") -> Doctor:
    """Examine how media will travel between a notebook page and this kernel; display what is returned.

    Parameters
    ----------
    ice_servers : sequence of dict or callable
        STUN and TURN servers to try, as `rtclab.Room` takes them. None by default: nothing leaves the machine
        unasked.
    page_timeout : float
        Seconds after which the report is complete although no page has shown it.
    ice : {"lite", "full"}
        As `rtclab.Room` takes it: ``"full"`` lets the kernel, too, ask these servers how it can be reached.

    Raises
    ------
    rtclab.errors.IceServerError
        `ice_servers` or `ice` is none.

    Examples
    --------
    >>> report = rtclab.doctor()      # doctest: +SKIP
    >>> await report.done()           # doctest: +SKIP
    >>> report.results                # doctest: +SKIP
    """
    report = Doctor(ice_servers, page_timeout, ice)
    cell = running_cell()
    if cell:
        earlier = _of_cell.pop(cell, None)
        if earlier is not None:
            earlier.close()
        _of_cell[cell] = report
    return report


class Doctor(anywidget.AnyWidget):
    """The report that `doctor` returns: a widget, and its findings for programs."""

    _esm = bundle.module("entry_doctor.js")
    _css = bundle.style()

    key = traitlets.Unicode(read_only=True).tag(sync=True)
    checks: traitlets.List[list[str]] = traitlets.List(read_only=True).tag(sync=True)

    def __init__(self, ice_servers: IceServers = (), page_timeout: float = PAGE_S, ice: str = "lite") -> None:
        IceConfig(ice_servers, "all", ice)  # complains here, not once a page looks
        self.set_trait("key", secrets.token_hex(12))
        self.set_trait("checks", [[name, title, where] for name, (title, where) in CHECKS.items()])
        super().__init__()
        self._ice: dict[str, Any] = {"ice_servers": ice_servers, "ice": ice}
        self._engine = get_engine()
        self._lock = threading.Lock()
        self._found: dict[str, tuple[State, str]] = dict.fromkeys(CHECKS, ("waiting", ""))
        self._newest: dict[str, int] = {}  # number of what a page told last of a check
        self._page: str | None = None
        self._browser = ""
        self._relayed = False
        self._absent = False
        self._is_closed = False
        self._verdict: Verdict | None = None
        self._room: Room | None = None
        self._give_up_at = time.monotonic() + page_timeout
        self._changed: set[asyncio.Event] = set()
        try:
            self._cell_loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # no kernel around
            self._cell_loop = None
        self._cell = contextvars.copy_context()
        self._hub = CommHub(self.send, self._connect)
        self.on_msg(self._on_content)
        self._engine.submit(self._examine_kernel())

    # -- what was found ---------------------------------------------------------------------------------

    @property
    def results(self) -> pd.DataFrame:
        """A row for each check: where it was made, its state, and the reason.

        States are ``"waiting"``, ``"running"``, ``"ok"``, ``"warn"``, ``"fail"``, and ``"none"`` for a check
        that was not made.
        """
        with self._lock:
            rows = [(name, CHECKS[name][1], *found) for name, found in self._found.items()]
        return pd.DataFrame(rows, columns=["check", "where", "state", "detail"]).set_index("check")

    @property
    def verdict(self) -> Verdict | None:
        """How media will travel, once everything was looked at."""
        return self._verdict

    async def done(self, timeout: float = 60.0) -> str:
        """Wait until everything was looked at; awaitable from any loop.

        Returns
        -------
        str
            The sentence with which the report ends.

        Raises
        ------
        rtclab.errors.Timeout
            With the check that hangs.
        rtclab.errors.Closed
            The report was closed.
        """
        return await self._engine.wait(self._done(timeout))

    async def _done(self, timeout: float) -> str:
        event = asyncio.Event()
        self._changed.add(event)
        end = time.monotonic() + timeout
        try:
            while self._verdict is None:
                event.clear()
                if self._is_closed:
                    raise Closed("the doctor's report was closed; make another with rtclab.doctor()")
                until = end if self._page is not None else min(end, self._give_up_at)
                try:
                    await asyncio.wait_for(event.wait(), max(until - time.monotonic(), POLL_S))
                except asyncio.TimeoutError:
                    self._give_up_page()
                    if time.monotonic() >= end and self._verdict is None:
                        hung = self._hung()
                        raise Timeout(
                            f"not everything was looked at within {timeout:g} s: {hung}", hung
                        ) from None
            return self._verdict.sentence
        finally:
            self._changed.discard(event)

    def _hung(self) -> str:
        titles = [
            CHECKS[name][0] for name, (state, _) in self._found.items() if state in ("waiting", "running")
        ]
        return f"{titles[0]} hangs" if titles else "the page hangs"

    def _give_up_page(self) -> None:
        if self._page is not None or time.monotonic() < self._give_up_at:
            return
        with self._lock:
            for name, (_, where) in CHECKS.items():
                if where == "page":
                    self._found[name] = ("none", "no page has shown this widget")
        self._sum_up()

    # -- the kernel's side ------------------------------------------------------------------------------

    async def _examine_kernel(self) -> None:
        self._note("kernel", "running", "")
        self._note_versions()
        report = await asyncio.get_running_loop().run_in_executor(None, machine.examine)
        said = [
            f"{check.name}: {check.detail}." for check in report.checks if check.state in ("fail", "warn")
        ]
        self._note("kernel", "ok" if report.ok else "fail", " ".join(said) or report.summary)

    def _note(self, name: str, state: State, detail: str) -> None:
        with self._lock:
            self._found[name] = (state, detail[:MAX_DETAIL])
        if CHECKS[name][1] == "kernel":
            self._tell_rows()
        self._sum_up()

    def _note_versions(self) -> None:
        with self._lock:  # looked up and noted at once: a page may begin meanwhile
            self._found["versions"] = ("ok", self._versions()[:MAX_DETAIL])
        self._tell_rows()
        self._sum_up()

    def _tell_rows(self) -> None:
        with self._lock:
            own = {name: found for name, found in self._found.items() if CHECKS[name][1] == "kernel"}
        rows = [{"check": name, "state": state, "detail": detail} for name, (state, detail) in own.items()]
        self._tell({"say": "rows", "rows": rows})

    def _sum_up(self) -> None:
        """Say the sentence when nothing is left to wait for, and again when something is looked at anew."""
        with self._lock:
            states = {name: state for name, (state, _) in self._found.items()}
            if {"waiting", "running"} & set(states.values()):
                return
            found = self._verdict = verdict(states, self._page is not None, self._relayed, self._absent)
        self._tell({"say": "verdict", "tone": found.tone, "sentence": found.sentence})
        self._engine.call_soon(self._wake)

    def _wake(self) -> None:
        for event in self._changed:
            event.set()

    def _tell(self, content: dict[str, Any], page: str = "") -> None:
        if not self._is_closed:
            self.send({"doctor": page, **content})

    def _versions(self) -> str:
        said = [self._browser] if self._browser else []
        for package in PACKAGES:
            try:
                said.append(f"{package} {importlib.metadata.version(package)}")
            except importlib.metadata.PackageNotFoundError:  # no notebook around
                continue
        return ", ".join([*said, f"rtclab {__version__}", f"Python {platform.python_version()}"])

    # -- the page's side --------------------------------------------------------------------------------

    def _on_content(self, _widget: object, content: object, _buffers: object) -> None:
        """Handle a message of a page; runs on any thread."""
        if not isinstance(content, dict) or self._is_closed:
            return
        page = content.get("doctor")
        if not isinstance(page, str):
            if self._room is not None:
                self._hub.receive(content)
            return
        if content.get("say") == "begin":
            self._begin(page, str(content.get("browser", ""))[:MAX_DETAIL])
        elif page == self._page:
            self._serve(page, content)

    def _serve(self, page: str, content: dict[str, Any]) -> None:
        match content.get("say"):
            case "ping":
                self._tell({"say": "pong", "n": content.get("n")}, page)
            case "result":
                self._take(content)
            case "busy":
                self._hold_up(page)
            case "arrived":
                self._engine.submit(self._tell_arrived(page))
            case "end":
                self._engine.submit(self._end_room())

    def _begin(self, page: str, browser: str) -> None:
        self._page, self._browser = page, browser
        with self._lock:
            for name, (_, where) in CHECKS.items():
                if where == "page":
                    self._found[name] = ("waiting", "")
            self._verdict = None
            self._relayed = False
            self._absent = False
            self._newest.clear()
        self._note_versions()
        self._engine.submit(self._open_room(page))

    async def _open_room(self, page: str) -> None:
        await self._end_room()
        make = functools.partial(Room, "doctor", **self._ice)
        room = await asyncio.get_running_loop().run_in_executor(None, make)
        if self._is_closed or page != self._page:
            await room.aclose()
            return
        self._room = room
        self._tell({"say": "room", "path": room.server_path}, page)

    async def _end_room(self) -> None:
        if self._room is not None:
            await self._room.aclose()

    def _connect(self, carrier: Carrier) -> Endpoint:
        assert self._room is not None, "nothing is handed to the hub before there is one"
        return self._room.connect(carrier)

    def _take(self, content: dict[str, Any]) -> None:
        name, state = content.get("check"), content.get("state")
        if name not in CHECKS or CHECKS[name][1] != "page" or state not in STATES:
            return
        number = content.get("n")
        if not isinstance(number, int):
            return
        with self._lock:
            if number <= self._newest.get(name, 0):
                return  # two threads handled them the other way round
            self._newest[name] = number
            self._found[name] = (state, str(content.get("detail") or "")[:MAX_DETAIL])
            if name == "udp":
                self._relayed = content.get("relayed") is True
                self._absent = content.get("absent") is True
        self._sum_up()

    def _hold_up(self, page: str) -> None:
        """Do to the kernel what a busy cell does."""
        if self._cell_loop is None:
            self._tell({"say": "busy", "seconds": 0}, page)
        else:
            self._cell_loop.call_soon_threadsafe(self._be_busy, page, context=self._cell)

    def _be_busy(self, page: str) -> None:
        # said by the cell, as of a widget that it displays: ipykernel may route what pages reply by that
        self._tell({"say": "busy", "seconds": BUSY_S}, page)
        time.sleep(BUSY_S)

    async def _tell_arrived(self, page: str) -> None:
        room = self._room
        seen = room is not None and any(member.address is not None for member in room.participants)
        self._tell({"say": "arrived", "seen": seen}, page)

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take the report from every page. May be called more than once."""
        if not self._is_closed:
            self._is_closed = True
            self._hub.close()
            if self._engine.running:
                self._engine.submit(self._end_room())
            self._engine.call_soon(self._wake)
            super().close()

    def __repr__(self) -> str:
        with self._lock:
            found = dict(self._found)
        width = max(len(title) for title, _ in CHECKS.values())
        lines = [
            f"{state:<7}  {CHECKS[name][0]:<{width}}  {detail}" for name, (state, detail) in found.items()
        ]
        sentence = self._verdict.sentence if self._verdict else "Not everything was looked at yet."
        return "\n".join([f"rtclab {__version__}", "", *(line.rstrip() for line in lines), "", sentence])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        made = super()._repr_mimebundle_(**kwargs)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        text = repr(self)
        return {**data, "text/plain": text, "text/html": _POSTER.format(text=html.escape(text))}, metadata
