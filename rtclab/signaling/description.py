"""What a session description says: frozen dataclasses, and how they are written as SDP (RFC 8866).

`rtclab.signaling.sdp` reads the same back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type: an `rtpmap` with its `fmtp` and `rtcp-fb` lines.

    The name is spelt as registered (``"opus"``, ``"VP8"``); `parameters` has lower-case keys, and an empty
    value for a parameter without one.
    """

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    parameters: dict[str, str] = field(default_factory=dict, hash=False)
    feedback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m-line and its attributes.

    Attributes
    ----------
    codecs : tuple of Codec
        In the order of the m-line, without RTX.
    rtx : dict
        RTX payload type of a payload type.
    extensions : dict
        Header extension id of a URI.
    rids : tuple of (str, str)
        Each `rid` with its direction, ``"send"`` or ``"recv"``.
    simulcast_send, simulcast_recv : tuple of str
        The layers of `a=simulcast` in order, the first of each set of alternatives, paused or not.
    ssrcs : dict
        CNAME (perhaps empty) of each SSRC, in order.
    fid : dict
        RTX SSRC of an SSRC.
    """

    kind: str
    mid: str
    port: int = 9
    protocol: str = "UDP/TLS/RTP/SAVPF"
    formats: tuple[str, ...] = ()
    direction: str = "sendrecv"
    codecs: tuple[Codec, ...] = ()
    rtx: dict[int, int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    rids: tuple[tuple[str, str], ...] = ()
    simulcast_send: tuple[str, ...] = ()
    simulcast_recv: tuple[str, ...] = ()
    ssrcs: dict[int, str] = field(default_factory=dict)
    fid: dict[int, int] = field(default_factory=dict)
    msid: tuple[str, str] | None = None
    ufrag: str = ""
    pwd: str = ""
    fingerprints: tuple[tuple[str, str], ...] = ()
    setup: str = ""
    candidates: tuple[str, ...] = ()
    end_of_candidates: bool = False
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    bundle_only: bool = False
    sctp_port: int | None = None

    @property
    def rejected(self) -> bool:
        """Whether the m-line is stopped: port 0, and not because it is bundle-only."""
        return self.port == 0 and not self.bundle_only


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description; `bundle` has the mids of the first BUNDLE group, in order."""

    media: tuple[MediaDescription, ...]
    bundle: tuple[str, ...] = ()
    ice_lite: bool = False
    session_id: int = 0
    version: int = 0
    mixed_extensions: bool = False


def write(description: SessionDescription) -> str:
    """Write `description` as SDP.

    Raises
    ------
    ValueError
        A value holds a line break.
    """
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
    ]
    if description.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(description.bundle)}")
    if description.mixed_extensions:
        lines.append("a=extmap-allow-mixed")
    if description.ice_lite:
        lines.append("a=ice-lite")
    if any(media.msid for media in description.media):
        lines.append("a=msid-semantic:WMS *")  # without it aiortc makes up ids of its own
    for media in description.media:
        lines += _written(media)
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line of SDP cannot hold {line!r}")
    return "".join(f"{line}\r\n" for line in lines)


def _written(media: MediaDescription) -> Iterator[str]:
    yield f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"
    yield "c=IN IP4 0.0.0.0"
    if media.mid:
        yield f"a=mid:{media.mid}"
    for candidate in media.candidates:
        yield f"a=candidate:{candidate}"
    if media.end_of_candidates:
        yield "a=end-of-candidates"
    if media.ufrag:
        yield f"a=ice-ufrag:{media.ufrag}"
        yield f"a=ice-pwd:{media.pwd}"
    for algorithm, digest in media.fingerprints:
        yield f"a=fingerprint:{algorithm} {digest}"
    if media.setup:
        yield f"a=setup:{media.setup}"
    yield f"a={media.direction}"
    if media.bundle_only:
        yield "a=bundle-only"
    if media.rtcp_mux:
        yield "a=rtcp-mux"
    if media.rtcp_rsize:
        yield "a=rtcp-rsize"
    for uri, number in media.extensions.items():
        yield f"a=extmap:{number} {uri}"
    if media.msid is not None:
        yield f"a=msid:{' '.join(media.msid).strip()}"
    for codec in media.codecs:
        yield from _codec(codec)
        rtx = media.rtx.get(codec.payload_type)
        if rtx is not None:
            yield f"a=rtpmap:{rtx} rtx/{codec.clock_rate}"
            yield f"a=fmtp:{rtx} apt={codec.payload_type}"
    for rid, direction in media.rids:
        yield f"a=rid:{rid} {direction}"
    simulcast = [("send", media.simulcast_send), ("recv", media.simulcast_recv)]
    words = [f"{direction} {';'.join(rids)}" for direction, rids in simulcast if rids]
    if words:
        yield f"a=simulcast:{' '.join(words)}"
    for ssrc, rtx_ssrc in media.fid.items():
        yield f"a=ssrc-group:FID {ssrc} {rtx_ssrc}"
    for ssrc, cname in media.ssrcs.items():
        yield f"a=ssrc:{ssrc} cname:{cname}"
    if media.sctp_port is not None:
        yield f"a=sctp-port:{media.sctp_port}"


def _codec(codec: Codec) -> Iterator[str]:
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    yield f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{channels}"
    for feedback in codec.feedback:
        yield f"a=rtcp-fb:{codec.payload_type} {feedback}"
    if codec.parameters:
        pairs = (f"{key}={value}" if value else key for key, value in codec.parameters.items())
        yield f"a=fmtp:{codec.payload_type} {';'.join(pairs)}"
