"""An MCU with real participants: one picture of everyone, and the voices of all others."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import rtclab
from mixing_rig import strength
from rtclab.errors import Timeout
from rtclab.forwarding.mcu import Mcu
from rtclab.measure import FrameCode, read_frame_code
from rtclab.mixing.layouts import Rect
from rtclab.mixing.pictures import Place
from waiting import until

SIZE = (640, 360)
Picture = NDArray[np.uint8]


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room(
        architecture="mcu", size=SIZE, fps=15, bitrate=800_000, host_candidates=["127.0.0.1"]
    ) as room:
        yield room


def mcu(room: rtclab.Room) -> Mcu:
    architecture = room._router.architecture
    assert isinstance(architecture, Mcu)
    return architecture


def places(room: rtclab.Room) -> dict[str, Place]:
    return {place.tile.name: place for place in mcu(room).pictures.places}


def cut(picture: Picture, rect: Rect) -> Picture:
    return np.ascontiguousarray(picture[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width])


def code_of(room: rtclab.Room, picture: Picture, name: str) -> FrameCode | None:
    """The number in somebody's part of the picture."""
    place = places(room).get(name)
    return None if place is None or place.picture is None else read_frame_code(cut(picture, place.picture))


def pattern(stream: int, **more: object) -> rtclab.TestPattern:
    return rtclab.TestPattern(320, 180, fps=10, stream=stream, **more)  # type: ignore[arg-type]


def picture_in_which(
    video: rtclab.RemoteTrack, condition: Callable[[Picture], object], timeout: float = 30
) -> Picture:
    """The first picture of which something is so."""
    deadline = time.monotonic() + timeout
    while True:
        picture: Picture = video.next_frame(10)
        if condition(picture):
            return picture
        assert time.monotonic() < deadline


def test_everyone_is_in_the_picture_with_a_name(room: rtclab.Room) -> None:
    names = ["ann", "ben", "cat", "dan"]
    for stream, name in enumerate(names):
        room.join(name).publish(pattern(stream, sound=False))
    video = room.join("viewer").watch("ann")
    seen: dict[str, list[int]] = {name: [] for name in names}

    def all_moving(picture: Picture) -> bool:
        for stream, name in enumerate(names):
            code = code_of(room, picture, name)
            if code is not None:
                assert code.stream == stream
                seen[name].append(code.frame)
        return all(len(set(numbers)) > 5 for numbers in seen.values())

    picture = picture_in_which(video, all_moving)
    assert picture.shape == (360, 640, 3)
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert [place.rect for place in places(room).values()] == [
        Rect(x, y, 320, 180) for y in (0, 180) for x in (0, 320)
    ]
    for place in places(room).values():
        label = cut(picture, Rect(place.rect.x + 4, place.rect.y + 2, 40, 14))
        assert label.max() > 150  # the letters
        assert label.min() < 60  # what is behind them
    sent = [track for track in room.tracks if track.kind == "video"]
    assert len(sent) == 4
    assert room.join("late").watch("dan").next_frame(20).shape == picture.shape  # one picture for everyone


@pytest.mark.timeout(300)
def test_each_hears_all_others_and_never_themselves(room: rtclab.Room) -> None:
    tones = {"ann": 400.0, "ben": 1700.0, "cat": 3100.0}
    peers = {name: room.join(name) for name in tones}
    for stream, (name, hertz) in enumerate(tones.items()):
        peers[name].publish(rtclab.TestPattern(160, 90, fps=5, stream=stream, tone=hertz))
    peers["guest"] = room.join("guest")
    sounds = {
        name: peer.watch("ben" if name == "ann" else "ann", kind="audio", queue=500)
        for name, peer in peers.items()
    }

    def heard(name: str) -> dict[str, float]:
        samples = np.concatenate([sounds[name].next_frame(10) for _ in range(25)])
        return {of: strength(samples, hertz) for of, hertz in tones.items()}

    for name in sounds:
        others = [of for of in tones if of != name]
        whole: list[tuple[float, float]] = []  # how loud the weakest of the others is, and one's own voice
        for _ in range(120):  # a starved machine breaks the tones up for a while
            levels = heard(name)
            weakest = min(levels[of] for of in others)
            if weakest > -37:
                whole.append((weakest, levels.get(name, -100.0)))
            if len(whole) == 3:
                break
        assert whole, (name, levels)
        assert statistics.median(own for _, own in whole) < -60, (name, whole)


def test_a_frozen_picture_is_dimmed_and_the_others_move_on(room: rtclab.Room) -> None:
    hold = threading.Event()

    def white() -> Iterator[Picture]:
        for _ in range(20):
            yield np.full((180, 320, 3), 230, np.uint8)
        hold.wait(60)

    room.publish(white(), name="ann")
    room.join("ben").publish(pattern(7, sound=False))
    video = room.join("viewer").watch("ben")

    def brightness(picture: Picture) -> float:
        place = places(room).get("ann")
        if place is None or place.picture is None:
            return 0.0
        return float(cut(picture, place.picture)[90:].mean())

    picture_in_which(video, lambda picture: brightness(picture) > 200)
    picture_in_which(video, lambda picture: 40 < brightness(picture) < 140)
    assert places(room)["ann"].note == "no new picture"
    before = code_of(room, picture_in_which(video, lambda p: code_of(room, p, "ben")), "ben")
    after = code_of(
        room, picture_in_which(video, lambda p: code_of(room, p, "ben") not in (None, before)), "ben"
    )
    assert after is not None
    hold.set()


def test_who_leaves_makes_room_and_a_newcomer_takes_it(room: rtclab.Room) -> None:
    ann, ben = room.join("ann"), room.join("ben")
    ann.publish(pattern(1, sound=False))
    ben.publish(pattern(2, sound=False))
    video = room.join("viewer").watch("ben")
    picture_in_which(video, lambda picture: code_of(room, picture, "ann") and code_of(room, picture, "ben"))
    ann.leave()
    picture_in_which(video, lambda picture: list(places(room)) == ["ben"] and code_of(room, picture, "ben"))
    assert places(room)["ben"].rect == Rect(0, 0, *SIZE)
    room.join("cat").publish(pattern(3, sound=False))
    picture_in_which(video, lambda picture: code_of(room, picture, "cat"))


def test_layouts_switch_while_everybody_watches(room: rtclab.Room) -> None:
    for stream, name in enumerate(("ann", "ben")):
        room.join(name).publish(pattern(stream, sound=False))
    video = room.join("viewer").watch("ann")

    def both(picture: Picture) -> bool:
        return all(code_of(room, picture, name) is not None for name in ("ann", "ben"))

    picture_in_which(video, both)
    room.layout = lambda tiles, size: [(0, 0, 200, 120), (240, 100, 400, 240)][: len(tiles)]
    picture_in_which(
        video, lambda picture: places(room)["ben"].rect == Rect(240, 100, 400, 240) and both(picture)
    )
    room.layout = "speaker"
    picture_in_which(
        video, lambda picture: places(room)["ann"].rect == Rect(0, 0, 480, 360) and both(picture)
    )
    with pytest.raises(ValueError, match="layout must be one of"):
        room.layout = "gird"
    assert room.layout == "speaker"


def test_a_picture_is_sent_to_the_room_only_while_the_mix_is_watched(room: rtclab.Room) -> None:
    room.join("ann").publish(pattern(1, sound=False))

    def told() -> str | None:
        (track,) = room.tracks
        return track.reason

    def wait_for(reason: str | None) -> None:
        until(lambda: told() == reason, told)

    wait_for("not_watched")
    viewer = room.join("viewer")
    video = viewer.watch("ann")
    picture_in_which(video, lambda picture: code_of(room, picture, "ann"))
    assert told() is None
    viewer.leave()
    wait_for("not_watched")


def test_h264_is_mixed_too() -> None:
    with rtclab.Room(
        architecture="mcu", size=SIZE, fps=15, video_codecs=("H264",), host_candidates=["127.0.0.1"]
    ) as room:
        room.join("ann").publish(pattern(1, sound=False))
        video = room.join("viewer").watch("ann")
        picture_in_which(video, lambda picture: code_of(room, picture, "ann"))
        assert [track.codec for track in room.tracks] == ["H264"]


def test_a_room_becomes_a_mixer_and_an_sfu_again(room: rtclab.Room) -> None:
    for stream, name in enumerate(("ann", "ben")):
        room.join(name).publish(pattern(stream))
    viewer = room.join("viewer")
    video = viewer.watch("ann")
    for _ in range(3):
        room.architecture = "sfu"
        picture_in_which(video, lambda picture: picture.shape == (180, 320, 3) and read_frame_code(picture))
        assert video.via == "room"
        room.architecture = "mcu"
        picture_in_which(
            video, lambda picture: picture.shape == (360, 640, 3) and code_of(room, picture, "ann")
        )
        assert video.via == "mix"
    mixers = [one for one in threading.enumerate() if one.name in ("rtclab-pictures", "rtclab-sound")]
    assert len(mixers) <= 4  # those of the last one may be about to end
    room.close()
    until(lambda: not any(one.is_alive() for one in mixers), "a mixer goes on")


def test_who_is_not_in_the_mix_cannot_be_watched_there(room: rtclab.Room) -> None:
    ann, ben = room.join("ann"), room.join("ben")
    ann.publish(pattern(1))
    ben.watch("ann", timeout=30)
    with pytest.raises(Timeout, match=r"'nobody' has published no video .* publishing now: ann"):
        ben.watch("nobody", timeout=0.2)
