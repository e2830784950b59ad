"""What the clients of a benchmark say in SDP, like Chromium: VP8 with retransmission, and perhaps Opus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RtclabError
from ..rtp import extensions
from ..signaling.sdp import Codec, MediaDescription, SessionDescription, parse, write
from ..transport.ice import Credentials

VP8, RTX, OPUS = 96, 97, 111  # payload types of our offers
MID_ID, TIME_ID, SEQUENCE_ID = 4, 2, 3  # header extension ids of our offers
_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


@dataclass(frozen=True)
class Local:
    """One client's side: its ICE credentials, its certificate's SHA-256, and its port on loopback."""

    ice: Credentials
    fingerprint: str
    port: int


@dataclass(frozen=True)
class PayloadTypes:
    """What a session has negotiated."""

    vp8: int = VP8
    rtx: int = RTX
    opus: int = OPUS


@dataclass(frozen=True)
class Remote:
    """The server's side.

    Attributes
    ----------
    ice : Credentials
        Its ufrag and password.
    fingerprints : tuple of (algorithm, value)
        Of its certificate.
    setup : str
        Its DTLS role: ``"passive"``, ``"active"`` or ``"actpass"``.
    address : tuple of (str, int)
        Where it waits.
    payload_types : PayloadTypes
        Of the session.
    controlling : bool
        Whether the server nominates; else the client does.
    mids : tuple of str
        Of the m-lines.
    """

    ice: Credentials
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    address: tuple[str, int]
    payload_types: PayloadTypes
    controlling: bool
    mids: tuple[str, ...]


@dataclass(frozen=True)
class Sending:
    """SSRCs of a publisher."""

    video: int
    video_rtx: int
    audio: int


def describe(
    local: Local,
    kinds: Sequence[str],
    *,
    sending: Sending | None = None,
    setup: str = "actpass",
    payload_types: PayloadTypes | None = None,
    mids: Sequence[str] = ("0", "1"),
) -> str:
    """An offer or answer that sends (with `sending`) or receives one stream of each kind.

    Parameters
    ----------
    local : Local
        Who says it.
    kinds : sequence of str
        ``"video"``, ``"audio"``: the m-lines.
    sending : Sending, optional
        SSRCs of what is sent; None for a viewer.
    setup : str
        The DTLS role.
    payload_types : PayloadTypes, optional
        Those of the offer that this answers.
    mids : sequence of str
        Of each m-line.
    """
    types = payload_types or PayloadTypes()
    uris = {extensions.MID: MID_ID, extensions.ABS_SEND_TIME: TIME_ID}
    if sending is not None:
        uris[extensions.TRANSPORT_SEQUENCE] = SEQUENCE_ID
    media = []
    for kind, mid in zip(kinds, mids, strict=False):
        video = kind == "video"
        ssrcs: dict[int, str] = {}
        if sending is not None:
            ssrcs = dict.fromkeys((sending.video, sending.video_rtx) if video else (sending.audio,), "bench")
        codec = (
            Codec(types.vp8, "VP8", 90000, 1, {}, _FEEDBACK)
            if video
            else Codec(types.opus, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"})
        )
        media.append(
            MediaDescription(
                kind,
                mid,
                formats=(str(types.vp8), str(types.rtx)) if video else (str(types.opus),),
                direction="sendonly" if sending is not None else "recvonly",
                codecs=(codec,),
                rtx={types.vp8: types.rtx} if video else {},
                extensions=uris,
                ssrcs=ssrcs,
                fid={sending.video: sending.video_rtx} if video and sending is not None else {},
                msid=("bench", kind) if sending is not None else None,
                ufrag=local.ice.ufrag,
                pwd=local.ice.pwd,
                fingerprints=(("sha-256", local.fingerprint),),
                setup=setup,
                candidates=(f"1 1 udp 2130706431 127.0.0.1 {local.port} typ host",),
                end_of_candidates=True,
                rtcp_mux=True,
                rtcp_rsize=True,
            )
        )
    return write(SessionDescription(tuple(media), tuple(mids[: len(media)]), session_id=1, version=1))


def read(text: str, controlling: bool = False) -> Remote:
    """What a server's offer or answer says.

    Raises
    ------
    rtclab.errors.RtclabError
        It has no IPv4 UDP candidate, or no ICE credentials.
    """
    description = parse(text)
    found: dict[str, int] = {}
    for section in description.media:
        for codec in section.codecs:
            found.setdefault(codec.name.lower(), codec.payload_type)
            if codec.payload_type in section.rtx and codec.name == "VP8":
                found["rtx"] = section.rtx[codec.payload_type]
    first = description.media[0]
    address = None
    for candidate in first.candidates:
        fields = candidate.split()
        usable = len(fields) >= 6 and fields[2].lower() == "udp" and ":" not in fields[4]
        if usable and (address is None or fields[4] == "127.0.0.1"):
            address = fields[4], int(fields[5])
    if address is None or not first.ufrag:
        raise RtclabError("the server's SDP has no IPv4 UDP candidate or no ICE credentials")
    return Remote(
        Credentials(first.ufrag, first.pwd),
        first.fingerprints,
        first.setup or "actpass",
        address,
        PayloadTypes(found.get("vp8", VP8), found.get("rtx", RTX), found.get("opus", OPUS)),
        controlling,
        tuple(section.mid for section in description.media),
    )
