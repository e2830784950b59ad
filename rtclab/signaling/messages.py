"""The signaling messages: what a client and a room say to each other, and the check of what comes in.

A message is a JSON object with a `type`. A request carries an integer `id`, chosen by the client; its reply
carries the same number as `re`. The client always offers (RFC 3264); the room says which tracks exist and the
client offers again. Names are those of the W3C and of JSEP (RFC 9429): `mid`, `rid`, `sdp`, `candidate`.

Client to room
    join {id, version, name, role, session, agent}   first; `session` resumes; role: participant or viewer
    offer {id, sdp, tracks}                          one at a time; tracks: what each m-line is for
    candidate {mid, candidate}                       one found after the offer; ICE-lite has no use for it
    layer {id, track, rid, temporal}                 rid "auto" or a layer; `error`, or `consumer` follows
    view {track, width, height, visible}             device pixels of the largest view of that track
    mute {track, muted}                              one of the client's own tracks
    phase {phase, elapsed_s, detail}                 how far its connection has come; also before `join`
    stats {time, tracks: [{track, ...figures}], pairs: [{id, ...figures}]}
                                                     summary of getStats, at most one per second; pairs: ICE's
                                                     candidate pairs, when one has changed
    peer {to, description, candidate, tracks}        passed on to another client, in a mesh only
    tunnel {id, open, reason, decode}                media goes by this carrier from now on (see
                                                     `rtclab.transport.tunnel_format`), or by WebRTC again;
                                                     decode: what the page can, webcodecs or only images
    ping {id}   leave {}

    An offer's `tracks` has an entry for each m-line in use, {mid, direction: "send", source, muted, width,
    height} or {mid, direction: "receive", track: id or null}.

Room to client
    welcome {re, version, session, participant: {id, name}, room: {id, name, architecture}, ice_servers,
             ice_transport_policy, transport, resumed, tracks}
                                                     transport: auto, webrtc or websocket
    tracks {revision, tracks}                        the full list of what this client may receive, each
             {id, participant: {id, name}, kind, source, muted, codec, parameters,
              layers: [{rid, width, height, bitrate_bps, active}]}; parameters: of the codec, as in an fmtp;
             of a mix also `of`, the names of whom it shows or lets hear
    answer {re, sdp, tracks: [{mid, track, ssrc, codec}], rejected: [{mid, code, message}]}
                                                     ssrc: of what it receives, codec: of what it sends
    consumer {track, rid, target, temporal, reason}  what is forwarded of that track now, and why not
    levels {levels: {participant id: dBov}, active}  loudness and the active speaker
    architecture {name, direct, mixed, peers: [{id, name, polite}]}
                                                     how the room forwards: when that changes, and after a
                                                     welcome if it is direct or mixed
    encodings {track, active, rids, reason, max_bitrate}
                                                     what to send of one of the client's own tracks: nothing,
                                                     these rids, or everything (null); everything until told;
                                                     max_bitrate: bit/s, left out where there is no bound
    peer {from, description, candidate, tracks}      from another client, in a mesh
    tunnel {re, open, reason}                        done; `error` not_allowed or no_codec if it cannot be
    error {re, code, message}   pong {re}   bye {code, message}

In a mesh (`direct`) a client connects to each of `peers` by itself. Their messages carry what
RTCPeerConnection gives, `description` {type, sdp} or `candidate` {candidate, sdpMid, sdpMLineIndex}, and
`tracks` [{mid, track}] says which of the sender's tracks each m-line of its description carries. `polite` is
for perfect negotiation (W3C webrtc-pc section 10.7): one of each pair is.

A `ping` before `join`, or after the room has forgotten the session, gets the error `not_joined`: join again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from ..errors import SignalingError

VERSION: Final = 1
MAX_MESSAGE: Final = 256 * 1024  # bytes of JSON, about
MAX_SDP: Final = 128 * 1024  # characters
MAX_NAME: Final = 64  # characters of a name or an id
MAX_TRACKS: Final = 64  # entries of a `tracks` list
MAX_TEXT: Final = 1024  # characters of any other string
MAX_NUMBERS: Final = 64  # figures of one track or pair in `stats`
MAX_DEPTH: Final = 8
MAX_ID: Final = 2**53 - 1  # the largest integer that JavaScript keeps exactly

AUTO: Final = "auto"
ROLES: Final = ("participant", "viewer")
PHASES: Final = ("permission", "signaling", "ICE", "DTLS", "tunnel", "first frame", "stopped", "failed")

ERROR_CODES: Final = frozenset(
    {
        "bad_message",
        "unknown_type",
        "version",
        "not_joined",
        "already_joined",
        "bad_sdp",
        "no_codec",
        "offer_pending",
        "unknown_track",
        "unknown_layer",
        "unknown_peer",
        "name_taken",
        "unknown_session",
        "room_closed",
        "too_large",
        "not_allowed",
        "ice_servers",
        "internal",
    }
)

Check = Callable[[object], Any]


def validate(message: object) -> dict[str, Any]:
    """Check one message from a client.

    Parameters
    ----------
    message : object
        What the carrier received, decoded from JSON. Nothing about it is trusted.

    Returns
    -------
    dict
        A new message with exactly the fields of its type; optional fields that were left out have their
        default, unknown fields are gone.

    Raises
    ------
    rtclab.errors.SignalingError
        With the code `bad_message`, `unknown_type` or `too_large`, and a sentence naming the field.
    """
    if not isinstance(message, dict):
        raise SignalingError("bad_message", "a message is a JSON object")
    measure(message)
    kind = message.get("type")
    fields = _MESSAGES.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise SignalingError("unknown_type", f"no message of type {_shown(kind)} is known")
    try:
        return {"type": kind, **_object(fields)(message)}
    except _Refused as refused:
        raise SignalingError(refused.code, f"{kind}: {refused}") from None


def measure(message: object) -> int:
    """Bound the size and the depth of `message` without recursion, and let nothing pass that is not JSON.

    Returns
    -------
    int
        About as many characters as its JSON text has, at most `MAX_MESSAGE`.

    Raises
    ------
    rtclab.errors.SignalingError
        With the code `bad_message` or `too_large`.
    """
    size = 0
    waiting: list[tuple[object, int]] = [(message, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise SignalingError("bad_message", f"a message is nested at most {MAX_DEPTH} deep")
        if isinstance(value, str):
            size += len(value) + 2
        elif isinstance(value, dict):
            size += 2 + 4 * len(value)
            for key, item in value.items():
                if not isinstance(key, str):
                    raise SignalingError("bad_message", "the keys of a message are strings")
                size += len(key)
                waiting.append((item, depth + 1))
        elif isinstance(value, list):
            size += 2 + len(value)
            if size <= MAX_MESSAGE:
                waiting.extend((item, depth + 1) for item in value)
        elif value is None or isinstance(value, bool | float):
            size += 8
        elif isinstance(value, int):
            size += 8 + value.bit_length() // 3
        else:
            raise SignalingError("bad_message", f"a message holds no {type(value).__name__}")
        if size > MAX_MESSAGE:
            raise SignalingError("too_large", f"a message is at most {MAX_MESSAGE // 1024} KiB")
    return size


def request_id(message: object) -> int | None:
    """The `id` of a message, if it has a usable one, so that even a refused message can be replied to."""
    if isinstance(message, dict):
        identifier = message.get("id")
        if isinstance(identifier, int) and not isinstance(identifier, bool) and 0 <= identifier <= MAX_ID:
            return identifier
    return None


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, sentence: str, code: str = "bad_message") -> None:
        super().__init__(sentence)
        self.code = code


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def _text(longest: int, *, empty: bool = False, code: str = "bad_message") -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str):
            raise _Refused(f"must be a string, not {_shown(value)}")
        if len(value) > longest:
            raise _Refused(f"is longer than {longest} characters", code)
        if not value and not empty:
            raise _Refused("must not be empty")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _Refused("holds half a character")  # cannot be encoded, so could not be sent on
        return value

    return check


def _name(value: object) -> str:
    name = str(_text(MAX_NAME)(value)).strip()
    if not name or not name.isprintable():
        raise _Refused("must be a name of printable characters")
    return name


def _one_of(*choices: str) -> Check:
    def check(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise _Refused(f"must be one of {', '.join(choices)}, not {_shown(value)}")

    return check


def _integer(lowest: int, highest: int) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _Refused(f"must be a whole number from {lowest} to {highest}, not {_shown(value)}")
        return value

    return check


def _number(value: object) -> float:
    # a huge int has no float: compare before converting
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_ID:
        raise _Refused(f"must be a number, not {_shown(value)}")
    return float(value)


def _duration(value: object) -> float:
    seconds = _number(value)
    if seconds < 0:
        raise _Refused("must not be negative")
    return seconds


def _pixels(value: object) -> int:
    pixels = _number(value)
    if not 0 <= pixels <= 65536:
        raise _Refused("must be a number of pixels from 0 to 65536")
    return math.ceil(pixels)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Refused(f"must be true or false, not {_shown(value)}")
    return value


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _object(fields: dict[str, tuple[Check, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def check(value: dict[str, Any]) -> dict[str, Any]:
        checked = {}
        for name, (field, default) in fields.items():
            if name not in value:
                if default is _REQUIRED:
                    raise _Refused(f"{name} is missing")
                checked[name] = list(default) if isinstance(default, tuple) else default
                continue
            try:
                checked[name] = field(value[name])
            except _Refused as refused:
                raise _Refused(f"{name} {refused}", refused.code) from None
        return checked

    return check


def _record(fields: dict[str, tuple[Check, Any]]) -> Check:
    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Refused(f"must be an object, not {_shown(value)}")
        return _object(fields)(value)

    return check


def _offered_track(value: dict[str, Any]) -> dict[str, Any]:
    head = _object({"mid": (_TOKEN, _REQUIRED), "direction": (_one_of("send", "receive"), _REQUIRED)})(value)
    return {**head, **_object(_SENT if head["direction"] == "send" else _RECEIVED)(value)}


def _figures(of: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An entry of `stats`: the names of its figures are the client's, so only their form is checked."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if len(value) > MAX_NUMBERS:
            raise _Refused(f"must have at most {MAX_NUMBERS} figures")
        checked: dict[str, Any] = _object({of: (_IDENTIFIER, _REQUIRED)})(value)
        for name, figure in value.items():
            if name == of:
                continue
            if figure is not None and not isinstance(figure, bool):
                try:
                    figure = (
                        _text(MAX_NAME, empty=True)(figure) if isinstance(figure, str) else _number(figure)
                    )
                except _Refused as refused:
                    raise _Refused(f"{_text(MAX_NAME, empty=True)(name)} {refused}") from None
            checked[_text(MAX_NAME, empty=True)(name)] = figure
        return checked

    return check


def _tracks(entry: Callable[[dict[str, Any]], dict[str, Any]], unique: str) -> Check:
    def numbered(index: int, item: dict[str, Any]) -> dict[str, Any]:
        try:
            return entry(item)
        except _Refused as refused:
            raise _Refused(f"[{index}] {refused}", refused.code) from None

    def check(value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise _Refused("must be a list of objects")
        if len(value) > MAX_TRACKS:
            raise _Refused(f"must have at most {MAX_TRACKS} entries")
        checked = [numbered(index, item) for index, item in enumerate(value)]
        if len({item[unique] for item in checked}) < len(checked):
            raise _Refused(f"must name each {unique} once")
        return checked

    return check


_REQUIRED: Final = object()
_ID = (_integer(0, MAX_ID), _REQUIRED)
_IDENTIFIER = _text(MAX_NAME)
_TOKEN = _text(MAX_NAME)
_SENT: dict[str, tuple[Check, Any]] = {
    "source": (_IDENTIFIER, _REQUIRED),
    "muted": (_flag, False),
    "width": (_or_null(_pixels), None),
    "height": (_or_null(_pixels), None),
}
_RECEIVED: dict[str, tuple[Check, Any]] = {"track": (_or_null(_IDENTIFIER), None)}

_CARRIED: dict[str, tuple[Check, Any]] = {
    "mid": (_TOKEN, _REQUIRED),
    "track": (_IDENTIFIER, _REQUIRED),
}
_DESCRIPTION: dict[str, tuple[Check, Any]] = {
    "type": (_one_of("offer", "answer"), _REQUIRED),
    "sdp": (_text(MAX_SDP, code="too_large"), _REQUIRED),
}
_CANDIDATE: dict[str, tuple[Check, Any]] = {
    "candidate": (_text(MAX_TEXT, empty=True), _REQUIRED),
    "sdpMid": (_or_null(_text(MAX_NAME, empty=True)), None),
    "sdpMLineIndex": (_or_null(_integer(0, 65535)), None),
}

_MESSAGES: dict[str, dict[str, tuple[Check, Any]]] = {
    "join": {
        "id": _ID,
        "version": (_integer(0, MAX_ID), _REQUIRED),
        "name": (_or_null(_name), None),
        "role": (_one_of(*ROLES), ROLES[0]),
        "session": (_or_null(_text(2 * MAX_NAME)), None),
        "agent": (_text(MAX_TEXT, empty=True), ""),
    },
    "offer": {
        "id": _ID,
        "sdp": (_text(MAX_SDP, code="too_large"), _REQUIRED),
        "tracks": (_tracks(_offered_track, "mid"), _REQUIRED),
    },
    "candidate": {
        "mid": (_or_null(_text(MAX_NAME, empty=True)), None),
        "candidate": (_text(MAX_TEXT, empty=True), _REQUIRED),
    },
    "layer": {
        "id": _ID,
        "track": (_IDENTIFIER, _REQUIRED),
        "rid": (_TOKEN, _REQUIRED),
        "temporal": (_or_null(_integer(0, 7)), None),
    },
    "view": {
        "track": (_IDENTIFIER, _REQUIRED),
        "width": (_pixels, _REQUIRED),
        "height": (_pixels, _REQUIRED),
        "visible": (_flag, True),
    },
    "mute": {"track": (_IDENTIFIER, _REQUIRED), "muted": (_flag, _REQUIRED)},
    "phase": {
        "phase": (_one_of(*PHASES), _REQUIRED),
        "elapsed_s": (_duration, 0.0),
        "detail": (_or_null(_text(MAX_TEXT, empty=True)), None),
    },
    "stats": {
        "time": (_number, _REQUIRED),
        "tracks": (_tracks(_figures("track"), "track"), _REQUIRED),
        "pairs": (_tracks(_figures("id"), "id"), ()),
    },
    "peer": {
        "to": (_IDENTIFIER, _REQUIRED),
        "description": (_or_null(_record(_DESCRIPTION)), None),
        "candidate": (_or_null(_record(_CANDIDATE)), None),
        "tracks": (_tracks(_object(_CARRIED), "mid"), ()),
    },
    "tunnel": {
        "id": _ID,
        "open": (_flag, _REQUIRED),
        "reason": (_text(MAX_TEXT, empty=True), ""),
        "decode": (_one_of("webcodecs", "images"), "webcodecs"),
    },
    "ping": {"id": _ID},
    "leave": {},
}
