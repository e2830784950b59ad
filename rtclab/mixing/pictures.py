"""The picture side of a mixer: decodes all inputs, draws them on one canvas, encodes it at a steady rate.

Frames come at the times of the clock, whatever the inputs do: an input that is late shows its last picture.
A tick that was missed is left out. While nobody watches nothing is drawn and nothing encoded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from ..rtp.assembly import Fragment
from .beat import Beat
from .canvas import Canvas, Item
from .encoders import VIDEO_CLOCK, PictureEncoder
from .inputs import PictureInput, mixable
from .layouts import Layout, LayoutError, Rect, Tile, arrange, fit, grid, layout_of
from .limits import check_mix
from .thread import MixerThread

log = logging.getLogger(__name__)

NOBODY = Item("", "Nobody here yet", None, 0, "the picture of whoever publishes appears here")


@dataclass(frozen=True)
class Place:
    """Where a participant's picture is in the mix.

    Attributes
    ----------
    tile : Tile
        Whose it is.
    rect : Rect
        The rectangle that the layout gave it.
    picture : Rect or None
        The part of it that the picture fills without distortion; None while there is no picture.
    note : str
        Why there is no picture, or why it stands still; else empty.
    """

    tile: Tile
    rect: Rect
    picture: Rect | None
    note: str


@dataclass(frozen=True)
class PictureFigures:
    """What the picture side has done so far.

    Attributes
    ----------
    frames, skipped : int
        Frames encoded, and ticks left out because the machine was late.
    decoded, broken : int
        Frames of all inputs decoded, and those that could not be.
    keyframes : int
        Frames of `frames` that can be decoded alone.
    layout_failures : int
        How often the layout failed and the grid was used in its place.
    layout_error : str or None
        What is wrong with it now.
    cpu_s : float
        CPU time of the thread in seconds.
    """

    frames: int
    skipped: int
    decoded: int
    broken: int
    keyframes: int
    layout_failures: int
    layout_error: str | None
    cpu_s: float


class _Slot:
    """A tile and, if it has a picture that can be mixed, its input."""

    def __init__(self, tile: Tile, note: str, source: PictureInput | None) -> None:
        self.tile = tile
        self.note = note
        self.input = source


class PictureMixer:
    """Many pictures become one.

    Parameters
    ----------
    size : tuple of int
        Width and height of the canvas in pixels; even.
    fps : int
        Frames per second.
    bitrate : int
        Of the mix, in bits per second.
    layout : str or callable
        See `rtclab.mixing.layouts`.
    deliver : callable
        Called on the mixer's thread with the payloads of each frame and its 90 kHz time.
    ask_keyframe : callable
        Called on the mixer's thread with (tile id, stream) when that needs a keyframe.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: int,
        bitrate: int,
        layout: str | Layout,
        deliver: Callable[[list[bytes], int], None],
        ask_keyframe: Callable[[str, Hashable], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_mix(size, fps, bitrate)
        width, height = size
        self.size, self.fps = (width, height), fps
        self.watched = False
        self._layout = layout_of(layout)
        self._deliver = deliver
        self._ask_keyframe = ask_keyframe
        self._slots: dict[str, _Slot] = {}
        self._lock = threading.Lock()  # of the slots; held for a copy or a change, never for work
        self._speaking: str | None = None
        self._keyframe = True
        self._canvas = Canvas(width, height)
        self._encoder = PictureEncoder(width, height, fps, bitrate)
        self._clock = clock
        self._beat = Beat(1 / fps, clock())
        self._places: tuple[Place, ...] = ()
        self._rects: list[Rect | None] = []
        self._arranged: tuple[object, ...] = ()
        self._frames = self._keyframes = self._retired_decoded = self._retired_broken = 0
        self._layout_failures = 0
        self._layout_error: str | None = None
        self._thread = MixerThread("rtclab-pictures", self.step)

    def start(self) -> None:
        """Begin to mix; the first frame is due now."""
        self._beat = Beat(1 / self.fps, self._clock())
        self._thread.start()

    def close(self) -> None:
        """End it, without waiting for what is under way."""
        self._thread.close()

    def join(self, timeout: float) -> bool:
        """After `close`, wait at most `timeout` seconds; whether it has ended."""
        return self._thread.join(timeout)

    # -- from any thread --------------------------------------------------------------------------------

    def add(self, id: str, name: str, source: str = "camera", codec: str | None = None) -> None:
        """Make a tile.

        Parameters
        ----------
        id : str
            Its name here: the track's id, or any other for a participant without a picture.
        name, source : str
            As in `Tile`.
        codec : str, optional
            Encoding of its packets; None for a participant without a picture.
        """
        note, input_ = "no picture", None
        if codec is not None and mixable("video", codec):
            note = "waiting for the first picture"
            input_ = PictureInput(codec, source == "screen", lambda stream: self._ask_keyframe(id, stream))
        elif codec is not None:
            note = f"cannot be mixed: {codec}"
        with self._lock:
            self._slots[id] = _Slot(Tile(id, name, source), note, input_)

    def remove(self, id: str) -> None:
        """Take a tile away."""
        with self._lock:
            slot = self._slots.pop(id, None)
        if slot is not None and slot.input is not None:
            self._retired_decoded += slot.input.decoded
            self._retired_broken += slot.input.broken

    def push(self, id: str, stream: Hashable, fragments: Sequence[Fragment]) -> None:
        """Put packets of a tile's stream down."""
        input_ = self._input(id)
        if input_ is not None:
            input_.push(stream, fragments)
            self._thread.wake()

    def want(self, id: str, stream: Hashable) -> None:
        """Show this stream of a tile from its next keyframe on."""
        input_ = self._input(id)
        if input_ is not None:
            input_.want(stream)

    def shown(self, id: str) -> Hashable:
        """The stream that a tile shows; None before its first picture."""
        input_ = self._input(id)
        return input_.shown if input_ is not None else None

    def mute(self, id: str, muted: bool) -> None:
        """Show a card instead of the picture of a tile, or the picture again."""
        input_ = self._input(id)
        if input_ is not None:
            input_.muted = muted

    def speak(self, name: str | None) -> None:
        """The participant of this name has spoken last."""
        self._speaking = name

    def time(self, now: float) -> int:
        """The 90 kHz time of a moment, as in the packets."""
        return round((now - self._beat.start) * VIDEO_CLOCK)

    def want_keyframe(self) -> None:
        """Let the next frame be decodable alone."""
        self._keyframe = True

    @property
    def layout(self) -> Layout:
        """The layout; set it, by name or as a function, at any time."""
        return self._layout

    @layout.setter
    def layout(self, layout: str | Layout) -> None:
        self._layout = layout_of(layout)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where everybody is in the newest frame, in the order of their coming."""
        return self._places

    def figures(self) -> PictureFigures:
        """What was done so far."""
        with self._lock:
            inputs = [slot.input for slot in self._slots.values() if slot.input is not None]
        return PictureFigures(
            self._frames,
            self._beat.skipped,
            self._retired_decoded + sum(one.decoded for one in inputs),
            self._retired_broken + sum(one.broken for one in inputs),
            self._keyframes,
            self._layout_failures,
            self._layout_error,
            self._thread.cpu_s(),
        )

    def _input(self, id: str) -> PictureInput | None:
        with self._lock:
            slot = self._slots.get(id)
        return slot.input if slot is not None else None

    # -- on the mixer's thread --------------------------------------------------------------------------

    def step(self, now: float) -> float:
        """Decode what has come, and make a frame if one is due; returns when to come again at the latest.

        `start` has a thread call it.
        """
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            if slot.input is not None:
                slot.input.decode(now)
        number = self._beat.take(now)
        if number is not None and self.watched:
            self._frame(slots, number, now)
        return self._beat.due

    def _frame(self, slots: list[_Slot], number: int, now: float) -> None:
        items = [_item(slot, now) for slot in slots]
        self._arrange(slots, items)
        if slots:
            self._canvas.draw(items, self._rects)
        else:
            self._canvas.draw([NOBODY], [Rect(0, 0, *self.size)])
        keyframe, self._keyframe = self._keyframe, False
        payloads = self._encoder.encode(self._canvas.frame, number, keyframe)
        self._frames += 1
        self._keyframes += keyframe
        self._deliver(payloads, number * VIDEO_CLOCK // self.fps)

    def _arrange(self, slots: list[_Slot], items: list[Item]) -> None:
        """Ask the layout anew if anything has changed that it knows of."""
        layout, speaking = self._layout, self._speaking
        tiles = [
            replace(slot.tile, size=_size(item), speaking=slot.tile.name == speaking)
            for slot, item in zip(slots, items, strict=True)
        ]
        if (layout, tiles) != self._arranged:
            self._arranged = layout, tiles
            try:
                self._rects = arrange(layout, tiles, self.size)
                self._layout_error = None
            except LayoutError as error:
                self._layout_failures += 1
                if self._layout_error is None:
                    log.warning("%s; the grid is used instead", error)
                self._layout_error = str(error)
                self._rects = grid(tiles, self.size)
        self._places = tuple(
            Place(tile, rect, None if tile.size is None else fit(tile.size, rect), item.note)
            for tile, rect, item in zip(tiles, self._rects, items, strict=True)
            if rect is not None
        )


def _item(slot: _Slot, now: float) -> Item:
    tile, source = slot.tile, slot.input
    if source is None or source.picture is None:
        return Item(tile.id, tile.name, None, 0, slot.note)
    if source.muted:
        return Item(tile.id, tile.name, None, 0, "camera is off" if tile.source == "camera" else "paused")
    frozen = source.frozen(now)
    note = "no new picture" if frozen else ""
    return Item(tile.id, tile.name, source.picture, source.version, note, frozen)


def _size(item: Item) -> tuple[int, int] | None:
    return None if item.picture is None else (item.picture.width, item.picture.height)
