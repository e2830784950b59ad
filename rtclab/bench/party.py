"""A room and the people in it, each in a process on a core of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .processes import Worker, cores
from .progress import Progress

ANSWER_S = 150.0


@contextlib.contextmanager
def party(count: int, size: tuple[int, int], fps: int, progress: Progress) -> Iterator[tuple[Worker, Worker]]:
    """Let so many people publish pictures of this size, and one more watch them; gives room and people."""
    server_core, load_core = cores()
    with Worker("room_server", server_core) as server, Worker("people", load_core) as people:
        progress.say(f"{count} people join")
        port = server.ask("open")["port"]
        people.ask("open", ANSWER_S, port=port, people=count, size=size, fps=fps)
        yield server, people
