"""The processes of a benchmark: started, pinned to a core, asked, counted, and ended with certainty.

A worker reads requests from its standard input, a JSON object a line, and answers each with one line. When
its input ends, because the benchmark has closed it or is gone, it ends too; the kernel ends other programs
when the benchmark is gone. All have a session of their own, so that Ctrl-C reaches only the benchmark, which
then ends them by their process ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from ..errors import RtclabError

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_PR_SET_PDEATHSIG = 1
_CPU_SCHED = 2  # the kernel's CPUCLOCK_SCHED, of a whole process


def check_platform() -> None:
    """Refuse platforms that have no process clocks, no ``recvmmsg`` and no GSO.

    Raises
    ------
    rtclab.errors.RtclabError
        This is not Linux.
    """
    if sys.platform != "linux":
        raise RtclabError("rtclab bench runs on Linux only: it reads the clocks of other processes")


def find_program(name: str, advice: str) -> str:
    """Path of a program.

    Raises
    ------
    rtclab.errors.RtclabError
        With `advice`: it is not installed.
    """
    program = shutil.which(name)
    if program is None:
        raise RtclabError(advice)
    return program


def cores() -> tuple[int | None, int | None]:
    """The core for the server and the one for the load; None where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def _end_with_parent() -> None:
    ctypes.PyDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A child process and what it costs.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    core : int or None
        The core to run on, with all its threads.
    piped : bool
        Whether its input and output are pipes to us; else it has neither.
    """

    def __init__(self, command: Sequence[str], core: int | None = None, *, piped: bool = False) -> None:
        pipe = subprocess.PIPE if piped else subprocess.DEVNULL
        self._child = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=None if piped else subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=None if piped else _end_with_parent,
        )
        self.pid = self._child.pid
        if core is not None:
            os.sched_setaffinity(self.pid, {core})  # threads that begin later inherit it

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def cpu_s(self) -> float:
        """Processor time of all its threads so far, user and system, in seconds (kept in nanoseconds)."""
        return time.clock_gettime(~self.pid << 3 | _CPU_SCHED)

    def rss_bytes(self) -> int:
        """Memory it holds."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * _PAGE

    def stop(self) -> None:
        """End it: its input is closed, then it is asked to terminate, then killed."""
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
            if self._ended(3.0):
                return
        if self.running:
            self._child.terminate()
        if not self._ended(3.0):
            self._child.kill()
            self._child.wait()

    def _ended(self, seconds: float) -> bool:
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._child.stdout is not None:
            self._child.stdout.close()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Worker(Process):
    """One of our own processes: a module of this package that answers requests.

    Parameters
    ----------
    module : str
        Its name in `rtclab.bench`.
    core : int or None
        The core to run on.
    """

    def __init__(self, module: str, core: int | None = None) -> None:
        self.module = module
        super().__init__([sys.executable, "-m", f"{__package__}.{module}"], core, piped=True)

    def ask(self, do: str, timeout: float = 60.0, **fields: object) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises
        ------
        rtclab.errors.RtclabError
            The worker has ended, does not answer, or answers with an error.
        """
        self.begin(do, **fields)
        return self.result(timeout)

    def begin(self, do: str, **fields: object) -> None:
        """Send a request; `result` waits for its answer."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            self._child.stdin.flush()
        except (OSError, ValueError):  # a closed pipe
            raise RtclabError(f"the {self.module} process of the benchmark has ended") from None

    def result(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for the answer to the request that `begin` sent."""
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], timeout)[0]:
            raise RtclabError(f"the {self.module} process of the benchmark did not answer in {timeout:g} s")
        line = self._child.stdout.readline()
        if not line:
            raise RtclabError(f"the {self.module} process of the benchmark has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RtclabError(f"{self.module}: {answer['error']}")
        return answer


Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def reply(answer: dict[str, Any]) -> None:
    """Answer the request under way; for workers."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def answer_requests(handle: Handler) -> None:
    """Answer requests from standard input, one after the other, until it ends; for workers."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            answer = await handle(json.loads(line))
        except Exception as error:  # the benchmark says it and ends
            answer = {"error": f"{type(error).__name__}: {error}"}
        reply(answer)
