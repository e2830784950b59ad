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
import os
import selectors
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from .errors import Closed, RtclabError, Timeout

T = TypeVar("T")

# Whoever wants the GIL waits one switch interval, as long as it is when the wait begins, before the thread
# that has it must hand it over; 5 ms by default. Beside a busy cell the engine shall have it soon, and not
# lose it in the middle of a batch of media.
LIVE_SWITCH_INTERVAL = 0.0002
BATCH_SWITCH_INTERVAL = 0.02
# Of the engine's thread, where the process may: a batch of media then takes about as long beside a busy cell
# as alone, and the room uses no more of the processor.
NICE = -15


class _Interval:
    """The process's switch interval: low while something is live in any engine, then as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines = 0
        self._before = 0.0

    def lower(self) -> float:
        with self._lock:
            if not self._engines:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, LIVE_SWITCH_INTERVAL))
            self._engines += 1
            return min(self._before, LIVE_SWITCH_INTERVAL)

    def restore(self) -> None:
        with self._lock:
            self._engines -= 1
            if not self._engines:
                sys.setswitchinterval(self._before)


_interval = _Interval()


class _Selector(selectors.DefaultSelector):
    """Waits for events; when media has come the switch interval is long until `end_batch`.

    Attributes
    ----------
    media : set of int
        File descriptors of sockets whose events begin a batch.
    usual : float
        The interval in seconds after a batch; not read back, as each time would round it down.
    """

    def __init__(self) -> None:
        super().__init__()
        self.media: set[int] = set()
        self.usual = sys.getswitchinterval()
        self._in_batch = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events for at most `timeout` seconds."""
        self.end_batch()
        events = super().select(timeout)
        for key, _ in events:
            if key.fd in self.media:
                self._in_batch = True
                sys.setswitchinterval(BATCH_SWITCH_INTERVAL)
                break
        return events

    def end_batch(self) -> None:
        """Let other threads have the GIL as soon as usual."""
        if self._in_batch:
            self._in_batch = False
            sys.setswitchinterval(self.usual)


def _prefer_this_thread() -> None:
    """Let others wait for this thread, but not for those it starts: they encode and decode."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # only a privileged process may
            os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


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
        self._closers: dict[Callable[[], Coroutine[Any, Any, None]], frozenset[int]] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name="rtclab-engine", daemon=True)
        self._thread.start()
        self._started.wait()
        _stop_at_exit()
        _engines.add(self)

    def _main(self) -> None:
        _prefer_this_thread()
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

    def add(self, closer: Callable[[], Coroutine[Any, Any, None]], media: Iterable[int] = ()) -> None:
        """Note what is live and closed by `closer` at exit; the switch interval is lowered meanwhile.

        What comes at the file descriptors `media` begins a batch, in which the engine is not interrupted
        before `end_batch` or before it waits again.
        """
        if not self._closers:
            self._selector.usual = _interval.lower()
        self._closers[closer] = frozenset(media)
        self._selector.media.update(media)

    def end_batch(self) -> None:
        """What came has been forwarded: other threads may interrupt again; for the engine's thread only."""
        self._selector.end_batch()

    def remove(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Forget `closer`; with the last one the switch interval goes back to what it was."""
        media = self._closers.pop(closer, None)
        if media is None:
            return
        self._selector.media -= media
        if not self._closers:
            self._selector.end_batch()
            _interval.restore()

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
