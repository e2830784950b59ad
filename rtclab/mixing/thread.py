"""One of the mixer's threads: it works when something has come and when a tick is due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

PAUSE_S = 0.1

log = logging.getLogger(__name__)


class MixerThread:
    """Calls `work` again and again until `close`.

    Parameters
    ----------
    name : str
        The thread's name.
    work : callable
        Called with the time (monotonic seconds); returns when it must be called next at the latest.
    """

    def __init__(self, name: str, work: Callable[[float], float]) -> None:
        self._work = work
        self._wake = threading.Event()
        self._stopping = False
        self._cpu_s = 0.0
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something has come: call `work` soon. Callable from any thread."""
        self._wake.set()

    def close(self) -> None:
        """End the thread after what it is doing, without waiting for it. Closing twice does nothing."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, at most `timeout` seconds; whether it has ended, or never begun."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def cpu_s(self) -> float:
        """CPU time the thread has used so far, in seconds."""
        return self._cpu_s

    def _main(self) -> None:
        while not self._stopping:
            try:
                until = self._work(time.monotonic())
            except Exception:
                # a mix that ends for everybody would be worse than one that misses a few ticks
                log.exception("%s: a tick failed", self._thread.name)
                until = time.monotonic() + PAUSE_S
            self._cpu_s = time.thread_time()
            self._wake.wait(max(until - time.monotonic(), 0))
            self._wake.clear()
