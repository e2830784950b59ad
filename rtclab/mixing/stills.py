"""Tracks as single pictures: each is decoded once and becomes JPEG, for pages that can decode nothing else.

The engine's thread puts packets down and takes pictures out; decoding and encoding happen on a thread of
their own, and only while somebody can take a picture.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Hashable, Sequence

import av

from ..rtp.assembly import Fragment
from .inputs import PictureInput
from .thread import MixerThread

PICTURE_S = 1 / 12  # at the least from one picture of a track to its next
IDLE_S = 0.5
MAX_WIDTH = 960  # pixels; what is larger is made smaller
QUALITY = 70  # of JPEG


class _Slot:
    def __init__(self, input_: PictureInput, ready: Callable[[], bool]) -> None:
        self.input = input_
        self.ready = ready
        self.version = 0
        self.due = 0.0


class StillMaker:
    """Decodes tracks and encodes their pictures.

    Parameters
    ----------
    deliver : callable
        Called on its thread with (id, JPEG, width, height).
    ask_keyframe : callable
        Called on its thread with the id of a track that needs a keyframe.
    """

    def __init__(
        self,
        deliver: Callable[[str, bytes, int, int], None],
        ask_keyframe: Callable[[str], None],
    ) -> None:
        self._deliver = deliver
        self._ask_keyframe = ask_keyframe
        self._slots: dict[str, _Slot] = {}
        self._lock = threading.Lock()
        self._thread = MixerThread("rtclab-stills", self.step)
        self._started = False

    def close(self) -> None:
        """End its thread."""
        self._thread.close()

    # -- from the engine's thread -----------------------------------------------------------------------

    def add(self, id: str, codec: str, ready: Callable[[], bool]) -> None:
        """Take a track in; `ready` says, on any thread, whether somebody can take a picture of it."""
        input_ = PictureInput(codec, True, lambda stream: self._ask_keyframe(id))
        with self._lock:
            self._slots[id] = _Slot(input_, ready)
        if not self._started:
            self._started = True
            self._thread.start()

    def remove(self, id: str) -> None:
        """Nobody watches it any more."""
        with self._lock:
            self._slots.pop(id, None)

    def push(self, id: str, stream: Hashable, fragments: Sequence[Fragment]) -> None:
        """Put packets of a track down."""
        slot = self._slots.get(id)
        if slot is not None:
            slot.input.push(stream, fragments)
            self._thread.wake()

    def want(self, id: str, stream: Hashable) -> None:
        """Show this stream of a track from its next keyframe on."""
        slot = self._slots.get(id)
        if slot is not None:
            slot.input.want(stream)

    # -- on its thread ----------------------------------------------------------------------------------

    def step(self, now: float) -> float:
        """Decode what has come and encode what is due; returns when to come again at the latest."""
        with self._lock:
            slots = list(self._slots.items())
        for id, slot in slots:
            slot.input.decode(now)
            picture = slot.input.picture
            if picture is None or slot.version == slot.input.version or now < slot.due or not slot.ready():
                continue
            slot.version, slot.due = slot.input.version, now + PICTURE_S
            self._deliver(id, *jpeg(picture))
        return now + IDLE_S


def jpeg(picture: av.VideoFrame) -> tuple[bytes, int, int]:
    """A picture as JPEG, its width and its height, at most `MAX_WIDTH` pixels wide."""
    width, height = picture.width, picture.height
    if width > MAX_WIDTH:
        width, height = MAX_WIDTH, max(MAX_WIDTH * height // width, 1)
    data = io.BytesIO()
    picture.to_image(width=width, height=height).save(data, "JPEG", quality=QUALITY)
    return data.getvalue(), width, height
