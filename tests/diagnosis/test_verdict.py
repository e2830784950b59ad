"""The doctor's sentence: every way for media has its own, and says what to change."""

from __future__ import annotations

import pytest

from rtclab.diagnosis.doctor import CHECKS
from rtclab.diagnosis.verdict import ENABLE, State, Verdict, verdict

WAYS = ("secure", "permission", "camera", "webcodecs", "comm", "extension", "udp", "kernel")


def told(relayed: bool = False, page: bool = True, absent: bool = False, **other: State) -> Verdict:
    fine: dict[str, State] = dict.fromkeys(WAYS, "ok")
    return verdict(fine | other, page, relayed, absent)


def test_the_checks_it_asks_for_are_made() -> None:
    assert set(WAYS) <= set(CHECKS)


def test_nothing_needs_to_change_where_udp_passes() -> None:
    assert told() == Verdict(
        "webrtc",
        "info",
        "Media will travel by WebRTC over UDP, straight to this kernel; nothing needs to change.",
    )


@pytest.mark.parametrize(
    ("other", "way", "tone", "words"),
    [
        ({"relayed": True}, "turn", "info", "TURN server"),
        ({"extension": "warn"}, "webrtc", "info", ENABLE),
        ({"udp": "fail"}, "websocket", "warn", "Jupyter server's WebSocket, as UDP does not get through"),
        ({"udp": "fail", "extension": "warn"}, "comm", "warn", ENABLE),
        ({"udp": "fail", "extension": "none"}, "comm", "warn", "stand still while a cell runs"),
        ({"udp": "fail", "webcodecs": "fail"}, "websocket", "warn", "pictures only"),
        (
            {"secure": "fail", "webcodecs": "fail"},
            "webrtc",
            "warn",
            "to publish from here, open this page by https",
        ),
        ({"permission": "fail"}, "webrtc", "warn", "to publish a camera"),
        ({"udp": "fail", "extension": "fail", "comm": "fail"}, "none", "error", "No media will travel"),
        ({"udp": "fail", "absent": True}, "none", "error", "switch it on"),
        ({"kernel": "fail"}, "none", "error", "cannot work in this kernel"),
        ({"page": False}, "unknown", "warn", "No page has shown this widget"),
        ({"ice": "fail"}, "webrtc", "warn", "put right what stands beside STUN and TURN"),
    ],
)
def test_each_way_has_its_sentence(other: dict[str, State], way: str, tone: str, words: str) -> None:
    found = told(**other)  # type: ignore[arg-type]
    assert (found.way, found.tone) == (way, tone)
    assert words in found.sentence


def test_it_is_one_sentence() -> None:
    for udp in ("ok", "fail"):
        for extension in ("ok", "warn", "none"):
            for codecs in ("ok", "fail"):
                sentence = told(udp=udp, extension=extension, webcodecs=codecs).sentence
                assert sentence.count(". ") == 0
                assert sentence.endswith(".")
    assert told(udp="fail", absent=True).sentence.count(".") == 1
