"""What a room's clients are told of STUN and TURN: a fixed list, or what a function gives when one joins.

A function lets credentials be short-lived. It may be a coroutine function, which runs on the room's loop; any
other runs on a thread, as it may wait for an HTTP server. Those who join while it works share what it gives,
so a crowd is one call; and a function that hangs leaves few threads behind.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..errors import IceServerError
from ..transport.servers import POLICIES, Policy, checked

ASK_S = 10.0
MAX_HANGING = 4  # threads in which a function has not returned

Provider: TypeAlias = Callable[[], Any]
IceServers: TypeAlias = Sequence[dict[str, Any] | str] | Provider


class IceConfig:
    """The ICE servers of a room and the candidates its clients may use.

    Parameters
    ----------
    servers : sequence of dict or str, or callable
        W3C ``RTCIceServer`` dictionaries, or a function without arguments that returns such a list.
    policy : {"all", "relay"}
        W3C ``RTCIceTransportPolicy``.
    mode : {"lite", "full"}
        What the room's own end is.

    Attributes
    ----------
    fixed : list of dict or None
        The servers; None when they have to be asked for.
    full : bool
        Whether the room uses full ICE.

    Raises
    ------
    rtclab.errors.IceServerError
        What is given is not usable; what a function gives is checked when it is asked.
    """

    def __init__(self, servers: IceServers = (), policy: str = "all", mode: str = "lite") -> None:
        if mode not in ("lite", "full"):
            raise IceServerError(f'ice must be "lite" or "full", not {mode!r}')
        self.full = mode == "full"
        if policy not in POLICIES:
            raise IceServerError(f'ice_transport_policy must be "all" or "relay", not {policy!r}')
        self.policy: Policy = policy
        self._provider = servers if callable(servers) else None
        self.fixed = None if callable(servers) else checked(servers, self.policy)
        self._call: asyncio.Task[list[dict[str, Any]]] | None = None
        self._asking = 0  # clients that wait for it
        self._hanging = 0

    async def ask(self) -> list[dict[str, Any]]:
        """The servers to use now.

        Raises
        ------
        rtclab.errors.IceServerError
            The function failed, took too long, or gave something unusable.
        """
        if self._provider is None:
            return list(self.fixed or ())
        if self._call is None or self._call.done():
            self._call = asyncio.ensure_future(self._given(self._provider))
        call = self._call
        self._asking += 1
        try:
            return list(await asyncio.shield(call))
        finally:
            self._asking -= 1
            if not self._asking:  # nobody waits for it any more
                call.cancel()
                self._call = None

    async def _given(self, provider: Provider) -> list[dict[str, Any]]:
        try:
            given = await asyncio.wait_for(self._called(provider), ASK_S)
        except IceServerError:
            raise
        except asyncio.TimeoutError:
            raise IceServerError(
                f"the room's ice_servers function gave nothing within {ASK_S:g} s; look at what it waits for"
            ) from None
        except Exception as error:  # it is the user's
            raise IceServerError(
                f"the room's ice_servers function failed: {type(error).__name__}: {error}"
            ) from error
        return checked(given, self.policy)

    async def _called(self, provider: Provider) -> Any:
        if inspect.iscoroutinefunction(provider):
            return await provider()
        if self._hanging >= MAX_HANGING:
            raise IceServerError(
                f"{self._hanging} calls of the room's ice_servers function have not returned; "
                "look at what they wait for"
            )
        given = await self._on_a_thread(provider)
        return await given if inspect.isawaitable(given) else given

    def _on_a_thread(self, function: Provider) -> asyncio.Future[Any]:
        """Run `function` on a daemon thread: one that hangs must not keep the process from ending."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            self._hanging -= 1
            if not result.done():
                result.set_result(value) if error is None else result.set_exception(error)

        def run() -> None:
            value, failure = None, None
            try:
                value = function()
            except Exception as error:
                failure = error
            try:
                loop.call_soon_threadsafe(settle, value, failure)
            except RuntimeError:  # the loop has ended meanwhile
                return

        self._hanging += 1
        threading.Thread(target=run, name="rtclab-ice-servers", daemon=True).start()
        return result
