"""The sound side as a whole, in virtual time: everybody hears the others and never themselves."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict

import numpy as np

from mixing_rig import Microphone, decode_opus, strength
from rtclab.mixing.sound import CATCH_UP, SoundMixer
from rtclab.rtp.assembly import Fragment

TONES = {"ann": 400.0, "ben": 700.0, "cat": 1100.0}


class Studio:
    """A mixer whose clock is turned by hand, and what its listeners get."""

    def __init__(self, listeners: list[str]) -> None:
        self.got: dict[str, list[bytes]] = defaultdict(list)
        self.times: list[int] = []
        self.calls: list[int] = []
        self.mixer = SoundMixer(self.deliver, lambda: 0.0)
        self.mixer.listen(listeners)

    def deliver(self, packets: list[tuple[tuple[str, ...], bytes]], timestamp: int) -> None:
        self.times.append(timestamp)
        self.calls.append(len(packets))
        for listeners, payload in packets:
            for listener in listeners:
                self.got[listener].append(payload)

    def talk(self, blocks: int, level: float = 6000.0, start: int = 0) -> None:
        microphones = {name: Microphone(hertz, level) for name, hertz in TONES.items()}
        for name in TONES:
            self.mixer.add(name, name)
        for tick in range(start, start + blocks):
            for name, microphone in microphones.items():
                self.mixer.push(name, [microphone.speak()])
            self.mixer.step(tick * 0.02)

    def heard(self, listener: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        return decode_opus(self.got[listener])[-48_000:]


def test_each_hears_the_others_and_never_themselves() -> None:
    studio = Studio([*TONES, "guest"])
    studio.talk(100)
    for listener in [*TONES, "guest"]:
        samples = studio.heard(listener)
        for name, hertz in TONES.items():
            level = strength(samples, hertz)
            if name == listener:
                assert level < -65  # what Opus adds
            else:
                assert -20 < level < -12


def test_who_only_listens_costs_nothing_more() -> None:
    studio = Studio(["ann", *(f"guest-{n}" for n in range(30))])
    studio.talk(10)
    assert set(studio.calls) == {2}
    assert studio.mixer.figures().encoded == 20
    assert studio.got["guest-0"] == studio.got["guest-29"]
    assert studio.got["guest-0"] != studio.got["ann"]


def test_several_tracks_of_one_person_are_all_left_out() -> None:
    studio = Studio(["ann", "ben"])
    for name, owner in (("ann", "ann"), ("screen of ann", "ann")):
        studio.mixer.add(name, owner)
    microphones = {"ann": Microphone(400), "screen of ann": Microphone(900)}
    for tick in range(100):
        for name, microphone in microphones.items():
            studio.mixer.push(name, [microphone.speak()])
        studio.mixer.step(tick * 0.02)
    assert np.abs(studio.heard("ann")).max() <= 2
    assert strength(studio.heard("ben"), 400) > -20
    assert strength(studio.heard("ben"), 900) > -20


def test_loud_people_together_do_not_clip() -> None:
    studio = Studio(["guest"])
    studio.talk(100, level=30_000)
    samples = studio.heard("guest")
    for hertz in TONES.values():
        assert strength(samples, hertz) > -20
    assert np.abs(samples.astype(int)).max() < 32_767  # Opus overshoots a little, yet not to the rail


def test_time_goes_on_and_what_was_missed_is_left_out() -> None:
    studio = Studio(["guest"])
    studio.talk(5)
    studio.mixer.step(0.08 + 0.02 * 3)
    assert studio.times == [n * 960 for n in range(8)]
    studio.mixer.step(0.14 + 0.02 * 20)
    assert len(studio.times) == 8 + CATCH_UP + 1
    assert studio.times[8:] == [n * 960 for n in range(27 - CATCH_UP, 28)]
    assert studio.mixer.figures().skipped == 20 - CATCH_UP - 1
    assert studio.mixer.time(1.0) == 48_000


def test_nobody_is_given_silence_of_nobody() -> None:
    studio = Studio(["guest"])
    for tick in range(5):
        studio.mixer.step(tick * 0.02)
    assert studio.times == []
    studio.mixer.add("ann", "ann")
    studio.mixer.step(0.1)
    assert len(studio.times) == 1
    studio.mixer.remove("ann")
    studio.mixer.remove("ann")
    studio.mixer.push("ann", [Fragment(1, 0, False, True, b"x")])
    studio.mixer.step(0.12)
    assert len(studio.times) == 1
    assert studio.mixer.figures().blocks == 7


def test_nobody_is_mixed_for_who_does_not_listen() -> None:
    studio = Studio([])
    studio.talk(5)
    assert studio.mixer.figures().encoded == 0
    assert studio.mixer.figures().blocks == 5
    studio.mixer.listen(["late"])
    studio.talk(60, start=5)
    assert strength(studio.heard("late"), 400) > -20


def test_broken_packets_are_counted_and_the_others_heard() -> None:
    studio = Studio(["guest"])
    studio.mixer.add("bad", "bad")
    studio.mixer.push("bad", [Fragment(1, 0, False, True, b"\xff" * 30)])
    studio.talk(60)
    assert studio.mixer.figures().broken == 1
    assert strength(studio.heard("guest"), 400) > -20


def test_its_thread_mixes_until_it_is_closed() -> None:
    enough = threading.Event()
    times: list[int] = []

    def deliver(packets: list[tuple[tuple[str, ...], bytes]], timestamp: int) -> None:
        times.append(timestamp)
        if len(times) == 5:
            enough.set()

    mixer = SoundMixer(deliver)
    mixer.add("ann", "ann")
    mixer.listen(["ben"])
    mixer.start()
    assert enough.wait(20)
    mixer.close()
    assert mixer.join(20)
    assert all((later - earlier) % 960 == 0 for earlier, later in itertools.pairwise(times))
