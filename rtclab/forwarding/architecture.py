"""What an architecture decides: who gets which packet, and what has to be sent for it.

Four come with rtclab, a file each: `mesh`, `relay`, `sfu`, `mcu` (RFC 7667 names the last three selective
forwarding middlebox and mixer). Publishing and watching always go by the client's offer to the room, so a
switch renegotiates nothing that is published. It changes the answers to three questions:

* `Architecture.choose`: which stream of a track does this viewer get now?
* `Architecture.upstream`: which streams shall the publisher of a track send for that?
* `Architecture.lists`: which tracks are there for this client?

A class of your own becomes a fifth one by ``@rtclab.architecture("mine")``; what it does not define, it
does as the base class does: everyone gets everything as asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..errors import RtclabError
from ..mixing.limits import check_mix
from .consumer import Consumer
from .layers import Choice, Layer, Reason
from .producer import Producer, Upstream

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger(__name__)


@dataclass
class Options:
    """What a room can be told about its architectures.

    Attributes
    ----------
    last_n : int or None
        SFU: a viewer gets the pictures of the N participants who spoke last; None for all.
    size : tuple of int
        MCU: width and height of the composite in pixels.
    fps : int
        MCU: pictures a second of the composite.
    bitrate : int
        MCU: bits a second of the composite.
    layout : str or callable
        MCU: ``"grid"``, ``"speaker"``, ``"pip"``, or a function from participants to rectangles.

    Raises
    ------
    ValueError
        A number is none, or out of its range.
    """

    last_n: int | None = None
    size: tuple[int, int] = (1280, 720)
    fps: int = 30
    bitrate: int = 1_500_000
    layout: str | Callable[..., Any] = "grid"

    def __post_init__(self) -> None:
        checked_last_n(self.last_n)
        check_mix(self.size, self.fps, self.bitrate)


def checked_last_n(value: int | None) -> int | None:
    """`Options.last_n`, if it can be one."""
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ValueError(f"last_n must be a whole number from 0 on, or None for all, not {value!r}")
    return value


@dataclass(frozen=True)
class Output:
    """A track that the room itself makes.

    Attributes
    ----------
    id : str
        The track's id, unique in the room.
    producer : Producer
        Its packets.
    listener : str or None
        Id of the only client it is for; None for everyone.
    of : frozenset of str or None
        Ids of the clients whose tracks are in it; None where that cannot be said.
    """

    id: str
    producer: Producer
    listener: str | None = None
    of: frozenset[str] | None = None


@dataclass
class Stage:
    """What an architecture may use.

    Attributes
    ----------
    router : Router
        Producers, consumers and clients.
    loop : asyncio.AbstractEventLoop
        The engine's loop, on whose thread everything but `loop.call_soon_threadsafe` happens.
    options : Options
        What the room was told.
    name_of : callable
        A participant's name by client id.
    changed : callable
        Tell the clients that `Architecture.lists` or `Architecture.direct` have other answers now.
    """

    router: Router
    loop: asyncio.AbstractEventLoop
    options: Options
    name_of: Callable[[str], str]
    changed: Callable[[], None]


class Architecture:
    """Who gets which packet; the base forwards everything as asked.

    One object for each time a room takes an architecture up. All methods run on the engine's thread and
    must be quick.

    Attributes
    ----------
    name : str
        How it is chosen, set by `architecture`.
    direct : bool
        Whether clients connect to each other.
    mixed : bool
        Whether clients get tracks that the room makes, in place of each other's.
    prefers : tuple of str
        Video codecs that publishers shall use if they can.
    version : int
        Raised whenever choices have to be made anew.
    """

    name: ClassVar[str] = ""
    direct: ClassVar[bool] = False
    mixed: ClassVar[bool] = False
    prefers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.version = 0

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        """Choose what a viewer gets of a track; `layers` are given from the smallest to the largest."""
        return consumer.selector.choose(layers)

    def upstream(self, producer: Producer) -> Upstream:
        """Choose what the publisher of a track shall send: by default everything."""
        return producer.everything

    def needed(self, producer: Producer) -> frozenset[int]:
        """The streams that some viewer is to get if they are sent; what `upstream` may go by."""
        consumers = self.stage.router.consumers.get(producer.id, ())
        return frozenset(consumer.wanted for consumer in consumers if consumer.wanted is not None)

    def bound(self, producer: Producer) -> int | None:
        """How many bit/s of a track with a single layer the best of its viewers can take; None for any.

        Known of media without UDP alone: there it is measured by acknowledgements, and a viewer's estimate
        is no guess.
        """
        consumers = self.stage.router.consumers.get(producer.id, ())
        bounds = [consumer.selector.bitrate for consumer in consumers if consumer.wanted is not None]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if known and len(known) == len(bounds) and len(producer.streams) == 1 else None

    def lists(self, client_id: str) -> Sequence[Output] | None:
        """The tracks that a client may receive; None for those that the others publish."""
        return None

    def joined(self, client_id: str, now: float) -> None:
        """A client's media transport is there, connected or not yet; also called for those that are there at
        the beginning."""

    def left(self, client_id: str, now: float) -> None:
        """It is gone."""

    def published(self, producer: Producer, client_id: str, now: float) -> None:
        """A client has published a track; also called for those that are there at the beginning."""

    def unpublished(self, producer: Producer, now: float) -> None:
        """A track has ended."""

    def keyframe_wanted(self, producer: Producer, now: float) -> None:
        """A viewer of a track that the room makes needs a keyframe."""
        if producer.on_keyframe_wanted is not None and producer.streams[0].keyframes.request("viewer", now):
            producer.on_keyframe_wanted(now)

    def tick(self, now: float) -> None:
        """Called about ten times a second."""

    def close(self) -> None:
        """Give up everything; the next architecture has begun or the room ends."""


def _is_choice(choice: object, consumer: Consumer, layers: list[Layer]) -> bool:
    """Whether a consumer can be given what `Architecture.choose` said."""
    return (
        isinstance(choice, Choice)
        and (choice.index is None or _is_index(choice.index, consumer.producer))
        and isinstance(choice.reason, Reason | None)
        and isinstance(choice.temporal, int | None)
    )


def _is_upstream(upstream: object, producer: Producer) -> bool:
    """Whether a publisher can be told what `Architecture.upstream` said."""
    return (
        isinstance(upstream, Upstream)
        and isinstance(upstream.streams, set | frozenset)
        and all(_is_index(index, producer) for index in upstream.streams)
        and isinstance(upstream.reason, Reason | None)
        and isinstance(upstream.bitrate, int | None)
    )


def _is_listing(listing: object, client_id: str) -> bool:
    """Whether a client can be told what `Architecture.lists` said."""
    return listing is None or (
        isinstance(listing, Sequence) and all(isinstance(output, Output) for output in listing)
    )


def _is_index(index: object, producer: Producer | None) -> bool:
    return producer is not None and isinstance(index, int) and 0 <= index < len(producer.streams)


_CHECKS: dict[str, Callable[..., bool]] = {
    "choose": _is_choice,
    "upstream": _is_upstream,
    "lists": _is_listing,
}


def fenced(architecture: Architecture) -> Architecture:
    """Keep the errors of somebody's class from the room: what fails, or returns what cannot be followed, is
    logged once and done as the base class does it.

    Raises
    ------
    rtclab.errors.RtclabError
        The class has an ``__init__`` that does not call the base class's.
    """
    if not (hasattr(architecture, "stage") and hasattr(architecture, "version")):
        raise RtclabError(f"{type(architecture).__name__}.__init__ must call super().__init__(stage)")
    logged: set[str] = set()

    def fence(name: str) -> Callable[..., Any]:
        method, base = getattr(architecture, name), getattr(Architecture, name)
        check = _CHECKS.get(name, lambda *answer: True)

        def call(*arguments: Any) -> Any:
            try:
                answer = method(*arguments)
                if check(answer, *arguments):
                    return answer
                raise RtclabError(f"{name} must not return {answer!r}")
            except Exception:
                if name not in logged:
                    logged.add(name)
                    logger.exception(
                        "architecture %r: %s failed; the default is used", architecture.name, name
                    )
                return base(architecture, *arguments)

        return call

    for name, member in vars(Architecture).items():
        if callable(member) and not name.startswith("_"):
            setattr(architecture, name, fence(name))
    return architecture


architectures: dict[str, type[Architecture]] = {}
_Class = TypeVar("_Class", bound=type[Architecture])


def architecture(name: str) -> Callable[[_Class], _Class]:
    """Make a class an architecture that rooms know by `name`: a decorator.

    Registering a name again replaces it, so that a notebook's cell can be run twice; a room that runs the
    old one keeps it until it is told anew.

    Raises
    ------
    TypeError
        The class is no `Architecture`.
    ValueError
        The name is empty or has no printable characters.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"an architecture's name must be a short printable text, not {name!r}")

    def register(kind: _Class) -> _Class:
        if not (isinstance(kind, type) and issubclass(kind, Architecture)):
            raise TypeError(f"{kind!r} must be a class derived from rtclab.Architecture")
        kind.name = name
        architectures[name] = kind
        return kind

    return register


def named(name: str) -> type[Architecture]:
    """The architecture of a name.

    Raises
    ------
    rtclab.errors.RtclabError
        There is none.
    """
    try:
        return architectures[name]
    except (KeyError, TypeError):
        known = ", ".join(map(repr, architectures))
        raise RtclabError(
            f"there is no architecture {name!r}; known are {known}; "
            'a class of yours becomes one by @rtclab.architecture("name")'
        ) from None
