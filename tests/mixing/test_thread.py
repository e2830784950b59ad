"""The mixer's threads: woken at once, and not ended by what fails."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from rtclab.mixing.thread import MixerThread


def test_it_works_when_woken_long_before_it_is_due() -> None:
    ran: list[float] = []
    again = threading.Event()

    def work(now: float) -> float:
        ran.append(now)
        if len(ran) > 1:
            again.set()
        return now + 3600

    thread = MixerThread("test", work)
    thread.start()
    while not ran:
        time.sleep(0.001)
    thread.wake()
    assert again.wait(20)
    thread.close()
    assert thread.join(20)


def test_what_fails_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    ran = 0
    again = threading.Event()

    def work(now: float) -> float:
        nonlocal ran
        ran += 1
        if ran == 1:
            raise RuntimeError("on purpose")
        again.set()
        return now + 3600

    thread = MixerThread("test", work)
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert again.wait(20)
    thread.close()
    assert thread.join(20)
    assert "on purpose" in caplog.text
