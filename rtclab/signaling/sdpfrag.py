"""Fragments of SDP that carry only ICE (RFC 8840, media type application/trickle-ice-sdpfrag).

    a=ice-ufrag:EsAw               the generation that the candidates belong to; another one than before
    a=ice-pwd:P2uYro0UCOQ4zxjKX    is an ICE restart
    m=audio 9 UDP/TLS/RTP/SAVPF 0  a stand-in for the m-line, so that
    a=mid:0                        the mid can be said
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host
    a=end-of-candidates

Everything is bundled on one transport, so there is one pair of credentials in a fragment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import NegotiationError
from .description import SessionDescription

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"
MAX_FRAGMENT: Final = 32 * 1024  # characters
MAX_CANDIDATES: Final = 100
MAX_CANDIDATE: Final = 1000  # characters

_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_LINE: Final = re.compile(r"[am]=[ -~]*")
_STORED: Final = re.compile(r"(?m)^a=(ice-ufrag|ice-pwd):[^\r\n]*")
_STORED_CANDIDATE: Final = re.compile(r"(?m)^a=(?:candidate:|end-of-candidates)[^\n]*\n?")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a fragment says: both credentials or none (``""``), and ``(mid or None, candidate)`` pairs."""

    ufrag: str
    pwd: str
    candidates: tuple[tuple[str | None, str], ...]
    end_of_candidates: bool


def parse_fragment(text: str) -> Fragment:
    """Parse a fragment.

    Raises
    ------
    rtclab.errors.NegotiationError
        With the code `bad_sdp` and a sentence that says what is wrong.
    """
    if len(text) > MAX_FRAGMENT:
        raise _refused(f"it is longer than {MAX_FRAGMENT // 1024} KiB")
    found: dict[str, set[str]] = {"ice-ufrag": set(), "ice-pwd": set()}
    candidates: list[tuple[str | None, str]] = []
    ended = False
    mid: str | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line:
            continue
        if not _LINE.fullmatch(line):
            raise _refused(f"line {number} is neither an a-line nor an m-line")
        if line.startswith("m="):
            mid = None
            continue
        name, _, value = line[2:].partition(":")
        if name in found:
            found[name].add(value)
        elif name == "mid":
            mid = value[:64]
        elif name == "candidate":
            if not value.strip() or len(value) > MAX_CANDIDATE or len(candidates) >= MAX_CANDIDATES:
                raise _refused(f"the candidate in line {number} is empty, too long or one too many")
            candidates.append((mid, f"candidate:{value}"))
        elif name == "end-of-candidates":
            ended = True
    ufrag, pwd = _one(found["ice-ufrag"], _UFRAG, "ice-ufrag"), _one(found["ice-pwd"], _PWD, "ice-pwd")
    if bool(ufrag) != bool(pwd):
        raise _refused("a=ice-ufrag and a=ice-pwd come together")
    if not (ufrag or candidates or ended):
        raise _refused("it has neither credentials nor candidates")
    return Fragment(ufrag, pwd, tuple(candidates), ended)


def _one(values: set[str], form: re.Pattern[str], name: str) -> str:
    if not values:
        return ""
    if len(values) > 1:
        raise _refused(f"it has more than one a={name}")
    (value,) = values
    if not form.fullmatch(value):
        raise _refused(f"its a={name} is not of the form that RFC 8839 asks for")
    return value


def _refused(why: str) -> NegotiationError:
    return NegotiationError("bad_sdp", f"this is no usable fragment of SDP: {why}")


def write_fragment(answer: SessionDescription) -> str:
    """Write the ICE part of an answer: the room's credentials and candidates, on its first live m-line.

    Raises
    ------
    ValueError
        Every m-line of the answer is rejected.
    """
    media = next((media for media in answer.media if not media.rejected), None)
    if media is None:
        raise ValueError("an answer without a live m-line has no ICE part")
    lines = ["a=ice-lite"] if answer.ice_lite else []
    if answer.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(answer.bundle)}")
    lines += [
        f"m={media.kind} {media.port} {media.protocol} {media.formats[0] if media.formats else '0'}",
        f"a=mid:{media.mid}",
        f"a=ice-ufrag:{media.ufrag}",
        f"a=ice-pwd:{media.pwd}",
        *(f"a=candidate:{candidate}" for candidate in media.candidates),
        "a=end-of-candidates",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def with_credentials(sdp: str, ufrag: str, pwd: str) -> str:
    """The offer `sdp` with other ICE credentials, and without the candidates that went with the old ones."""
    values = {"ice-ufrag": ufrag, "ice-pwd": pwd}
    return _STORED.sub(lambda found: f"a={found[1]}:{values[found[1]]}", _STORED_CANDIDATE.sub("", sdp))
