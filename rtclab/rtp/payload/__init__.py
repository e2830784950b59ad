"""What a forwarder must know of a payload: is it a keyframe, which layer, where are its picture numbers.

Only the payload descriptor and, for keyframes, the first header are read; nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Callable

from . import av1, h264, vp8, vp9
from .info import Buffer, MalformedPayload, PayloadInfo

__all__ = ["MalformedPayload", "PayloadInfo", "describer"]

_WHOLE = PayloadInfo(keyframe=True, start=True)

_DESCRIBERS: dict[str, Callable[[Buffer], PayloadInfo]] = {
    "vp8": vp8.describe,
    "vp9": vp9.describe,
    "h264": h264.describe,
    "av1": av1.describe,
}


def _describe_whole(payload: Buffer) -> PayloadInfo:
    return _WHOLE


def describer(codec_name: str) -> Callable[[Buffer], PayloadInfo]:
    """Choose how payloads of a codec are described.

    Parameters
    ----------
    codec_name : str
        As in the SDP's ``a=rtpmap``, in any case: ``"VP8"``, ``"H264"``, ``"opus"``, ...

    Returns
    -------
    callable
        Takes a payload, gives its `PayloadInfo` and raises `MalformedPayload`. For Opus and unknown codecs
        every packet stands alone: it gets one shared info that says keyframe and start.
    """
    return _DESCRIBERS.get(codec_name.lower(), _describe_whole)
