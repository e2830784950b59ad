"""ICE on paper and as it happened: candidates, priorities, and the life of each check (RFC 8445).

A candidate's priority ranks it among those of its side; a pair's ranks it in the check list, alike on both
sides:

    priority      = 2^24 type preference + 2^8 local preference + 256 - component     (section 5.1.2.1)
    pair priority = 2^32 min(G, D) + 2 max(G, D) + (1 if G > D else 0)                (section 6.1.2.3)

G is the candidate's of the controlling side, D the other's. A headless peer shows every check (`CheckLog`), a
browser what its getStats says of each pair (`browser_pairs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from aioice import Connection
from aioice.candidate import Candidate

from ..signaling.trace import TraceEntry

TYPE_PREFERENCES = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}

CANDIDATE_COLUMNS = (
    "type",
    "transport",
    "address",
    "port",
    "priority",
    "type_preference",
    "local_preference",
    "component",
    "foundation",
    "related",
)
CHECK_COLUMNS = ("time_s", "connection", "role", "local", "remote", "before", "after")
NOMINATION_COLUMNS = ("time_s", "connection", "role", "local", "remote")
PAIR_COLUMNS = (
    "time_s",
    "participant",
    "connection",
    "id",
    "selected",
    "state",
    "nominated",
    "local_type",
    "local",
    "local_protocol",
    "relay_protocol",
    "remote_type",
    "remote",
    "local_priority",
    "remote_priority",
    "requests_sent",
    "responses_received",
    "requests_received",
    "responses_sent",
    "bytes_sent",
    "bytes_received",
    "rtt_s",
    "role",
    "ufrag",
)


def candidate_priority(type_preference: int, local_preference: int = 65535, component: int = 1) -> int:
    """Priority of a candidate; preferences are 0..126 and 0..65535, the component is 1..256."""
    return (type_preference << 24) + (local_preference << 8) + 256 - component


def pair_priority(controlling: int, controlled: int) -> int:
    """Priority of a pair, from the priorities of its candidates."""
    low, high = sorted((controlling, controlled))
    return (low << 32) + 2 * high + (controlling > controlled)


def candidates(sdp: str) -> pd.DataFrame:
    """The candidates in a session description, best first, each once.

    Parameters
    ----------
    sdp : str
        An offer or an answer.

    Returns
    -------
    pandas.DataFrame
        ``type``, ``transport``, ``address``, ``port``, ``priority`` and the three numbers it is made of
        (``type_preference``, ``local_preference``, ``component``), ``foundation`` (its first 8 characters;
        equal for candidates that are alike), ``related`` (what a mapped or relayed address belongs to).
    """
    lines = dict.fromkeys(line[12:] for line in sdp.splitlines() if line.startswith("a=candidate:"))
    rows = []
    for line in lines:
        one = Candidate.from_sdp(line)
        related = f"{one.related_address}:{one.related_port}" if one.related_address else ""
        rows.append(
            {
                "type": one.type,
                "transport": one.transport.lower(),
                "address": one.host,
                "port": one.port,
                "priority": one.priority,
                "type_preference": one.priority >> 24,
                "local_preference": one.priority >> 8 & 0xFFFF,
                "component": 256 - (one.priority & 0xFF),
                "foundation": one.foundation[:8],
                "related": related,
            }
        )
    frame = pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))
    return frame.sort_values("priority", ascending=False, ignore_index=True)


class CheckLog:
    """What becomes of each pair of each aioice connection in this process, noted while the log is open.

    Headless peers use aioice, and so does a room with full ICE; a lite room checks nothing.

    Parameters
    ----------
    clock : callable, optional
        Time in seconds.

    Examples
    --------
    >>> with CheckLog() as log:
    ...     peer.publish(pattern)     # doctest: +SKIP
    >>> log.to_frame()                # doctest: +SKIP
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows: list[tuple[float, str, str, str, str, str, str]] = []
        self._clock = clock
        self._nominations: dict[Any, tuple[float, str, str, str, str]] = {}
        self._restore: Callable[[], None] = lambda: None

    def __enter__(self) -> CheckLog:
        began, rows, clock, nominations = self._clock(), self._rows, self._clock, self._nominations
        change, complete = Connection.check_state, Connection.check_complete

        def seen(connection: Any, pair: Any) -> tuple[float, str, str, str, str]:
            role = "controlling" if connection.ice_controlling else "controlled"
            names = _name(pair.local_candidate), _name(pair.remote_candidate)
            return clock() - began, str(connection), role, *names

        def check_state(connection: Any, pair: Any, state: Any) -> None:
            rows.append((*seen(connection, pair), pair.state.name, state.name))
            change(connection, pair, state)

        def check_complete(connection: Any, pair: Any) -> None:
            if pair.nominated and pair not in nominations:
                nominations[pair] = seen(connection, pair)
            complete(connection, pair)

        def restore() -> None:
            Connection.check_state, Connection.check_complete = change, complete  # type: ignore[method-assign]

        Connection.check_state = check_state  # type: ignore[assignment, method-assign]
        Connection.check_complete = check_complete  # type: ignore[assignment, method-assign]
        self._restore = restore
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def to_frame(self) -> pd.DataFrame:
        """A row for each change of a state: when, whose (a connection and its role), from and to what."""
        return pd.DataFrame(self._rows, columns=list(CHECK_COLUMNS))

    def nominations(self) -> pd.DataFrame:
        """A row for each pair when it is nominated, at either end: the last of a connection carries media."""
        return pd.DataFrame(list(self._nominations.values()), columns=list(NOMINATION_COLUMNS))


def _name(candidate: Any) -> str:
    return f"{candidate.type} {candidate.host}:{candidate.port}"


def browser_pairs(entries: Iterable[TraceEntry]) -> pd.DataFrame:
    """The candidate pairs of browsers, as getStats has counted them.

    A page that shows a widget tells of them when one changes, and every five seconds.

    Parameters
    ----------
    entries : iterable of TraceEntry
        What was said: ``room.signaling``.

    Returns
    -------
    pandas.DataFrame
        A row for each pair each time it was told, oldest first; empty if no browser has said anything.
        ``time_s`` is the room's clock, ``connection`` is ``"room"`` or the name of another client in a mesh,
        ``selected`` says which pair carries media, ``local`` and ``remote`` are addresses (a browser may hide
        its own), ``requests_sent`` and the like count checks, those for consent too, ``ufrag`` is the
        browser's own. None where a browser does not say.
    """
    told = (entry for entry in entries if entry.type == "stats" and entry.direction == "in")
    rows = [
        {**pair, "time_s": entry.time_s, "participant": entry.participant}
        for entry in told
        if isinstance(pairs := entry.message.get("pairs"), list)
        for pair in pairs
        if isinstance(pair, dict)
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
