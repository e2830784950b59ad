"""Who comes by links cannot take all places of a Jupyter server: some are for those who have a login."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rtclab.jupyter import registry as module
from rtclab.jupyter.registry import Refused, Registry


class End:
    """The kernel's end of a stream."""

    guest: bool


class Kernel:
    """A kernel that is asked to take people in, and takes its time."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.asked: list[str] = []
        registry.rooms["room"] = self  # type: ignore[assignment]

    @property
    def waiting(self) -> int:
        return self.registry.waiting(self)  # type: ignore[arg-type]

    def tell(self, message: dict[str, Any]) -> None:
        self.asked.append(message["stream"])

    def take_in(self) -> None:
        """Take in everybody who was asked for."""
        for stream in self.asked:
            socket = End()
            assert self.registry.dialed(stream, socket) is self  # type: ignore
            self.registry.streams.add(socket)  # type: ignore[arg-type]
        self.asked.clear()


async def come(registry: Registry, kind: str) -> asyncio.Future[Any]:
    """Somebody comes, and is refused now or waits for the kernel."""
    visit = asyncio.ensure_future(registry.open("room", kind, "a token", "192.0.2.7"))
    await asyncio.sleep(0)
    return visit


async def refused(registry: Registry, kind: str) -> Refused:
    with pytest.raises(Refused) as error:
        await (await come(registry, kind))
    return error.value


def test_guests_leave_places_to_those_with_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GUESTS", 3)
    monkeypatch.setattr(module, "MAX_STREAMS", 5)

    async def scene() -> None:
        registry = Registry("")
        kernel = Kernel(registry)
        visits = [await come(registry, "share") for _ in range(2)]
        kernel.take_in()
        await asyncio.gather(*visits)
        waits = await come(registry, "share")
        full = await refused(registry, "share")
        assert (full.status_code, full.code, full.retry_s) == (429, "share_full", 10)
        assert "try again in 10 s" in full.detail
        owners = [await come(registry, "signaling") for _ in range(2)]
        assert (await refused(registry, "signaling")).status_code == 503
        kernel.take_in()
        await asyncio.gather(waits, *owners)
        assert [(await refused(registry, kind)).status_code for kind in ("signaling", "share")] == [503] * 2
        registry.streams.remove(next(stream for stream in registry.streams if stream.guest))
        registry.streams.remove(next(stream for stream in registry.streams if not stream.guest))
        (await come(registry, "share")).cancel()

    asyncio.run(scene())


def test_a_kernel_that_is_held_up_by_guests_still_hears_of_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GUESTS_WAITING", 2)
    monkeypatch.setattr(module, "MAX_WAITING", 3)

    async def scene() -> None:
        registry = Registry("")
        kernel = Kernel(registry)
        visits = [await come(registry, "share") for _ in range(2)]
        assert (await refused(registry, "share")).code == "share_full"
        visits.append(await come(registry, "signaling"))
        kernel.take_in()
        await asyncio.gather(*visits)

    asyncio.run(scene())
