"""VP9 in RTP (RFC 9628).

Each payload opens with a descriptor::

    I P L F B E V Z           P: inter-picture predicted; B, E: a layer frame begins, ends
    M picture id (7 or 15)    if I
    TID(3) U SID(3) D         if L; then TL0PICIDX(8) unless F
    P_DIFF(7) N               if P and F: one to three reference distances
    scalability structure     if V: N_S(3) Y G, sizes if Y, picture group if G

A keyframe begins where P is 0, B is 1 and the spatial id is 0.
"""

from __future__ import annotations

from .info import Buffer, MalformedPayload, PayloadInfo


def describe(payload: Buffer) -> PayloadInfo:
    """Read the descriptor of one VP9 payload; the size is that of the largest spatial layer.

    Raises
    ------
    MalformedPayload
        If the payload ends within or right after its descriptor, or names too many references.
    """
    picture_id = tl0 = width = height = None
    picture_id_bits = temporal_id = spatial_id = 0
    picture_id_at = tl0_at = -1
    layer_sync = False
    try:
        first = payload[0]
        position = 1
        if first & 0x80:
            picture_id_at = position
            picture_id = payload[position]
            if picture_id & 0x80:
                picture_id = (picture_id & 0x7F) << 8 | payload[position + 1]
                picture_id_bits = 15
                position += 2
            else:
                picture_id_bits = 7
                position += 1
        if first & 0x20:
            layers = payload[position]
            temporal_id = layers >> 5
            layer_sync = layers & 0x10 != 0
            spatial_id = layers >> 1 & 0x07
            position += 1
            if not first & 0x10:
                tl0_at = position
                tl0 = payload[position]
                position += 1
        if first & 0x50 == 0x50:
            references = 1
            while payload[position] & 0x01:
                references += 1
                position += 1
                if references > 3:
                    raise MalformedPayload("a VP9 frame has at most three references")
            position += 1
        if first & 0x02:
            position, width, height = _scalability(payload, position)
        payload[position]
    except IndexError:
        raise MalformedPayload("the VP9 payload ends before its frame") from None
    start = first & 0x08 != 0 and spatial_id == 0
    return PayloadInfo(
        start and not first & 0x40,
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


def _scalability(payload: Buffer, position: int) -> tuple[int, int | None, int | None]:
    """Skip a scalability structure; give the position after it and the size of its top layer."""
    head = payload[position]
    position += 1
    width = height = None
    if head & 0x10:
        position += 4 * (head >> 5)
        width = payload[position] << 8 | payload[position + 1]
        height = payload[position + 2] << 8 | payload[position + 3]
        position += 4
    if head & 0x08:
        pictures = payload[position]
        position += 1
        for _ in range(pictures):
            position += 1 + (payload[position] >> 2 & 0x03)
    return position, width, height
