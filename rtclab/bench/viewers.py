"""The process of the viewers: it joins them, empties their sockets, and says what they got.

Asked over standard input: ``open``, ``join``, ``wait``, ``figures``.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import RtclabError
from .audience import Audience
from .doors import Door, RoomDoor
from .drain import CHUNK
from .janus import JanusDoor
from .link import Link
from .processes import answer_requests

SWEEP_S = 0.01


class Viewers:
    """All viewers of this process, and the door they came by."""

    def __init__(self) -> None:
        self.audience = Audience()
        self._door: Door | None = None
        self._kinds: list[str] = ["video"]
        self._sweeping: asyncio.Task[None] | None = None
        self._before: dict[str, npt.NDArray[np.int64]] = {}

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the benchmark."""
        if request["do"] == "open":
            return await self._open(request)
        if request["do"] == "join":
            return await self._join(request["count"], request["at_once"])
        if request["do"] == "wait":
            await self._wait(request["packets"], request["silence"])
            return {}
        if request["do"] == "figures":
            return self._figures()
        raise RtclabError(f"unknown request {request['do']!r}")

    async def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        self._kinds = request["kinds"]
        if request["server"] == "janus":
            self._door = await JanusDoor.open(request["port"], request["feed"])
        else:
            self._door = await RoomDoor.open(request["port"])
        self._sweeping = asyncio.create_task(self._sweep())
        return {}

    async def _join(self, count: int, at_once: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        waiting = asyncio.Semaphore(at_once)
        seconds: list[float] = []
        failures: list[str] = []

        async def join_one() -> None:
            assert self._door is not None
            async with waiting:
                begin = loop.time()
                link = Link()
                try:
                    remote = await self._door.watch(link.local, self._kinds)
                    await link.connect(remote)
                except RtclabError as error:
                    failures.append(str(error))
                    link.close()
                    return
                seconds.append(loop.time() - begin)
                self.audience.add(link, remote.payload_types, loop.time())

        begin = loop.time()
        await asyncio.gather(*(join_one() for _ in range(count)))
        return {
            "joined": len(seconds),
            "failures": failures[:3],
            "median_s": statistics.median(seconds) if seconds else None,
            "longest_s": max(seconds, default=None),
            "total_s": loop.time() - begin,
            "profile": self.audience.links[-1].profile if self.audience.links else None,
        }

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begin = loop.time()
            self.audience.turn()
            for start in range(0, len(self.audience), CHUNK):
                self.audience.step(start, loop.time())
                await asyncio.sleep(0)  # handshakes go on
            busy = loop.time() - begin
            await asyncio.sleep(max(SWEEP_S - busy, busy))

    async def _wait(self, packets: int | None, silence: float) -> None:
        """Wait until so many video packets came since the last figures, or none for `silence` seconds."""
        loop = asyncio.get_running_loop()
        before = self._before.get("received", self.audience.received[:0]).sum()
        total, since = -1, loop.time()
        while loop.time() - since < silence:
            received = int(self.audience.received.sum() - before)
            if packets is not None and received >= packets:
                break
            if received != total:
                total, since = received, loop.time()
            await asyncio.sleep(SWEEP_S)

    def _figures(self) -> dict[str, Any]:
        """What has come since the last question."""
        assert self._sweeping is not None
        if self._sweeping.done():
            self._sweeping.result()
        audience = self.audience
        totals = {
            name: getattr(audience, name).copy() for name in ("received", "repeated", "audio", "octets")
        }
        news = {}
        for name, total in totals.items():
            news[name] = total.copy()
            before = self._before.get(name, total[:0])
            news[name][: len(before)] -= before
        latencies = np.array(audience.latencies_ns) / 1e6
        figures: dict[str, Any] = {name: int(column.sum()) for name, column in news.items()}
        figures |= {
            "fewest": int(news["received"].min(initial=0)),
            "decrypted": audience.decrypted,
            "undecryptable": audience.undecryptable,
            "reports": audience.reports,
            "samples": len(latencies),
        }
        for name, percentile in (("p50_ms", 50), ("p99_ms", 99), ("max_ms", 100)):
            figures[name] = float(np.percentile(latencies, percentile)) if len(latencies) else None
        self._before = totals
        audience.forget_samples()
        return figures

    async def close(self) -> None:
        """Leave."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._door is not None:
            await self._door.close()


async def _main() -> None:
    viewers = Viewers()
    await answer_requests(viewers.handle)
    await viewers.close()


if __name__ == "__main__":
    asyncio.run(_main())
