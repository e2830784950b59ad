"""Waiting for an event from the test's own thread."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], what: str | Callable[[], object], timeout: float = 30) -> None:
    """Wait at most `timeout` seconds; then fail with `what` is wrong, or with what it returns."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)
