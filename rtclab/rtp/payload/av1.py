"""AV1 in RTP (the Alliance for Open Media's "RTP Payload Format For AV1").

A payload opens with the aggregation header ``Z Y W(2) N -(3)``: Z, the first OBU element continues one of the
packet before; W, the number of elements (0: each has a length, else all but the last); N, a coded video
sequence begins, which is a keyframe. Temporal layers are only in the dependency descriptor extension, so they
read 0 here.
"""

from __future__ import annotations

from .bits import BitReader
from .info import Buffer, MalformedPayload, PayloadInfo

_SEQUENCE_HEADER, _TILE_GROUP = 1, 4


def describe(payload: Buffer) -> PayloadInfo:
    """Read the aggregation header of one AV1 payload, and the picture size from a sequence header.

    A packet counts as the start of a frame if its first element begins there and is not a tile group.

    Raises
    ------
    MalformedPayload
        If the payload is empty, its first element does not fit it, or it begins a sequence with a fragment.
    """
    if len(payload) < 2:
        raise MalformedPayload("the AV1 payload has no OBU")
    header = payload[0]
    keyframe = header & 0x08 != 0
    if header & 0x80:
        if keyframe:
            raise MalformedPayload("an AV1 sequence cannot begin with a fragment")
        return PayloadInfo(False, False)
    start, end = 1, len(payload)
    if header & 0x30 != 0x10:
        size, start = _leb128(payload, start)
        if start + size > end:
            raise MalformedPayload("an OBU is longer than its packet")
        end = start + size
    if start >= end:
        raise MalformedPayload("the AV1 payload has no OBU")
    kind = payload[start] >> 3 & 0x0F
    info = PayloadInfo(keyframe, kind != _TILE_GROUP)
    if kind == _SEQUENCE_HEADER:
        size_of = _sequence_size(payload, start, end)
        if size_of is not None:
            info.width, info.height = size_of
    return info


def _leb128(payload: Buffer, position: int) -> tuple[int, int]:
    """Read a variable-length number; give it and the position after it."""
    value = 0
    for index in range(8):
        if position >= len(payload):
            break
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position
    raise MalformedPayload("an AV1 length is cut off or too long")


def _sequence_size(payload: Buffer, start: int, end: int) -> tuple[int, int] | None:
    """Read (width, height) in pixels from the sequence header OBU at `start`; None if it is broken."""
    obu_header = payload[start]
    start += 2 if obu_header & 0x04 else 1
    if obu_header & 0x02:
        _, start = _leb128(payload, start)
    reader = BitReader(bytes(payload[start:end]))
    try:
        reader.read(4)
        if reader.read(1):
            reader.read(5)
        else:
            _skip_operating_points(reader)
        width_bits = reader.read(4) + 1
        height_bits = reader.read(4) + 1
        return reader.read(width_bits) + 1, reader.read(height_bits) + 1
    except ValueError:
        return None


def _skip_operating_points(reader: BitReader) -> None:
    """Skip from ``timing_info_present_flag`` to the end of the operating points (AV1 section 5.5.1)."""
    delay_bits = 0
    if reader.read(1):
        reader.read(64)
        if reader.read(1):
            reader.read_golomb()
        if reader.read(1):
            delay_bits = reader.read(5) + 1
            reader.read(42)
    display_delay = reader.read(1)
    for _ in range(reader.read(5) + 1):
        reader.read(12)
        if reader.read(5) > 7:
            reader.read(1)
        if delay_bits and reader.read(1):
            reader.read(2 * delay_bits + 1)
        if display_delay and reader.read(1):
            reader.read(4)
