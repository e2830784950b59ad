"""Which codecs rtclab forwards, and when what one client sends is what another can play.

A forwarded packet is never transcoded, so its receiver must have the very format it was encoded in: H264
agrees in packetization mode and profile at any level (RFC 6184 section 8.2.2), VP9 (RFC 9628) and AV1 in
their profile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .sdp import Codec

FORWARDED: Final = {"audio": ("opus",), "video": ("VP8", "H264", "VP9", "AV1")}


def forwarded(kind: str, codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    """Those of `codecs` that can be forwarded, in their order."""
    names = FORWARDED.get(kind, ())
    rate = 48000 if kind == "audio" else 90000
    return tuple(codec for codec in codecs if codec.name in names and codec.clock_rate == rate)


def rarity(codec: Codec) -> int:
    """How unlikely it is that others play this variant of the codec; 0 for the one that all know."""
    if codec.name == "H264":
        mode, profile = _h264(codec)
        return 2 * (mode != "1") + (profile[:4] != "42e0") + 2 * (profile[:2] != "42")
    return int(_profile(codec) != "0")


def decodes(receiver: Codec, sender: Codec) -> bool:
    """Whether what is sent as `sender` can be received as `receiver`, whatever the payload types."""
    if receiver.name != sender.name or receiver.clock_rate != sender.clock_rate:
        return False
    if sender.name == "H264":
        (mode, profile), (sent_mode, sent_profile) = _h264(receiver), _h264(sender)
        return mode == sent_mode and profile[:2] == sent_profile[:2]
    return _profile(receiver) == _profile(sender)


def same_variant(receiver: Codec, sender: Codec) -> bool:
    """Whether two H264 codecs also agree in their constraints, such as constrained baseline."""
    return _h264(receiver)[1][:4] == _h264(sender)[1][:4]


def _h264(codec: Codec) -> tuple[str, str]:
    """Packetization mode and profile-level-id, with the defaults of RFC 6184."""
    parameters = codec.parameters
    return parameters.get("packetization-mode", "0"), parameters.get("profile-level-id", "42000a").lower()


def _profile(codec: Codec) -> str:
    return codec.parameters.get("profile-id" if codec.name == "VP9" else "profile", "0")
