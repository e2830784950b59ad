"""H.264 in RTP (RFC 6184), packetization modes 0 and 1.

A payload is one NAL unit (types 1..23), several (STAP-A, 24: each after its 16-bit length) or a fragment
(FU-A, 28: an indicator byte, then ``S E R type(5)``). A keyframe has an SPS (7) or an IDR slice (5).
RTP does not mark the first packet of a frame: it is one with parameter sets or the slice of macroblock 0.
"""

from __future__ import annotations

from .bits import BitReader
from .info import Buffer, MalformedPayload, PayloadInfo

_SLICE, _IDR, _SEI, _SPS, _PPS, _DELIMITER = 1, 5, 6, 7, 8, 9
_STAP_A, _FU_A = 24, 28
_CHROMA_PROFILES = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))


def describe(payload: Buffer) -> PayloadInfo:
    """Read the NAL unit types of one H.264 payload, and the picture size if there is an SPS.

    Raises
    ------
    MalformedPayload
        If the payload is empty, its NAL units do not fit it, or its type is not one of modes 0 and 1.
    """
    if len(payload) < 2:
        raise MalformedPayload("the H.264 payload has no NAL unit")
    kind = payload[0] & 0x1F
    if 1 <= kind <= 23:
        return _describe_unit(payload, kind, 0, len(payload))
    if kind == _FU_A:
        kind = payload[1] & 0x1F
        if not payload[1] & 0x80:
            return PayloadInfo(False, False)
        return PayloadInfo(kind in (_IDR, _SPS), _begins_frame(payload, kind, 1))
    if kind == _STAP_A:
        return _describe_units(payload)
    raise MalformedPayload(f"H.264 packets of type {kind} are not used in packetization modes 0 and 1")


def _describe_units(payload: Buffer) -> PayloadInfo:
    """Describe an aggregation packet (STAP-A)."""
    info = PayloadInfo(False, False)
    position, end = 1, len(payload)
    while position < end:
        size = int.from_bytes(payload[position : position + 2], "big")
        position += 2
        if size == 0 or position + size > end:
            raise MalformedPayload("a NAL unit does not fit its aggregation packet")
        unit = _describe_unit(payload, payload[position] & 0x1F, position, position + size)
        info.keyframe |= unit.keyframe
        info.start |= unit.start
        if unit.width is not None:
            info.width, info.height = unit.width, unit.height
        position += size
    return info


def _describe_unit(payload: Buffer, kind: int, start: int, end: int) -> PayloadInfo:
    info = PayloadInfo(kind in (_IDR, _SPS), _begins_frame(payload[:end], kind, start))
    if kind == _SPS:
        size = picture_size(bytes(payload[start + 1 : end]))
        if size is not None:
            info.width, info.height = size
    return info


def _begins_frame(payload: Buffer, kind: int, header: int) -> bool:
    """Does a NAL unit of this kind, whose header byte is at `header`, open a frame?"""
    if _SEI <= kind <= _DELIMITER:
        return True
    # first_mb_in_slice is the first field of a slice, and Exp-Golomb 0 is a single 1 bit
    return kind in (_SLICE, _IDR) and len(payload) > header + 1 and payload[header + 1] > 0x7F


def picture_size(sps: bytes) -> tuple[int, int] | None:
    """Read (width, height) in pixels from an SPS without its NAL header; None if it is broken."""
    reader = BitReader(sps.replace(b"\0\0\3", b"\0\0"))
    try:
        profile = reader.read(8)
        reader.read(16)
        reader.read_golomb()
        chroma = 1
        if profile in _CHROMA_PROFILES:
            chroma = reader.read_golomb()
            if chroma == 3 and reader.read(1):
                chroma = 0  # separate colour planes are cropped like monochrome
            reader.read_golomb()
            reader.read_golomb()
            reader.read(1)
            if reader.read(1):
                _skip_scaling_lists(reader, 12 if chroma == 3 else 8)
        reader.read_golomb()
        order = reader.read_golomb()
        if order == 0:
            reader.read_golomb()
        elif order == 1:
            reader.read(1)
            reader.read_signed_golomb()
            reader.read_signed_golomb()
            for _ in range(min(reader.read_golomb(), 256)):
                reader.read_signed_golomb()
        reader.read_golomb()
        reader.read(1)
        width = 16 * (reader.read_golomb() + 1)
        map_height = 16 * (reader.read_golomb() + 1)
        frames_only = reader.read(1)
        if not frames_only:
            reader.read(1)
        height = map_height * (2 - frames_only)
        reader.read(1)
        if reader.read(1):
            left, right, top, bottom = (reader.read_golomb() for _ in range(4))
            width -= (left + right) * (2 if chroma in (1, 2) else 1)
            height -= (top + bottom) * (2 if chroma == 1 else 1) * (2 - frames_only)
    except ValueError:
        return None
    return (width, height) if 0 < width <= 0xFFFF and 0 < height <= 0xFFFF else None


def _skip_scaling_lists(reader: BitReader, lists: int) -> None:
    for index in range(lists):
        if not reader.read(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + reader.read_signed_golomb()) & 0xFF
            last = following or last
