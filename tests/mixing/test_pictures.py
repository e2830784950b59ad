"""The picture side as a whole, in virtual time: who is where, how often, and why somebody is not there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest

import rtclab
from mixing_rig import Camera, decode_vp8, luma
from rtclab.mixing.layouts import LayoutError, Rect, Tile, grid
from rtclab.mixing.pictures import PictureMixer, Place
from rtclab.rtp.payload import describer

SIZE = (320, 180)
HALVES = [Rect(0, 0, 160, 180), Rect(160, 0, 160, 180)]


class Studio:
    """A mixer whose clock is turned by hand."""

    def __init__(self, fps: int = 10, layout: Any = "grid") -> None:
        self.frames: list[tuple[list[bytes], int]] = []
        self.asked: list[tuple[str, Hashable]] = []
        self.mixer = PictureMixer(
            SIZE, fps, 400_000, layout, self.deliver, lambda *asked: self.asked.append(asked), lambda: 0.0
        )
        self.mixer.watched = True
        self.cameras: dict[str, Camera] = {}

    def deliver(self, payloads: list[bytes], timestamp: int) -> None:
        self.frames.append((payloads, timestamp))

    def enter(self, name: str, width: int = 160, height: int = 90, **more: Any) -> None:
        self.cameras[name] = Camera(width, height)
        self.mixer.add(name, name, codec="VP8", **more)
        self.mixer.want(name, "s")

    def shoot(self, name: str, level: int) -> None:
        self.mixer.push(name, "s", self.cameras[name].shoot(level))

    def run(self, now: float) -> None:
        self.mixer.step(now + 0.001)  # a little late, as threads are

    def seen(self) -> np.ndarray[Any, Any]:
        """The luma of the newest frame, as a viewer decodes it."""
        return luma(decode_vp8(payloads for payloads, _ in self.frames)[-1])

    def level(self, place: Place) -> float:
        """How bright the lower half of a picture is (its label is in the upper half)."""
        rect = place.picture or place.rect
        return float(
            self.seen()[rect.y + rect.height // 2 : rect.y + rect.height, rect.x :][:, : rect.width].mean()
        )

    def places(self) -> dict[str, Place]:
        return {place.tile.name: place for place in self.mixer.places}


def test_everybody_is_in_the_picture() -> None:
    studio = Studio()
    levels = {"ann": 60, "ben": 110, "cat": 160, "dan": 210}
    for name, level in levels.items():
        studio.enter(name)
        studio.shoot(name, level)
    studio.run(0.0)
    places = studio.places()
    assert [place.rect for place in places.values()] == grid([Tile("", "")] * 4, SIZE)
    for name, level in levels.items():
        assert abs(studio.level(places[name]) - level) < 8
        assert places[name].note == ""


def test_frames_come_at_the_times_of_the_clock() -> None:
    studio = Studio(fps=10)
    studio.enter("ann")
    for now in (0.0, 0.05, 0.1, 0.199, 0.2, 0.65, 0.7):
        studio.run(now)
    assert [timestamp for _, timestamp in studio.frames] == [n * 9000 for n in (0, 1, 2, 6, 7)]
    assert studio.mixer.figures().skipped == 3
    assert studio.mixer.time(0.7) == 63_000


def test_nothing_is_encoded_while_nobody_watches() -> None:
    studio = Studio()
    studio.enter("ann")
    studio.mixer.watched = False
    for step in range(10):
        studio.shoot("ann", 100)
        studio.run(step / 10)
    assert studio.frames == []
    assert studio.mixer.figures().decoded == 10
    studio.mixer.watched = True
    studio.mixer.want_keyframe()
    studio.run(1.0)
    assert abs(studio.level(studio.places()["ann"]) - 100) < 8


def test_keyframes_come_at_the_beginning_and_when_wanted() -> None:
    studio = Studio()
    for step in range(6):
        if step == 4:
            studio.mixer.want_keyframe()
        studio.run(step / 10)
    keyframes = [describer("VP8")(payloads[0]).keyframe for payloads, _ in studio.frames]
    assert keyframes == [True, False, False, False, True, False]
    assert studio.mixer.figures().keyframes == 2


def test_a_frozen_picture_is_dimmed_and_says_so() -> None:
    studio = Studio()
    for name in ("ann", "ben"):
        studio.enter(name)
        studio.shoot(name, 200)
    studio.run(0.0)
    studio.shoot("ben", 200)
    studio.run(0.9)
    assert studio.places()["ann"].note == ""
    studio.shoot("ben", 200)
    studio.run(1.2)
    places = studio.places()
    assert (places["ann"].note, places["ben"].note) == ("no new picture", "")
    assert studio.level(places["ann"]) < 120
    assert studio.level(places["ben"]) > 190
    studio.shoot("ann", 200)
    studio.run(1.5)
    assert studio.level(studio.places()["ann"]) > 190


def test_who_has_no_picture_has_a_card_that_says_why() -> None:
    studio = Studio()
    studio.mixer.add("v", "vic", codec="VP9")
    studio.mixer.add("s", "sue")
    studio.enter("wil")
    studio.enter("mia")
    studio.mixer.mute("mia", True)
    studio.shoot("mia", 100)
    studio.run(0.0)
    notes = {name: (place.note, place.picture) for name, place in studio.places().items()}
    assert notes == {
        "vic": ("cannot be mixed: VP9", None),
        "sue": ("no picture", None),
        "wil": ("waiting for the first picture", None),
        "mia": ("camera is off", None),
    }
    studio.mixer.push("v", "s", Camera().shoot(1))
    studio.mixer.mute("mia", False)
    studio.run(0.1)
    assert studio.places()["mia"].picture is not None
    assert studio.seen().max() > 200  # letters


def test_who_leaves_makes_room() -> None:
    studio = Studio()
    for name in ("ann", "ben"):
        studio.enter(name)
        studio.shoot(name, 100)
    studio.run(0.0)
    assert [place.rect for place in studio.mixer.places] == HALVES
    studio.mixer.remove("ann")
    studio.shoot("ann", 100)
    studio.shoot("ben", 150)
    studio.run(0.1)
    assert [place.rect for place in studio.mixer.places] == [Rect(0, 0, *SIZE)]
    assert abs(studio.level(studio.places()["ben"]) - 150) < 8
    assert studio.mixer.figures().decoded == 3
    studio.mixer.remove("ben")
    studio.mixer.remove("ben")
    studio.run(0.2)
    assert studio.mixer.places == ()
    assert studio.seen().max() > 200  # says that nobody is here


def test_pictures_keep_their_shape() -> None:
    studio = Studio()
    studio.enter("tall", 90, 160)
    studio.shoot("tall", 200)
    studio.run(0.0)
    assert studio.places()["tall"].picture == Rect(108, 0, 102, 180)
    seen = studio.seen()
    assert seen[90, 60] < 60
    assert seen[90, 160] > 180


def test_layouts_change_while_it_runs() -> None:
    studio = Studio()
    for name in ("ann", "ben"):
        studio.enter(name)
        studio.shoot(name, 100)
    seen: list[list[Tile]] = []

    def mine(tiles: Sequence[Tile], size: tuple[int, int]) -> list[Rect | None]:
        seen.append(list(tiles))
        return [None, Rect(20, 20, 160, 90)]

    studio.mixer.layout = mine
    studio.run(0.0)
    studio.run(0.1)
    assert len(seen) == 1  # nothing that a layout knows of has changed
    assert [tile.size for tile in seen[0]] == [(160, 90), (160, 90)]
    assert list(studio.places()) == ["ben"]
    studio.mixer.speak("ben")
    studio.run(0.2)
    assert [tile.speaking for tile in seen[-1]] == [False, True]
    studio.mixer.layout = "pip"
    studio.run(0.3)
    assert studio.places()["ben"].rect == Rect(0, 0, *SIZE)
    with pytest.raises(ValueError, match="layout must be"):
        studio.mixer.layout = "gird"
    studio.run(0.4)
    assert studio.places()["ben"].rect == Rect(0, 0, *SIZE)


def test_a_layout_that_fails_is_replaced_by_the_grid_and_named(caplog: pytest.LogCaptureFixture) -> None:
    studio = Studio(layout=lambda tiles, size: [Rect(0, 0, 9999, 9999)] * len(tiles))
    for name in ("ann", "ben"):
        studio.enter(name)
        studio.shoot(name, 100)
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            studio.run(step / 10)
    assert [place.rect for place in studio.mixer.places] == HALVES
    figures = studio.mixer.figures()
    assert figures.layout_failures >= 1
    assert "not inside the canvas" in str(figures.layout_error)
    assert len([record for record in caplog.records if "the grid is used" in record.message]) == 1
    studio.mixer.layout = "grid"
    studio.run(1.0)
    assert studio.mixer.figures().layout_error is None
    assert issubclass(LayoutError, ValueError)


def test_a_new_stream_is_asked_for_its_keyframe() -> None:
    studio = Studio()
    studio.enter("ann")
    studio.cameras["ann"].shoot(1)
    studio.shoot("ann", 100)
    studio.run(0.0)
    assert studio.asked == [("ann", "s")]
    assert studio.mixer.shown("ann") is None
    studio.mixer.push("ann", "s", studio.cameras["ann"].shoot(120, keyframe=True))
    studio.run(0.1)
    assert studio.mixer.shown("ann") == "s"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (321, 180)}, "size must be .* of 64 to 4096 pixels"),
        ({"size": (32, 32)}, "size"),
        ({"size": (4098, 720)}, "size"),
        ({"size": (320,)}, "size"),
        ({"fps": 0}, "fps must be .* from 1 to 60"),
        ({"fps": 61}, "fps"),
        ({"fps": 29.97}, "fps"),
        ({"bitrate": 49_999}, "bitrate must be .* from 50000"),
        ({"bitrate": 2**31}, "bitrate"),
    ],
)
def test_what_cannot_be_mixed_is_refused_whatever_the_architecture(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rtclab.Room(**wrong)
    right: dict[str, Any] = {"size": (320, 180), "fps": 30, "bitrate": 10**6}
    with pytest.raises(ValueError, match=message):
        PictureMixer(
            **{**right, **wrong}, layout="grid", deliver=lambda *_: None, ask_keyframe=lambda *_: None
        )


@pytest.mark.parametrize(("size", "fps", "bitrate"), [((64, 64), 1, 50_000), ((64, 4096), 60, 100_000_000)])
def test_what_is_not_refused_can_be_mixed(size: tuple[int, int], fps: int, bitrate: int) -> None:
    sent: list[list[bytes]] = []
    mixer = PictureMixer(
        size, fps, bitrate, "grid", lambda payloads, _: sent.append(payloads), lambda *_: None
    )
    mixer.watched = True
    mixer.step(time.monotonic())
    assert sent


def test_its_thread_mixes_until_it_is_closed() -> None:
    enough = threading.Event()
    times: list[int] = []

    def deliver(payloads: list[bytes], timestamp: int) -> None:
        times.append(timestamp)
        if len(times) == 5:
            enough.set()

    mixer = PictureMixer(SIZE, 60, 400_000, "grid", deliver, lambda *_: None)
    mixer.watched = True
    mixer.add("ann", "ann", codec="VP8")
    mixer.start()
    assert enough.wait(20)
    mixer.close()
    assert mixer.join(20)
    assert times == sorted(set(times))
    assert mixer.figures().cpu_s > 0
    mixer.close()
