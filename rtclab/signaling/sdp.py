"""SDP (RFC 8866) as WebRTC uses it: parsing an offer and writing an answer.

Only what a room needs is kept: BUNDLE (RFC 8843), ICE (RFC 8839), DTLS fingerprints (RFC 8122), codecs with
their feedback (RFC 4585), RTX (RFC 4588), header extensions (RFC 8285), `rid` and simulcast (RFC 8851, RFC
8853), SSRCs (RFC 5576) and `msid` (RFC 8830). Attributes that a media section leaves out are taken from the
session. What is not understood is skipped; what is understood and wrong is a `NegotiationError` naming the
line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from ..errors import NegotiationError
from .description import Codec, MediaDescription, SessionDescription, write
from .messages import MAX_SDP

__all__ = ["Codec", "MediaDescription", "SessionDescription", "parse", "write"]

MAX_SECTIONS: Final = 256
MAX_FINGERPRINTS: Final = 8  # of a section; the rest is not looked at
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
SETUPS: Final = ("actpass", "active", "passive", "holdconn")
HASHES: Final = {"sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_NAMES: Final = {name.lower(): name for name in ("opus", "VP8", "VP9", "H264", "AV1", "rtx")}
_TOKEN: Final = re.compile(r"[!-~]{1,64}")
_CREDENTIAL: Final = re.compile(r"[!-~]{1,256}")


@dataclass(slots=True)
class _Line:
    number: int
    text: str

    @property
    def value(self) -> str:
        return self.text[2:].strip(" ")

    @property
    def attribute(self) -> tuple[str, str]:
        """Name and value of an a-line."""
        name, _, value = self.value.partition(":")
        return name, value.strip(" ")

    def refuse(self, why: str) -> NoReturn:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        raise NegotiationError("bad_sdp", f"line {self.number} of the SDP, {shown!r}: {why}")

    def number_of(self, text: str, highest: int) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= highest):
            self.refuse(f"{text[:20]!r} is no number up to {highest}")
        return int(text)

    def token(self, text: str) -> str:
        if not _TOKEN.fullmatch(text):
            self.refuse("a name of 1 to 64 visible ASCII characters is missing")
        return text


def parse(text: str) -> SessionDescription:
    """Parse a session description.

    Raises
    ------
    rtclab.errors.NegotiationError
        With the code `bad_sdp` and a sentence naming the line.
    """
    if len(text) > MAX_SDP:
        raise NegotiationError("bad_sdp", f"the SDP is longer than {MAX_SDP // 1024} KiB")
    sections: list[list[_Line]] = [[]]
    for line in _lines(text):
        if line.text.startswith("m="):
            sections.append([])
            if len(sections) > MAX_SECTIONS + 1:
                line.refuse(f"there are more than {MAX_SECTIONS} m-lines")
        sections[-1].append(line)
    head = sections[0]
    if not head or head[0].text != "v=0":
        raise NegotiationError("bad_sdp", "the SDP must begin with the line 'v=0'")
    session = _Attributes(head)
    media = tuple(_media(lines, session) for lines in sections[1:])
    mids = [section.mid for section in media if section.mid]
    named = set(mids)
    if len(named) < len(mids):
        raise NegotiationError("bad_sdp", "two m-lines of the SDP have the same a=mid")
    bundle: tuple[str, ...] = ()
    for line, value in session.all("group"):
        words = value.split()
        if words and words[0] == "BUNDLE":
            bundle = tuple(dict.fromkeys(words[1:]))
            for mid in bundle:
                if mid not in named:
                    line.refuse(f"no m-line has the mid {mid[:64]!r}")
            break
    identifier, version = _origin(head)
    return SessionDescription(
        media, bundle, session.has("ice-lite"), identifier, version, session.has("extmap-allow-mixed")
    )


def _lines(text: str) -> Iterator[_Line]:
    for number, raw in enumerate(text.split("\n"), 1):
        line = _Line(number, raw.removesuffix("\r"))
        if not line.text.strip():
            continue
        if len(line.text) < 2 or line.text[1] != "=" or not line.text[0].isalpha():
            line.refuse("a line is a letter, '=' and a value")
        if any(letter < " " and letter != "\t" for letter in line.text):
            line.refuse("there is a control character in it")
        yield line


def _origin(head: list[_Line]) -> tuple[int, int]:
    for line in head:
        if line.text.startswith("o="):
            words = line.value.split()
            if len(words) < 3:
                line.refuse("the session's id and version are missing")
            return line.number_of(words[1], 2**64 - 1), line.number_of(words[2], 2**64 - 1)
    raise NegotiationError("bad_sdp", "the SDP has no line 'o='")


class _Attributes:
    """The a-lines of a section by name, with what the session says as a fallback."""

    def __init__(self, lines: list[_Line], session: _Attributes | None = None) -> None:
        self._session = session
        self._found: dict[str, list[tuple[_Line, str]]] = {}
        for line in lines:
            if line.text.startswith("a="):
                name, value = line.attribute
                self._found.setdefault(name, []).append((line, value))

    def has(self, name: str) -> bool:
        return name in self._found

    def all(self, name: str) -> list[tuple[_Line, str]]:
        return self._found.get(name, [])

    def inherited(self, name: str) -> list[tuple[_Line, str]]:
        return self._found.get(name) or (self._session.all(name) if self._session else [])

    def credential(self, name: str) -> str:
        for line, value in self.inherited(name):
            if not _CREDENTIAL.fullmatch(value):
                line.refuse("1 to 256 visible ASCII characters are expected")
            return value
        return ""

    def setup(self) -> str:
        for line, value in self.inherited("setup"):
            if value not in SETUPS:
                line.refuse(f"one of {', '.join(SETUPS)} is expected")
            return value
        return ""

    def direction(self) -> str:
        for attributes in (self, self._session):
            for direction in DIRECTIONS:
                if attributes is not None and attributes.has(direction):
                    return direction
        return "sendrecv"


def _media(lines: list[_Line], session: _Attributes) -> MediaDescription:
    first, attributes = lines[0], _Attributes(lines[1:], session)
    words = first.value.split()
    if len(words) < 4:
        first.refuse("kind, port, protocol and formats are expected")
    kind, port, protocol, *formats = words
    number = first.number_of(port.partition("/")[0], 65535)
    mid = ""
    for line, value in attributes.all("mid"):
        mid = line.token(value)
    if not mid and (number != 0 or attributes.has("bundle-only")):
        first.refuse("this section has no a=mid")
    codecs, rtx = _codecs(first, formats, attributes) if "RTP/" in protocol else ((), {})
    ssrcs, fid = _ssrcs(attributes)
    send, receive = _simulcast(attributes)
    sctp_port = [line.number_of(value, 65535) for line, value in attributes.all("sctp-port")]
    return MediaDescription(
        kind=first.token(kind),
        mid=mid,
        port=number,
        protocol=first.token(protocol),
        formats=tuple(formats),
        direction=attributes.direction(),
        codecs=codecs,
        rtx=rtx,
        extensions=_extensions(attributes),
        rids=_rids(attributes),
        simulcast_send=send,
        simulcast_recv=receive,
        ssrcs=ssrcs,
        fid=fid,
        msid=_msid(attributes),
        ufrag=attributes.credential("ice-ufrag"),
        pwd=attributes.credential("ice-pwd"),
        fingerprints=_fingerprints(attributes),
        setup=attributes.setup(),
        candidates=tuple(value for _, value in attributes.all("candidate")),
        end_of_candidates=attributes.has("end-of-candidates"),
        rtcp_mux=attributes.has("rtcp-mux"),
        rtcp_rsize=attributes.has("rtcp-rsize"),
        bundle_only=attributes.has("bundle-only"),
        sctp_port=sctp_port[0] if sctp_port else None,
    )


def _codecs(
    first: _Line, formats: list[str], attributes: _Attributes
) -> tuple[tuple[Codec, ...], dict[int, int]]:
    parameters: dict[int, dict[str, str]] = {}
    for line, value in attributes.all("fmtp"):
        number, _, rest = value.partition(" ")
        pairs = (pair.strip().partition("=") for pair in rest.split(";") if pair.strip())
        parameters[line.number_of(number, 127)] = {
            key.strip().lower(): text.strip() for key, _, text in pairs
        }
    everywhere: list[str] = []
    feedback: dict[int, list[str]] = {}
    for line, value in attributes.all("rtcp-fb"):
        number, _, rest = value.partition(" ")
        kinds = everywhere if number == "*" else feedback.setdefault(line.number_of(number, 127), [])
        kinds.append(" ".join(rest.split()))
    maps: dict[int, tuple[_Line, str]] = {}
    for line, value in attributes.all("rtpmap"):
        number, _, rest = value.partition(" ")
        maps[line.number_of(number, 127)] = (line, rest.strip())
    listed = []
    for payload_type in dict.fromkeys(first.number_of(text, 127) for text in formats):
        if payload_type not in maps:
            continue
        line, rest = maps[payload_type]
        name, *numbers = rest.split("/")
        if not numbers:
            line.refuse("a name and a clock rate are expected")
        kinds = everywhere + feedback.get(payload_type, [])
        codec = Codec(
            payload_type,
            _NAMES.get(name.lower(), line.token(name)),
            line.number_of(numbers[0], 2**32 - 1),
            line.number_of(numbers[1], 255) if len(numbers) > 1 else 1,
            parameters.get(payload_type, {}),
            tuple(dict.fromkeys(kinds)),
        )
        listed.append(codec)
    rtx: dict[int, int] = {}
    for codec in listed:
        apt = codec.parameters.get("apt", "")
        if codec.name == "rtx" and apt.isascii() and apt.isdigit() and len(apt) <= 3:
            rtx.setdefault(int(apt), codec.payload_type)
    codecs = tuple(codec for codec in listed if codec.name != "rtx")
    known = {codec.payload_type for codec in codecs}
    return codecs, {apt: payload_type for apt, payload_type in rtx.items() if apt in known}


def _extensions(attributes: _Attributes) -> dict[str, int]:
    extensions: dict[str, int] = {}
    for line, value in attributes.all("extmap"):
        words = value.split()
        if len(words) < 2:
            line.refuse("an id and a URI are expected")
        number = line.number_of(words[0].partition("/")[0], 65535)
        if 1 <= number <= 255:  # others are only reserved, RFC 8285 section 6
            extensions.setdefault(words[1], number)
    return extensions


def _rids(attributes: _Attributes) -> tuple[tuple[str, str], ...]:
    rids: dict[str, str] = {}
    for line, value in attributes.all("rid"):
        words = value.split()
        if len(words) < 2 or words[1] not in ("send", "recv"):
            line.refuse("a name and send or recv are expected")
        rids.setdefault(line.token(words[0]), words[1])
    return tuple(rids.items())


def _simulcast(attributes: _Attributes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line, value in attributes.all("simulcast"):
        words = value.split()
        if len(words) not in (2, 4):
            line.refuse("send or recv and a list of layers are expected")
        for direction, layers in zip(words[::2], words[1::2], strict=True):
            if direction not in ("send", "recv"):
                line.refuse("send or recv is expected")
            firsts = (layer.split(",")[0].removeprefix("~") for layer in layers.split(";"))
            found.setdefault(direction, tuple(dict.fromkeys(line.token(rid) for rid in firsts)))
    return found.get("send", ()), found.get("recv", ())


def _ssrcs(attributes: _Attributes) -> tuple[dict[int, str], dict[int, int]]:
    ssrcs: dict[int, str] = {}
    for line, value in attributes.all("ssrc"):
        number, _, rest = value.partition(" ")
        ssrc = line.number_of(number, 2**32 - 1)
        name, _, text = rest.partition(":")
        ssrcs[ssrc] = text if name == "cname" else ssrcs.get(ssrc, "")
    fid: dict[int, int] = {}
    for line, value in attributes.all("ssrc-group"):
        semantics, *members = value.split() or [""]
        numbers = [line.number_of(member, 2**32 - 1) for member in members]
        if semantics == "FID" and len(numbers) == 2:
            fid[numbers[0]] = numbers[1]
    return ssrcs, fid


def _msid(attributes: _Attributes) -> tuple[str, str] | None:
    for line, value in attributes.all("msid"):
        words = value.split()
        if not words:
            line.refuse("a stream is expected")
        return line.token(words[0]), line.token(words[1]) if len(words) > 1 else ""
    return None


def _fingerprints(attributes: _Attributes) -> tuple[tuple[str, str], ...]:
    fingerprints = []
    for line, value in attributes.inherited("fingerprint")[:MAX_FINGERPRINTS]:
        algorithm, _, digest = value.partition(" ")
        algorithm, digest = algorithm.lower(), digest.strip().upper()
        length = HASHES.get(algorithm)
        if length is None:
            continue
        if not re.fullmatch(rf"[0-9A-F]{{2}}(:[0-9A-F]{{2}}){{{length - 1}}}", digest):
            line.refuse(f"{length} bytes in hexadecimal are expected")
        fingerprints.append((algorithm, digest))
    return tuple(fingerprints)
