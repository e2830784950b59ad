"""One server under test with its load: the processes of a benchmark, and a measured stretch of time."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..errors import RtclabError
from .janus import Janus
from .processes import Process, Worker, cores

SYSTEMS = ("rtclab", "janus", "janus tuned", "mediarelay")
SETTLE_S = 1.0
QUIET_S = 0.2  # a pause this long ends what is under way
LATE_S = 3.0  # what has not come by then is lost: a busy cell may hold everything up for two seconds
_ANSWER_S = 60.0


@dataclass(frozen=True)
class Load:
    """What the publisher sends.

    Attributes
    ----------
    fps : float
        Pictures a second.
    packets_per_frame : int
        Packets of about 1.1 kB a picture.
    audio : bool
        Whether Opus, 50 packets a second, goes with it.
    real : bool
        Whether the pictures can be decoded; needed by servers that decode.
    """

    fps: float = 30.0
    packets_per_frame: int = 4
    audio: bool = False
    real: bool = False

    @property
    def kinds(self) -> list[str]:
        """The m-lines."""
        return ["video", "audio"] if self.audio else ["video"]


class Rig:
    """A server, a publisher and viewers, each a process; use it in a ``with`` statement.

    Parameters
    ----------
    system : str
        One of `SYSTEMS`.
    load : Load
        What is sent.

    Attributes
    ----------
    server : Process
        The server under test.
    viewers : int
        How many have joined.
    """

    def __init__(self, system: str, load: Load) -> None:
        self.system = system
        self.load = load
        self.viewers = 0
        self.profile: str | None = None
        self._stack = contextlib.ExitStack()
        server_core, load_core = cores()
        with contextlib.ExitStack() as stack:
            self._publisher = stack.enter_context(Worker("publisher", load_core))
            self._audience = stack.enter_context(Worker("viewers", load_core))
            if system.startswith("janus"):
                janus = Janus(server_core, tuned=system == "janus tuned")
                self.server: Process = stack.enter_context(janus)
                port = janus.port
            else:
                module = "relay_server" if system == "mediarelay" else "room_server"
                worker = Worker(module, server_core)
                self.server = stack.enter_context(worker)
                port = worker.ask("open", _ANSWER_S)["port"]
            kind = "janus" if system.startswith("janus") else "room"
            opened = self._publisher.ask(
                "open",
                _ANSWER_S,
                server=kind,
                port=port,
                fps=load.fps,
                packets_per_frame=load.packets_per_frame,
                kinds=load.kinds,
                real=load.real,
            )
            self._audience.ask(
                "open", _ANSWER_S, server=kind, port=port, feed=opened["feed"], kinds=load.kinds
            )
            self._publisher.ask("start")
            time.sleep(QUIET_S)  # the server learns what a picture looks like
            self._empty_rss = self.server.rss_bytes()
            self._stack = stack.pop_all()

    def join(self, count: int, at_once: int = 8) -> dict[str, Any]:
        """Let viewers join while the publisher sends.

        Returns
        -------
        dict
            ``joined``, ``median_s``, ``longest_s``, ``total_s`` and ``cpu_s`` of the server.

        Raises
        ------
        rtclab.errors.RtclabError
            None could join.
        """
        before = self.server.cpu_s()
        result = self._audience.ask("join", _ANSWER_S + count, count=count, at_once=at_once)
        result["cpu_s"] = self.server.cpu_s() - before
        self.viewers += result["joined"]
        self.profile = result["profile"]
        if not result["joined"]:
            raise RtclabError(f"no viewer could join {self.system}: {result['failures'][0]}")
        return result

    def measure(self, seconds: float, meanwhile: Callable[[], object] | None = None) -> dict[str, Any]:
        """Send for `seconds` and count; the stream pauses before and after, so that all counts are exact.

        Parameters
        ----------
        seconds : float
            How long.
        meanwhile : callable, optional
            Called after the stream has begun, on this thread.

        Returns
        -------
        dict
            See the figures in `rtclab.bench.fanout`.
        """
        time.sleep(SETTLE_S)
        self._publisher.ask("stop")
        self._audience.ask("wait", packets=None, silence=QUIET_S)
        self._audience.ask("figures")
        room = self.server if isinstance(self.server, Worker) else None
        before = room.ask("figures") if room else {}
        cpu, load_cpu = self.server.cpu_s(), self._load_cpu()
        begin = time.monotonic()
        self._publisher.begin("send", frames=max(1, round(seconds * self.load.fps)))
        if meanwhile is not None:
            meanwhile()
        sent = self._publisher.result(seconds + _ANSWER_S)
        elapsed = time.monotonic() - begin
        expected = sent["packets"] * self.viewers
        self._audience.ask("wait", packets=expected, silence=LATE_S)
        cpu, load_cpu = self.server.cpu_s() - cpu, self._load_cpu() - load_cpu
        after = room.ask("figures") if room else {}
        got = self._audience.ask("figures")
        self._publisher.ask("start")
        delivered = got["received"] + got["audio"]
        calls = after.get("system_calls", 0) - before.get("system_calls", 0)
        return {
            "viewers": self.viewers,
            "delivered": delivered,
            "cpu_us": cpu / delivered * 1e6 if delivered else None,
            "core": cpu / elapsed,
            "ratio": got["received"] / expected if expected else None,
            "p50_ms": got["p50_ms"],
            "p99_ms": got["p99_ms"],
            "max_ms": got["max_ms"],
            "rate": delivered / elapsed,
            "memory_mb": (self.server.rss_bytes() - self._empty_rss) / self.viewers / 1e6,
            "per_call": (after["sent"] - before["sent"]) / calls if calls else None,
            "load_core": load_cpu / elapsed,
            "decrypted": got["decrypted"],
            "undecryptable": got["undecryptable"],
            "repeated": got["repeated"],
            "keyframe_requests": sent["plis"],
            "publisher_late_ms": sent["late_ms"],
        }

    def busy(self, kind: str, seconds: float) -> float:
        """Keep the main thread of the room's process busy; returns the rounds a second it got done."""
        assert isinstance(self.server, Worker)
        per_second: float = self.server.ask("busy", seconds + _ANSWER_S, kind=kind, seconds=seconds)[
            "per_second"
        ]
        return per_second

    def _load_cpu(self) -> float:
        return self._publisher.cpu_s() + self._audience.cpu_s()

    def close(self) -> None:
        """End all processes."""
        self._stack.close()

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def medians(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over rounds; what is no number, or was not measured, is the first's."""
    merged = dict(rows[0])
    for name in merged:
        values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
        if len(values) == len(rows) and len(set(values)) > 1:
            merged[name] = statistics.median(values)
    return merged
