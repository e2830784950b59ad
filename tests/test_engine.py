"""The engine: one thread for all, calls from anywhere, and a clean end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rtclab.engine import BATCH_SWITCH_INTERVAL, LIVE_SWITCH_INTERVAL, NICE, Engine, get_engine
from rtclab.errors import Closed, RtclabError, Timeout


async def _thread() -> threading.Thread:
    return threading.current_thread()


def test_there_is_one_engine_on_a_daemon_thread() -> None:
    engine = get_engine()
    assert get_engine() is engine
    thread = engine.run(_thread())
    assert thread.daemon
    assert thread is not threading.current_thread()


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def _in_a_thread(work: Callable[[], int]) -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _may_be_preferred() -> bool:
    def ask() -> int:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            return False
        return True

    return bool(_in_a_thread(ask))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_its_thread_goes_first_where_it_may_and_those_it_starts_do_not() -> None:
    async def look() -> tuple[int, int]:
        return _niceness(), _in_a_thread(_niceness)

    usual = _niceness()
    assert get_engine().run(look()) == (NICE if _may_be_preferred() else usual, usual)


def test_a_coroutine_of_another_loop_can_wait() -> None:
    async def main() -> threading.Thread:
        return await get_engine().wait(_thread())

    assert asyncio.run(main()) is get_engine().run(_thread())


def test_a_wait_that_takes_too_long_ends_the_work() -> None:
    cancelled = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(Timeout, match=r"the test took longer than 0\.05 s"):
        get_engine().run(forever(), 0.05, "the test")
    assert cancelled.wait(5)


def test_cancelling_the_awaitable_twin_cancels_the_work() -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(get_engine().wait(forever()))
        await asyncio.get_running_loop().run_in_executor(None, started.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert cancelled.wait(5)


def test_errors_of_the_work_reach_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        get_engine().run(fail(), 5)


def test_blocking_on_the_engines_own_thread_is_refused() -> None:
    async def nested() -> None:
        get_engine().run(_thread())

    with pytest.raises(RtclabError, match="await its async twin"):
        get_engine().run(nested(), 5)


def test_an_engine_stops_for_good() -> None:
    engine = Engine()
    closed = []

    async def closer() -> None:
        closed.append(True)

    engine.add(closer)
    engine.stop()
    engine.stop()
    assert closed == [True]
    assert not engine.running
    with pytest.raises(Closed):
        engine.submit(_thread())


def test_an_engine_knows_what_its_own_thread_costs() -> None:
    busy, idle = Engine(), Engine()

    async def work() -> float:
        begin = time.thread_time()
        while time.thread_time() < begin + 0.05:
            pass
        return busy.cpu_s()

    before, other = busy.cpu_s(), idle.cpu_s()
    inside = busy.run(work())
    assert inside - before >= 0.05
    assert busy.cpu_s() >= inside
    assert idle.cpu_s() - other < 0.05
    for engine in (busy, idle):
        engine.stop()
    with pytest.raises(Closed):
        busy.cpu_s()


def test_the_switch_interval_is_short_while_something_is_live_and_long_in_a_batch() -> None:
    engine = Engine()
    before = sys.getswitchinterval()
    seen: list[float] = []
    media, other = socket.socketpair(), socket.socketpair()
    for sock in (*media, *other):
        sock.setblocking(False)

    async def closer() -> None:
        engine.remove(closer)

    async def begin() -> None:
        engine.add(closer, [media[0].fileno()])
        for ours, _ in (media, other):
            engine.loop.add_reader(ours, received, ours)

    def received(ours: socket.socket) -> None:
        ours.recv(1)
        seen.append(sys.getswitchinterval())
        engine.end_batch()
        seen.append(sys.getswitchinterval())
        event.set()

    async def at_work() -> float:
        return sys.getswitchinterval()

    async def end() -> None:
        for ours, _ in (media, other):
            engine.loop.remove_reader(ours)

    engine.run(begin())
    short = engine.run(at_work())
    assert short <= LIVE_SWITCH_INTERVAL
    for pair, expected in ((media, BATCH_SWITCH_INTERVAL), (other, short), (media, BATCH_SWITCH_INTERVAL)):
        event = threading.Event()
        pair[1].send(b"x")
        assert event.wait(5)
        assert seen == [expected, short]
        seen.clear()
    engine.run(end())
    engine.run(closer())
    assert engine.run(at_work()) == sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    engine.stop()
    for sock in (*media, *other):
        sock.close()


def test_the_switch_interval_is_low_until_nothing_is_live_in_any_engine() -> None:
    engines = [Engine(), Engine()]
    before = sys.getswitchinterval()

    async def closer() -> None: ...

    async def live(engine: Engine) -> None:
        engine.add(closer)

    async def over(engine: Engine) -> None:
        engine.remove(closer)

    for engine in engines:
        engine.run(live(engine))
    engines[0].run(over(engines[0]))
    assert sys.getswitchinterval() <= LIVE_SWITCH_INTERVAL
    engines[1].run(over(engines[1]))
    assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    for engine in engines:
        engine.stop()


def test_a_process_ends_with_a_room_open_and_media_flowing() -> None:
    program = """
import rtclab
from rtclab.engine import Engine
room = rtclab.Room()
room.join("a").publish(rtclab.TestPattern(160, 90, fps=10))
room.join("b").watch("a").next_frame(10)
room.join("c", Engine()).watch("a").next_frame(10)
print("frame", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "frame"
    assert done.returncode == 0
    assert done.stderr == ""
