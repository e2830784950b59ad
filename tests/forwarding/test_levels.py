"""Audio levels and the active speaker."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.forwarding.levels import AudioLevels

PACKET_S = 0.02


def speak(levels: AudioLevels, start: float, seconds: float, **dbov: float) -> float:
    """Send a packet of each participant every 20 ms and look for the active speaker; give the end time."""
    now = start
    for _ in range(round(seconds / PACKET_S)):
        now += PACKET_S
        for key, level in dbov.items():
            levels.receive(key, level, level > -60, now)
        levels.loudest(now)
    return now


def test_unknown_and_silent_participants_have_no_level() -> None:
    levels = AudioLevels()
    assert levels.level("alice", 0.0) is None
    levels.receive("alice", -30, True, 1.0)
    assert levels.level("alice", 1.0) == -30
    assert levels.level("alice", 2.4) == -30
    assert levels.level("alice", 3.0) is None


def test_the_level_rises_fast_and_falls_slowly() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 1.0, alice=-90)
    now = speak(levels, now, 0.15, alice=-20)
    assert levels.level("alice", now) == pytest.approx(-20, abs=5)
    now = speak(levels, now, 0.15, alice=-90)
    assert levels.level("alice", now) == pytest.approx(-52, abs=6)


def test_nobody_speaks_in_noise() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 2.0, alice=-60, bob=-70)
    assert levels.loudest(now) is None


def test_the_loudest_becomes_the_active_speaker() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 1.0, alice=-50, bob=-25, carol=-127)
    assert levels.loudest(now) == "bob"


def test_a_cough_does_not_take_over_but_speech_does() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 2.0, alice=-30, bob=-80)
    now = speak(levels, now, 0.2, alice=-30, bob=-10)
    assert levels.loudest(now) == "alice"
    now = speak(levels, now, 1.0, alice=-80, bob=-30)
    assert levels.loudest(now) == "bob"


def test_a_little_louder_is_not_enough() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 2.0, alice=-30, bob=-80)
    now = speak(levels, now, 5.0, alice=-30, bob=-26)
    assert levels.loudest(now) == "alice"


def test_after_a_silence_nobody_is_active() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 1.0, alice=-25)
    now = speak(levels, now, 1.0, alice=-127)
    assert levels.loudest(now) == "alice"
    now = speak(levels, now, 2.0, alice=-127)
    assert levels.loudest(now) is None


def test_a_speaker_whose_packets_stop_is_replaced() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 1.0, alice=-20, bob=-30)
    assert levels.loudest(now) == "alice"
    now = speak(levels, now, 4.0, bob=-30)
    assert levels.loudest(now) == "bob"


def test_who_leaves_is_forgotten() -> None:
    levels = AudioLevels()
    now = speak(levels, 0.0, 1.0, alice=-20)
    levels.forget("alice")
    levels.forget("nobody")
    assert levels.loudest(now) is None
    assert levels.level("alice", now) is None


def test_loud_noise_of_one_who_tells_voice_from_noise_is_not_speech() -> None:
    levels = AudioLevels()
    now = 0.0
    levels.receive("alice", -30, True, now)
    for _ in range(100):
        now += PACKET_S
        levels.receive("alice", -20, False, now)
        levels.receive("bob", -20, False, now)
    assert levels.loudest(now) == "bob"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(-127, 0), st.booleans(), st.floats(-1, 5)), max_size=60
    )
)
def test_levels_stay_in_range_at_any_times(packets: list[tuple[str, int, bool, float]]) -> None:
    levels = AudioLevels()
    now = 0.0
    for key, dbov, voice, elapsed in packets:
        now += elapsed
        levels.receive(key, dbov, voice, now)
        level = levels.level(key, now)
        assert level is not None
        assert -127 <= level <= 0
        assert levels.loudest(now) in (None, "a", "b", "c")


def test_who_spoke_last_comes_first() -> None:
    levels = AudioLevels()
    for turn, speaker in enumerate(["carol", "alice"]):
        for tenth in range(30):
            now = turn * 5 + tenth / 10
            levels.receive(speaker, -10.0, True, now)
            levels.loudest(now)
    assert levels.by_turn(["alice", "bob", "carol", "dave"]) == ["alice", "carol", "bob", "dave"]
    levels.forget("alice")
    assert levels.by_turn(["alice", "bob", "carol"]) == ["carol", "alice", "bob"]
