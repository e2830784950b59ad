"""VP8 in RTP (RFC 7741).

Each payload opens with a descriptor::

    X R N S R PID(3)          X: the next byte is there; S with PID 0: a frame begins
    I L T K R(4)              if X: which of the following are there
    M picture id (7 or 15)    if I; M says 15 bits
    TL0PICIDX(8)              if L
    TID(2) Y KEYIDX(5)        if T or K; Y: a layer sync frame

A frame's own first byte has bit 0 clear in a keyframe; then follow the start code 9d 01 2a, width and height.
"""

from __future__ import annotations

from .info import Buffer, MalformedPayload, PayloadInfo


def describe(payload: Buffer) -> PayloadInfo:
    """Read the descriptor of one VP8 payload.

    Raises
    ------
    MalformedPayload
        If the payload ends within or right after its descriptor.
    """
    picture_id = tl0 = width = height = None
    picture_id_bits = temporal_id = 0
    picture_id_at = tl0_at = -1
    layer_sync = keyframe = False
    try:
        first = payload[0]
        body = 1
        if first & 0x80:
            flags = payload[1]
            body = 2
            if flags & 0x80:
                picture_id_at = body
                picture_id = payload[body]
                if picture_id & 0x80:
                    picture_id = (picture_id & 0x7F) << 8 | payload[body + 1]
                    picture_id_bits = 15
                    body += 2
                else:
                    picture_id_bits = 7
                    body += 1
            if flags & 0x40:
                tl0_at = body
                tl0 = payload[body]
                body += 1
            if flags & 0x30:
                if flags & 0x20:
                    temporal_id = payload[body] >> 6
                    layer_sync = payload[body] & 0x20 != 0
                body += 1
        frame_tag = payload[body]
    except IndexError:
        raise MalformedPayload("the VP8 payload ends before its frame") from None
    start = first & 0x17 == 0x10
    if start and not frame_tag & 0x01:
        keyframe = True
        if len(payload) >= body + 10 and payload[body + 3 : body + 6] == b"\x9d\x01\x2a":
            width = (payload[body + 7] << 8 | payload[body + 6]) & 0x3FFF
            height = (payload[body + 9] << 8 | payload[body + 8]) & 0x3FFF
    return PayloadInfo(
        keyframe,
        start,
        width,
        height,
        temporal_id,
        layer_sync,
        picture_id,
        picture_id_bits,
        tl0,
        picture_id_at,
        tl0_at,
    )


def widen(payload: Buffer, info: PayloadInfo) -> bytes:
    """Re-pack a 7-bit picture id as 15 bits, so that rewriting it later never changes the length.

    Parameters
    ----------
    payload : bytes-like
        A VP8 payload.
    info : PayloadInfo
        What `describe` said of it; updated to describe the returned payload.

    Returns
    -------
    bytes
        The payload, one byte longer; unchanged if it has no 7-bit picture id.
    """
    if info.picture_id_bits != 7:
        return bytes(payload)
    at = info.picture_id_at
    info.picture_id_bits = 15
    if info.tl0_at >= 0:
        info.tl0_at += 1
    return b"".join((payload[:at], b"\x80", payload[at:]))


def descriptor_length(payload: Buffer) -> int:
    """How many bytes of a VP8 payload stand before the frame's own.

    Raises
    ------
    MalformedPayload
        If the payload ends within or right after its descriptor.
    """
    length = 1
    if payload and payload[0] & 0x80:
        flags = payload[1] if len(payload) > 1 else 0
        length = 2
        if flags & 0x80:
            length += 2 if len(payload) > 2 and payload[2] & 0x80 else 1
        length += (flags & 0x40 != 0) + (flags & 0x30 != 0)
    if length >= len(payload):
        raise MalformedPayload("the VP8 payload ends before its frame")
    return length
