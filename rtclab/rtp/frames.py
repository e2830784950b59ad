"""Whole frames become RTP payloads and back: VP8 (RFC 7741), H.264 (RFC 6184), Opus (RFC 7587).

Nothing is decoded. A frame is cut into payloads whose sizes differ by one byte at most, so that they leave
as one run. An H.264 access unit is in Annex B form: NAL units, each behind a start code 00 00 01; here small
ones before a slice (parameter sets, SEI) travel together (STAP-A, 24) and large ones in fragments (FU-A, 28).
Delimiters and filler are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .payload import MalformedPayload
from .payload.vp8 import descriptor_length

PAYLOAD_BYTES = 1180
CODECS = ("VP8", "H264", "OPUS")

_SEI, _PPS, _DELIMITER = 6, 8, 9
_STAP_A, _FU_A = 24, 28
_MOST_UNITS = 23  # the types of single NAL units end here
_LEFT_OUT = (_DELIMITER, 10, 11, 12)  # ends of sequence and stream, filler
_START = b"\0\0\0\1"

# milliseconds of a frame by configuration, RFC 6716 section 3.1
_SILK, _HYBRID, _CELT = (10.0, 20.0, 40.0, 60.0), (10.0, 20.0), (2.5, 5.0, 10.0, 20.0)


def packetize(codec: str, frame: bytes, picture_id: int) -> list[bytes]:
    """Cut a frame into payloads.

    Parameters
    ----------
    codec : str
        ``"VP8"``, ``"H264"`` or ``"opus"``, in any case.
    frame : bytes
        Of H.264 an access unit, of Opus one packet.
    picture_id : int
        15-bit number of the frame, for VP8.

    Raises
    ------
    MalformedPayload
        It is empty, not in Annex B form, or the codec is another.
    """
    if not frame:
        raise MalformedPayload("the frame is empty")
    name = codec.upper()
    if name == "VP8":
        return _packetize_vp8(frame, picture_id)
    if name == "H264":
        return _packetize_h264(frame)
    if name == "OPUS":
        return [frame]
    raise MalformedPayload(f"frames of {codec} are not known")


def depacketize(codec: str, payloads: Sequence[bytes]) -> bytes:
    """Put a frame together from its payloads, complete and in order.

    Raises
    ------
    MalformedPayload
        A payload is cut off or does not fit the one before, or the codec is another.
    """
    name = codec.upper()
    if name == "VP8":
        return b"".join([payload[descriptor_length(payload) :] for payload in payloads])
    if name == "H264":
        return b"".join(_depacketize_h264(payloads))
    if name == "OPUS":
        return b"".join(payloads)
    raise MalformedPayload(f"frames of {codec} are not known")


def _cut(data: bytes, room: int) -> Iterable[bytes]:
    """Pieces of at most `room` bytes whose sizes differ by one byte at most."""
    count = -(-len(data) // room)
    start = 0
    for place in range(count):
        end = start + (len(data) + place) // count
        yield data[start:end]
        start = end


def _packetize_vp8(frame: bytes, picture_id: int) -> list[bytes]:
    numbers = (0x8000 | picture_id & 0x7FFF).to_bytes(2, "big")
    return [
        bytes((0x80 if place else 0x90, 0x80)) + numbers + piece
        for place, piece in enumerate(_cut(frame, PAYLOAD_BYTES - 4))
    ]


def _packetize_h264(frame: bytes) -> list[bytes]:
    before, *units = frame.split(b"\0\0\1")
    if before.strip(b"\0"):
        raise MalformedPayload("the access unit does not begin with a start code")
    payloads: list[bytes] = []
    small: list[bytes] = []
    for raw in units:
        unit = raw.rstrip(b"\0")  # of the next start code, or trailing: a NAL unit never ends with 0
        if len(unit) < 2 or unit[0] & 0x1F in _LEFT_OUT:
            continue
        kind = unit[0] & 0x1F
        if not 1 <= kind <= _MOST_UNITS:
            raise MalformedPayload(f"a NAL unit cannot be of type {kind}")
        if _SEI <= kind <= _PPS and sum(map(len, small)) + len(unit) < PAYLOAD_BYTES // 2:
            small.append(unit)
            continue
        payloads += _together(small)
        small = []
        payloads += [unit] if len(unit) <= PAYLOAD_BYTES else _fragments(unit)
    payloads += _together(small)
    if not payloads:
        raise MalformedPayload("the access unit has no NAL unit")
    return payloads


def _together(units: list[bytes]) -> list[bytes]:
    if len(units) < 2:
        return units
    indicator = max(unit[0] & 0x60 for unit in units) | _STAP_A
    return [bytes((indicator,)) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)]


def _fragments(unit: bytes) -> list[bytes]:
    indicator, kind = unit[0] & 0xE0 | _FU_A, unit[0] & 0x1F
    pieces = list(_cut(unit[1:], PAYLOAD_BYTES - 2))
    heads = [kind] * len(pieces)
    heads[0] |= 0x80
    heads[-1] |= 0x40
    return [bytes((indicator, head)) + piece for head, piece in zip(heads, pieces, strict=True)]


def _depacketize_h264(payloads: Sequence[bytes]) -> list[bytes]:
    parts: list[bytes] = []
    open_unit = False
    for payload in payloads:
        if len(payload) < 2:
            raise MalformedPayload("the H.264 payload has no NAL unit")
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            begins = payload[1] & 0x80 != 0
            if begins == open_unit:
                raise MalformedPayload("a fragment of a NAL unit is missing")
            if begins:
                parts += (_START, bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)))
            parts.append(payload[2:])
            open_unit = payload[1] & 0x40 == 0
            continue
        if open_unit:
            raise MalformedPayload("a fragment of a NAL unit is missing")
        if kind == _STAP_A:
            position = 1
            while position < len(payload):
                size = int.from_bytes(payload[position : position + 2], "big")
                position += 2 + size
                if not size or position > len(payload):
                    raise MalformedPayload("a NAL unit does not fit its aggregation packet")
                parts += (_START, payload[position - size : position])
        elif 1 <= kind <= _MOST_UNITS:
            parts += (_START, payload)
        else:
            raise MalformedPayload(f"H.264 packets of type {kind} are not used here")
    if open_unit:
        raise MalformedPayload("the last fragment of a NAL unit is missing")
    return parts


def opus_samples(packet: bytes) -> int:
    """How many samples of 48 kHz an Opus packet holds; 0 for one that is broken."""
    if not packet:
        return 0
    configuration, code = packet[0] >> 3, packet[0] & 3
    if configuration < 12:
        milliseconds = _SILK[configuration & 3]
    elif configuration < 16:
        milliseconds = _HYBRID[configuration & 1]
    else:
        milliseconds = _CELT[configuration & 3]
    frames = (1, 2, 2)[code] if code < 3 else packet[1] & 0x3F if len(packet) > 1 else 0
    samples = int(milliseconds * 48) * frames
    return samples if samples <= 5760 else 0  # 120 ms is the most
