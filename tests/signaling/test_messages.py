"""The check of what a client sends: right messages pass, everything else is one typed error."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.errors import SignalingError
from rtclab.signaling import messages
from rtclab.signaling.messages import request_id, validate

GOOD: list[dict[str, Any]] = [
    {"type": "join", "id": 0, "version": 1, "name": "alice", "role": "viewer", "session": None, "agent": "x"},
    {
        "type": "offer",
        "id": 1,
        "sdp": "v=0\r\n",
        "tracks": [
            {
                "mid": "0",
                "direction": "send",
                "source": "camera",
                "muted": False,
                "width": 640,
                "height": 360,
            },
            {"mid": "1", "direction": "receive", "track": None},
        ],
    },
    {"type": "candidate", "mid": "0", "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"},
    {"type": "layer", "id": 2, "track": "t1", "rid": "auto", "temporal": None},
    {"type": "view", "track": "t1", "width": 640, "height": 360, "visible": True},
    {"type": "mute", "track": "t1", "muted": True},
    {"type": "phase", "phase": "first frame", "elapsed_s": 0.25, "detail": None},
    {
        "type": "stats",
        "time": 12.5,
        "tracks": [{"track": "t1", "bitrate_bps": 1e6, "rid": "f", "ok": True}],
        "pairs": [{"id": "CP1", "state": "succeeded", "selected": True, "rtt_s": None, "bytes_sent": 9}],
    },
    {
        "type": "peer",
        "to": "p2",
        "description": {"type": "offer", "sdp": "v=0"},
        "candidate": None,
        "tracks": [{"mid": "0", "track": "t1"}],
    },
    {
        "type": "peer",
        "to": "p2",
        "description": None,
        "candidate": {
            "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host",
            "sdpMid": "0",
            "sdpMLineIndex": 0,
        },
        "tracks": [],
    },
    {"type": "ping", "id": 3},
    {"type": "leave"},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refused(message: object) -> SignalingError:
    with pytest.raises(SignalingError) as caught:
        validate(message)
    assert caught.value.code in messages.ERROR_CODES
    return caught.value


def attempt(message: object) -> dict[str, Any] | None:
    """Validate, letting only a `SignalingError` pass as a refusal."""
    try:
        return validate(message)
    except SignalingError:
        return None


@pytest.mark.parametrize("message", GOOD, ids=lambda message: message["type"])
def test_a_right_message_passes_unchanged(message: dict[str, Any]) -> None:
    assert validate(message) == message


def test_the_result_is_a_copy_without_unknown_fields() -> None:
    message = {"type": "ping", "id": 1, "extra": [1, 2]}
    assert validate(message) == {"type": "ping", "id": 1}
    assert "extra" in message


def test_optional_fields_have_defaults() -> None:
    assert validate({"type": "join", "id": 1, "version": 1}) == {
        "type": "join",
        "id": 1,
        "version": 1,
        "name": None,
        "role": "participant",
        "session": None,
        "agent": "",
    }


def test_fractions_of_pixels_are_rounded_up() -> None:
    assert validate({"type": "view", "track": "t", "width": 319.5, "height": 180.0})["width"] == 320


@pytest.mark.parametrize("message", [None, 3, "join", [], [{"type": "ping", "id": 1}]])
def test_what_is_no_object_is_refused(message: object) -> None:
    assert refused(message).code == "bad_message"


@pytest.mark.parametrize("kind", [None, 7, "welcome", "x" * 1000, ["ping"], {}])
def test_an_unknown_type_is_refused_in_a_short_sentence(kind: object) -> None:
    error = refused({"type": kind})
    assert error.code == "unknown_type"
    assert len(str(error)) < 100


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "ping"}, "ping: id is missing"),
        ({"type": "ping", "id": True}, "whole number"),
        ({"type": "ping", "id": 1.0}, "whole number"),
        ({"type": "ping", "id": -1}, "whole number"),
        ({"type": "ping", "id": 2**60}, "whole number"),
        ({"type": "join", "id": 1, "version": 1, "name": "x" * 65}, "longer than 64"),
        ({"type": "join", "id": 1, "version": 1, "name": "  "}, "printable"),
        ({"type": "join", "id": 1, "version": 1, "name": "a\nb"}, "printable"),
        ({"type": "join", "id": 1, "version": 1, "name": "\ud800"}, "half a character"),
        ({"type": "join", "id": 1, "version": 1, "role": "admin"}, "one of participant, viewer"),
        ({"type": "offer", "id": 1, "sdp": "v=0", "tracks": [{"mid": "0"}]}, "[0] direction is missing"),
        ({"type": "offer", "id": 1, "sdp": "v=0", "tracks": [3]}, "list of objects"),
        (
            {"type": "offer", "id": 1, "sdp": "v=0", "tracks": [{"mid": "0", "direction": "receive"}] * 2},
            "each mid once",
        ),
        ({"type": "mute", "track": "t", "muted": 1}, "true or false"),
        ({"type": "view", "track": "t", "width": -1, "height": 1}, "pixels"),
        ({"type": "phase", "phase": "lunch"}, "one of permission"),
        ({"type": "phase", "phase": "ICE", "elapsed_s": -1}, "negative"),
        ({"type": "stats", "time": math.nan, "tracks": []}, "number"),
        ({"type": "stats", "time": 1, "tracks": [{"track": "t", "x": math.inf}]}, "[0] x must be a number"),
        ({"type": "stats", "time": 1, "tracks": [{"track": "t", "x": [1]}]}, "[0] x must be a number"),
        ({"type": "stats", "time": 1, "tracks": [], "pairs": [{"state": "failed"}]}, "id is missing"),
        ({"type": "layer", "id": 1, "track": "t", "rid": "f", "temporal": 8}, "from 0 to 7"),
    ],
)
def test_a_wrong_field_is_named(message: object, said: str) -> None:
    error = refused(message)
    assert error.code == "bad_message"
    assert said in str(error)


def test_sizes_are_bounded() -> None:
    long_sdp = {"type": "offer", "id": 1, "sdp": "x" * (messages.MAX_SDP + 1), "tracks": []}
    assert refused(long_sdp).code == "too_large"
    assert refused({"type": "ping", "id": 1, "extra": "x" * (messages.MAX_MESSAGE + 1)}).code == "too_large"
    assert refused({"type": "ping", "id": 1, "extra": [0] * messages.MAX_MESSAGE}).code == "too_large"
    assert refused({"type": "ping", "id": 1 << (24 * messages.MAX_MESSAGE)}).code == "too_large"
    many = [{"mid": str(index), "direction": "receive"} for index in range(messages.MAX_TRACKS + 1)]
    assert "at most 64" in str(refused({"type": "offer", "id": 1, "sdp": "v=0", "tracks": many}))


def test_depth_is_bounded_without_recursion() -> None:
    nested: Any = "deep"
    for _ in range(5000):
        nested = [nested]
    assert "nested" in str(refused({"type": "ping", "id": 1, "extra": nested}))
    endless: dict[str, Any] = {"type": "ping", "id": 1}
    endless["self"] = endless
    assert refused(endless).code == "bad_message"


def test_what_is_not_json_is_refused() -> None:
    assert "memoryview" in str(refused({"type": "ping", "id": 1, "extra": memoryview(b"x")}))
    assert "keys" in str(refused({"type": "ping", "id": 1, 5: "x"}))


def test_the_request_id_survives_a_refusal() -> None:
    assert request_id({"type": "?", "id": 5}) == 5
    for message in (None, {}, {"id": "5"}, {"id": True}, {"id": -1}, {"id": 2**60}):
        assert request_id(message) is None


@settings(deadline=None)
@given(JSON)
def test_any_value_passes_or_is_refused(value: object) -> None:
    attempt(value)


@settings(deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_mutated_messages_pass_or_are_refused(message: dict[str, Any], data: st.DataObject) -> None:
    mutated = json.loads(json.dumps(message))
    where: Any = mutated
    key: Any = data.draw(st.sampled_from(sorted(mutated)))
    if isinstance(mutated[key], list) and mutated[key] and data.draw(st.booleans()):
        where = data.draw(st.sampled_from(mutated[key]))
        key = data.draw(st.sampled_from(sorted(where)))
    if data.draw(st.booleans()):
        where[key] = data.draw(JSON)
    else:
        del where[key]
    checked = attempt(mutated)
    if checked is not None:
        assert validate(checked) == checked
        json.dumps(checked, allow_nan=False).encode()
