"""`PayloadInfo`: what the payload parsers find out about one packet."""

from __future__ import annotations

from dataclasses import dataclass

Buffer = bytes | bytearray | memoryview


class MalformedPayload(ValueError):  # noqa: N818 - reads as what the payload is
    """The payload does not follow its codec's RTP format."""


@dataclass(slots=True)
class PayloadInfo:
    """What a forwarder must know of one packet's payload.

    Attributes
    ----------
    keyframe : bool
        This packet begins a picture that needs no earlier one (H264: or carries a part of its first slices).
    start : bool
        First packet of a frame.
    width, height : int or None
        Size of the picture in pixels, where the packet says it.
    temporal_id : int
        Temporal layer, 0 for the base layer and for codecs that do not say.
    layer_sync : bool
        From this frame on a viewer may switch up to this temporal layer.
    picture_id : int or None
        Picture number of VP8 and VP9.
    picture_id_bits : int
        Its width: 0, 7 or 15.
    tl0 : int or None
        TL0PICIDX, the 8-bit number of the last base layer frame.
    picture_id_at, tl0_at : int
        Offset of the two numbers in the payload, -1 if absent. In the 15-bit form the first bit there is the
        flag M.
    """

    keyframe: bool
    start: bool
    width: int | None = None
    height: int | None = None
    temporal_id: int = 0
    layer_sync: bool = False
    picture_id: int | None = None
    picture_id_bits: int = 0
    tl0: int | None = None
    picture_id_at: int = -1
    tl0_at: int = -1
