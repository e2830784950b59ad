"""Every signaling message of a room, in a ring of bounded length and size: `room.signaling`.

Messages are kept as they were on the wire, except for the tokens with which sessions are resumed, since a
saved notebook may show the trace to anybody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import SignalingError
from .messages import measure

if TYPE_CHECKING:
    import pandas as pd

MAX_CHARACTERS: Final = 32 * 1024 * 1024
HIDDEN: Final = "(hidden)"
SHOWN: Final = 10  # messages in the repr
WIDTH: Final = 60  # characters of a message in the repr


class TraceEntry(NamedTuple):
    """One message.

    Attributes
    ----------
    time_s : float
        The room's clock, in seconds.
    direction : str
        ``"in"``, from a client, or ``"out"``, to a client.
    session, participant : str or None
        Id and name of the participant; ``None`` before it has joined.
    carrier : str
        What carried the message: ``"comm"``, ``"in-process"``, ...
    message : object
        The message; from a client it may be anything that fits into JSON.
    """

    time_s: float
    direction: str
    session: str | None
    participant: str | None
    carrier: str
    message: Any

    @property
    def type(self) -> str | None:
        """The type of the message, ``None`` if it has none."""
        kind = self.message.get("type") if isinstance(self.message, dict) else None
        return kind if isinstance(kind, str) else None


class SignalingTrace:
    """The newest signaling messages of a room, oldest first; may be read on any thread.

    Parameters
    ----------
    length : int
        How many messages are kept; fewer when they are large (32 million characters in all).
    """

    def __init__(self, length: int = 10_000) -> None:
        self.length = length
        self.forgotten = 0
        self._entries: deque[tuple[int, TraceEntry]] = deque()
        self._size = 0
        self._start: float | None = None
        self._lock = threading.Lock()

    def record(
        self,
        time_s: float,
        direction: str,
        session: str | None,
        participant: str | None,
        carrier: str,
        message: object,
    ) -> None:
        """Keep a message; see `TraceEntry`. One that is no JSON or too large is kept as a note about it."""
        try:
            size = measure(message)
        except SignalingError as error:
            size, message = 100, {"type": None, "not_kept": str(error)}
        if isinstance(message, dict) and message.get("session") is not None:
            message = {**message, "session": HIDDEN}
        entry = TraceEntry(time_s, direction, session, participant, carrier, message)
        with self._lock:
            if self._start is None:
                self._start = time_s
            self._entries.append((size, entry))
            self._size += size
            while len(self._entries) > self.length or self._size > MAX_CHARACTERS:
                self._size -= self._entries.popleft()[0]
                self.forgotten += 1

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[TraceEntry]:
        with self._lock:
            entries = list(self._entries)
        return iter([entry for _, entry in entries])

    def to_frame(self) -> pd.DataFrame:
        """A row for each message: the fields of `TraceEntry`, and the message's type."""
        import pandas as pd  # takes a while to import, and a room needs it only here

        rows = [(*entry[:5], entry.type, entry.message) for entry in self]
        return pd.DataFrame(rows, columns=[*TraceEntry._fields[:5], "type", "message"])

    def __repr__(self) -> str:
        entries = list(self)
        start = self._start or 0.0
        lines = [f"<SignalingTrace: {len(entries)} message{'s' * (len(entries) != 1)}>"]
        if len(entries) > SHOWN:
            lines.append(f"  ... {len(entries) - SHOWN} before")
        for entry in entries[-SHOWN:]:
            who = entry.participant or "?"
            arrow = "->" if entry.direction == "in" else "<-"
            lines.append(f"  {entry.time_s - start:9.3f} s  {who:>12} {arrow} {_summary(entry)}")
        return "\n".join(lines)


def _summary(entry: TraceEntry) -> str:
    if entry.type is None:
        text = repr(entry.message)
    else:
        fields = {key: value for key, value in entry.message.items() if key != "type"}
        if isinstance(fields.get("sdp"), str):
            fields["sdp"] = f"({fields['sdp'].count('m=')} m-lines)"
        text = " ".join([f"{entry.type:9}", *(f"{key}={_brief(value)}" for key, value in fields.items())])
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _brief(value: object) -> str:
    if isinstance(value, (list, dict)):
        return f"{type(value).__name__}({len(value)})"
    return str(value)
