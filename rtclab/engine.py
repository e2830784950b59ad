"""Where rtclab runs: one daemon thread with one asyncio loop for each process, more if somebody asks.

A notebook cell blocks the kernel's own loop for as long as it runs, so everything that must go on
meanwhile (media, ICE, signaling) lives on this thread. A caller on any other thread hands a coroutine
over and waits for its result (`Engine.run`) or awaits it from a loop of its own (`Engine.wait`).
Cancelling the wait cancels the work.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import selectors
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import Closed, RtclabError, Timeout

T = TypeVar("T")

WAKING_SWITCH_INTERVAL = 0.0002


class _Selector(selectors.DefaultSelector):
    """Waits for events, and settles how the engine's thread and a busy cell share the GIL.

    Whoever wants the GIL waits one switch interval, as long as it is when the wait begins, before it is
    handed over. While the engine sleeps the interval is short: packets that come beside a busy cell are soon
    looked at. While it works the interval is the process's own, 5 ms by default: the cell takes the GIL back
    when the batch has left, not in the middle of it.

    Attributes
    ----------
    working : float or None
        The process's own interval in seconds; None while nothing is live and all stays as it is.
    """

    working: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events for at most `timeout` seconds."""
        if self.working is None:
            return super().select(timeout)
        sys.setswitchinterval(min(self.working, WAKING_SWITCH_INTERVAL))
        try:
            return super().select(timeout)
        finally:
            if self.working is not None:
                sys.setswitchinterval(self.working)


class Engine:
    """A daemon thread that runs an asyncio loop until `stop`, or the interpreter's exit.

    A process needs one, `get_engine`; a second one keeps what it costs apart from the first.

    Attributes
    ----------
    loop : asyncio.AbstractEventLoop
        The loop; touch it from other threads only with the methods of this class.
    """

    def __init__(self) -> None:
        self._selector = _Selector()
        self.loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(self._selector)
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name="rtclab-engine", daemon=True)
        self._thread.start()
        self._started.wait()
        _stop_at_exit()
        _engines.add(self)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._started.set)
        self.loop.run_forever()

    @property
    def running(self) -> bool:
        """Whether work can still be handed over."""
        return self._thread.is_alive() and not self.loop.is_closed()

    def on_engine_thread(self) -> bool:
        """Whether the caller is already on the engine's thread."""
        return threading.current_thread() is self._thread

    def cpu_s(self) -> float:
        """Processor time of its thread so far, user and system, in seconds.

        Where a thread has no clock that others can read (macOS), the thread is asked, between two steps.

        Raises
        ------
        rtclab.errors.Closed
            It has stopped.
        """
        if self.on_engine_thread():
            return time.thread_time()
        if self.running and hasattr(time, "pthread_getcpuclockid"):
            return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident or 0))

        async def ask() -> float:
            return time.thread_time()

        return self.run(ask())

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `work` on the engine and return at once with its future."""
        if not self.running:
            work.close()
            raise Closed("the rtclab engine has stopped; restart the kernel to start another")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None, what: str = "the call") -> T:
        """Run `work` on the engine and block until it is done.

        Raises
        ------
        rtclab.errors.Timeout
            `timeout` seconds have passed; the work is cancelled.
        """
        if self.on_engine_thread():
            work.close()
            raise RtclabError(f"{what} would block the engine's own thread; await its async twin instead")
        future = self.submit(work)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():  # the work itself raised a TimeoutError
                raise
            future.cancel()
            raise Timeout(f"{what} took longer than {timeout:g} s") from None
        except BaseException:
            future.cancel()  # an interrupted cell leaves no work behind
            raise

    async def wait(
        self, work: Coroutine[Any, Any, T], timeout: float | None = None, what: str = "the call"
    ) -> T:
        """Await `work`, which runs on the engine, from any loop; cancellation passes through."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.submit(work)), timeout)
        except asyncio.TimeoutError as error:
            if isinstance(error, RtclabError):
                raise
            raise Timeout(f"{what} took longer than {timeout} s") from None

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call `function(*args)` on the engine's thread soon; silently nothing once it has stopped."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: the interpreter is on its way out
            return

    def add(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Note what is live and closed by `closer` at exit; the engine looks after the switch interval
        meanwhile."""
        self._closers.append(closer)
        if len(self._closers) == 1:
            self._selector.working = sys.getswitchinterval()

    def remove(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Forget `closer`; with the last one the switch interval goes back to what it was."""
        if closer in self._closers:
            self._closers.remove(closer)
            if not self._closers and self._selector.working is not None:
                sys.setswitchinterval(self._selector.working)
                self._selector.working = None

    def stop(self, timeout: float = 3.0) -> None:
        """Close all that is live, end the loop and join the thread."""
        if not self.running:
            return

        async def close_all() -> None:
            await asyncio.gather(*(closer() for closer in list(self._closers)), return_exceptions=True)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with contextlib.suppress(concurrent.futures.TimeoutError, RtclabError):
            self.submit(close_all()).result(timeout)  # what hangs is left to the daemon thread's end
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self.loop.close()


_engine: Engine | None = None
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_lock = threading.Lock()


def _stop_all() -> None:
    for engine in list(_engines):
        engine.stop()


@functools.cache
def _stop_at_exit() -> None:
    # threading's own exit hook runs before atexit and would wait for non-daemon decoder threads
    getattr(threading, "_register_atexit", atexit.register)(_stop_all)


def get_engine() -> Engine:
    """The process's engine, started when first asked for and stopped at interpreter exit."""
    global _engine
    with _lock:
        if _engine is None or not _engine.running:
            _engine = Engine()
        return _engine
