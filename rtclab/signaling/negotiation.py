"""Reading an offer and answering it (RFC 3264, JSEP RFC 9429), from the side of a room.

The room is one ICE agent for each client, so everything of a client is bundled on one transport. The
client's m-lines are either published (the room receives) or received (the room sends); the answer keeps
their order. A published m-line is answered with the one codec chosen for it, a received one with every
codec that can be forwarded, so that another track can be spliced in without a new offer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ..errors import NegotiationError
from ..rtp import extensions as uris
from .codecs import FORWARDED, decodes, forwarded, rarity, same_variant
from .sdp import Codec, MediaDescription, SessionDescription, parse, write

FEEDBACK: Final = ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")
# The same for received m-lines, where most are not used: what was refused once, Chromium never offers
# again, not even on a later m-line of that kind, and then it fails to offer simulcast.
EXTENSIONS: Final = (
    uris.MID,
    uris.RID,
    uris.REPAIRED_RID,
    uris.ABS_SEND_TIME,
    uris.TRANSPORT_SEQUENCE,
    uris.AUDIO_LEVEL,
)


@dataclass(frozen=True, slots=True)
class RemoteFields:
    """What the client says of its end of the transport; a lite room needs no candidates."""

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalFields:
    """The room's end: `fingerprint` is the SHA-256 in hexadecimal, `candidates` are `candidate:...` lines.

    `lite` says whether its ICE is.
    """

    ufrag: str
    pwd: str
    fingerprint: str
    setup: str
    candidates: Sequence[str]
    lite: bool = True


@dataclass(frozen=True, slots=True)
class Publishing:
    """An m-line on which the client sends.

    `codecs` are the ones rtclab forwards, in the client's order; `rtx` maps a payload type to that of its
    RTX; `rids` are the simulcast layers in order, empty without simulcast; `ssrcs` may be empty,
    `rtx_ssrcs` maps an SSRC to that of its RTX; `extensions` maps the URIs that the answer accepts to their
    ids.
    """

    mid: str
    kind: str
    codecs: tuple[Codec, ...]
    rtx: dict[int, int]
    rids: tuple[str, ...]
    ssrcs: tuple[int, ...]
    rtx_ssrcs: dict[int, int]
    extensions: dict[str, int]
    transport_cc: bool
    remb: bool


@dataclass(frozen=True, slots=True)
class Receiving:
    """An m-line on which the client receives; fields as in `Publishing`."""

    mid: str
    kind: str
    codecs: tuple[Codec, ...]
    rtx: dict[int, int]
    extensions: dict[str, int]
    remb: bool


@dataclass(frozen=True, slots=True)
class DataChannel:
    """The m-line of the data channels."""

    mid: str
    sctp_port: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """An m-line without media: `code` is ``"inactive"``, ``"stopped"``, or the error code of its refusal."""

    mid: str
    kind: str
    code: str
    message: str


Section: TypeAlias = Publishing | Receiving | DataChannel | Unusable


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as the room sees it.

    Attributes
    ----------
    remote : RemoteFields or None
        The client's end of the transport; ``None`` when no m-line could use one (all are stopped or refused).
    sections : list of Section
        In the order of the m-lines.
    transport_mid : str or None
        The m-line that `remote` was read from; the answer cannot stop it.
    description : SessionDescription
        The whole offer.
    """

    remote: RemoteFields | None
    sections: list[Section]
    transport_mid: str | None
    description: SessionDescription


@dataclass(frozen=True, slots=True)
class AcceptPublish:
    """Receive what the m-line sends, with one codec; `rtx` is the payload type of its RTX."""

    codec: Codec
    rtx: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptReceive:
    """Send on the m-line; for the client, `participant_id` is the stream and `track_id` the track."""

    ssrc: int
    rtx_ssrc: int | None
    cname: str
    track_id: str
    participant_id: str


@dataclass(frozen=True, slots=True)
class Inactive:
    """Keep the m-line, send and receive nothing."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Stop the m-line."""


Decision: TypeAlias = AcceptPublish | AcceptReceive | Inactive | Reject


def read_offer(text: str, tracks: Iterable[Mapping[str, object]] = ()) -> Offer:
    """Read a client's offer.

    Parameters
    ----------
    text : str
        The SDP.
    tracks : iterable of mapping, optional
        The `tracks` of the offer message. A `sendrecv` m-line is published unless it is listed here as
        received.

    Raises
    ------
    rtclab.errors.NegotiationError
        The SDP is malformed, or has no ICE credentials, fingerprint or DTLS role.
    """
    description = parse(text)
    if description.ice_lite:
        raise NegotiationError("bad_sdp", "the offer is ICE-lite and so is the room: one side must not be")
    received = {track.get("mid") for track in tracks if track.get("direction") == "receive"}
    sections = [_section(media, media.mid in received) for media in description.media]
    bundled = description.bundle
    if not bundled:  # a single m-line needs no group
        bundled = tuple(section.mid for section in sections if not _refused(section))[:1]
    for index, section in enumerate(sections):
        if not _refused(section) and section.mid not in bundled:
            sections[index] = Unusable(
                section.mid,
                description.media[index].kind,
                "bad_sdp",
                "every m-line must be in one BUNDLE group",
            )
    by_mid = {section.mid: section for section in sections}
    usable = [mid for mid in bundled if not _refused(by_mid[mid])]
    # data channels are refused for now, so they cannot be what the transport hangs on
    usable = [mid for mid in usable if not isinstance(by_mid[mid], DataChannel)]
    if not usable:
        return Offer(None, sections, None, description)
    media = next(media for media in description.media if media.mid == usable[0])
    return Offer(_remote(media), sections, media.mid, description)


def _remote(media: MediaDescription) -> RemoteFields:
    if not media.ufrag or not media.pwd:
        raise NegotiationError("bad_sdp", "the offer has no a=ice-ufrag or no a=ice-pwd")
    if not media.fingerprints:
        raise NegotiationError("bad_sdp", "the offer has no a=fingerprint with a known hash")
    if media.setup not in ("actpass", "active", "passive"):
        raise NegotiationError("bad_sdp", "the offer has no a=setup:actpass, active or passive")
    return RemoteFields(media.ufrag, media.pwd, media.fingerprints, media.setup, media.candidates)


def _refused(section: Section) -> bool:
    """Whether nothing but port 0 can answer this section."""
    return isinstance(section, Unusable) and section.code != "inactive"


def _section(media: MediaDescription, listed_as_received: bool) -> Section:
    def unusable(code: str, message: str) -> Unusable:
        return Unusable(media.mid, media.kind, code, message)

    if media.rejected:
        return unusable("stopped", "the client stopped this m-line")
    if media.kind == "application" and "SCTP" in media.protocol:
        return DataChannel(media.mid, media.sctp_port or 5000)
    names = FORWARDED.get(media.kind)
    if names is None or "RTP/SAVP" not in media.protocol:
        return unusable("bad_sdp", f"{media.kind} over {media.protocol} is not supported")
    if not media.rtcp_mux:
        return unusable("bad_sdp", "this m-line has no a=rtcp-mux")
    codecs = forwarded(media.kind, media.codecs)
    if not codecs:
        return unusable("no_codec", f"none of its codecs is {' or '.join(names)}")
    if media.direction == "inactive":
        return unusable("inactive", "nothing is sent on this m-line")
    feedback = {kind for codec in codecs for kind in codec.feedback}
    rtx = {
        codec.payload_type: media.rtx[codec.payload_type]
        for codec in codecs
        if codec.payload_type in media.rtx
    }
    receiving = media.direction == "recvonly" or (media.direction == "sendrecv" and listed_as_received)
    extensions = _extensions(media)
    remb = "goog-remb" in feedback
    if receiving:
        return Receiving(media.mid, media.kind, codecs, rtx, extensions, remb)
    retransmissions = set(media.fid.values())
    return Publishing(
        mid=media.mid,
        kind=media.kind,
        codecs=codecs,
        rtx=rtx,
        rids=_rids(media),
        ssrcs=tuple(ssrc for ssrc in media.ssrcs if ssrc not in retransmissions),
        rtx_ssrcs=dict(media.fid),
        extensions=extensions,
        transport_cc="transport-cc" in feedback and uris.TRANSPORT_SEQUENCE in extensions,
        remb=remb,
    )


def _extensions(media: MediaDescription) -> dict[str, int]:
    return {uri: media.extensions[uri] for uri in EXTENSIONS if uri in media.extensions}


def _rids(media: MediaDescription) -> tuple[str, ...]:
    offered = {rid for rid, direction in media.rids if direction == "send"}
    return tuple(rid for rid in media.simulcast_send if rid in offered)


def choose_codec(
    publishing: Publishing, preferred: Sequence[str], playable: Iterable[Collection[str]]
) -> Codec:
    """Choose the codec in which a client is to publish.

    Parameters
    ----------
    publishing : Publishing
        The m-line.
    preferred : sequence of str
        Codec names, best first; the client's own order decides among the rest.
    playable : iterable of collection of str
        For each viewer, the names of the codecs it can play.

    Returns
    -------
    Codec
        One that every viewer can play if there is such a one, else one that leaves out the fewest viewers.

    Raises
    ------
    rtclab.errors.NegotiationError
        With the code `no_codec`: the client offers nothing that rtclab forwards.
    """
    viewers = [{name.lower() for name in names} for names in playable]
    order = [name.lower() for name in (*preferred, *(codec.name for codec in publishing.codecs))]

    def rank(codec: Codec) -> tuple[int, int, int]:
        name = codec.name.lower()
        left_out = sum(name not in names for names in viewers)
        return left_out, order.index(name), rarity(codec)

    if not publishing.codecs:
        names = " or ".join(FORWARDED.get(publishing.kind, ()))
        raise NegotiationError(
            "no_codec", f"the {publishing.kind} of m-line {publishing.mid} must be {names}"
        )
    return min(publishing.codecs, key=rank)  # the first of equals, in the client's order


def payload_type_for(producer_codec: Codec, receiving: Receiving) -> tuple[int | None, int | None]:
    """Find the payload types with which a client receives what is published as `producer_codec`.

    H264 must agree in packetization mode and profile, at any level; VP9 and AV1 must agree in profile.

    Returns
    -------
    tuple
        Payload type of the media and of its RTX; both ``None`` if the client cannot play it.
    """
    same = [codec for codec in receiving.codecs if decodes(codec, producer_codec)]
    if not same:
        return None, None
    same.sort(key=lambda codec: not same_variant(codec, producer_codec))
    return same[0].payload_type, receiving.rtx.get(same[0].payload_type)


def build_answer(offer: Offer, decisions: Mapping[str, Decision], local: LocalFields) -> str:
    """Write the answer to `offer`.

    Parameters
    ----------
    offer : Offer
        From `read_offer`.
    decisions : mapping of str to Decision
        What happens to each mid. Without a decision, audio and video are kept inactive and data channels
        refused; what the client stopped, or what cannot be used at all, is refused whatever is decided.
    local : LocalFields
        The room's end of the transport.

    Raises
    ------
    ValueError
        A decision does not fit its m-line: the caller's mistake, never the client's.
    """
    answered = []
    for media, section in zip(offer.description.media, offer.sections, strict=True):
        decision = decisions.get(media.mid, Inactive())
        if _refused(section) or isinstance(section, DataChannel):
            decision = Reject()
        elif isinstance(decision, Reject) and media.mid == offer.transport_mid:
            decision = Inactive()  # stopping it would take the transport of all the others with it
        answered.append(_answer(media, section, decision, local))
    kept = {media.mid for media in answered if not media.rejected}
    return write(
        SessionDescription(
            tuple(answered),
            bundle=tuple(mid for mid in offer.description.bundle if mid in kept),
            ice_lite=local.lite,
            session_id=offer.description.session_id,
            version=offer.description.version,  # a new offer has a new version, so has its answer
            mixed_extensions=offer.description.mixed_extensions,
        )
    )


def _answer(
    media: MediaDescription, section: Section, decision: Decision, local: LocalFields
) -> MediaDescription:
    answer = MediaDescription(media.kind, media.mid, protocol=media.protocol, direction="inactive")
    if isinstance(decision, Reject):
        return replace(answer, port=0, formats=media.formats[:1])
    candidates = tuple(line.removeprefix("a=").removeprefix("candidate:") for line in local.candidates)
    answer = replace(
        answer,
        ufrag=local.ufrag,
        pwd=local.pwd,
        fingerprints=(("sha-256", local.fingerprint.removeprefix("sha-256 ")),),
        setup=local.setup,
        candidates=candidates,  # on every m-line: aiortc reads those of the last one of a bundle
        end_of_candidates=True,
        rtcp_mux=True,
        rtcp_rsize=media.rtcp_rsize,
    )
    codecs = forwarded(media.kind, media.codecs)
    if isinstance(decision, AcceptPublish):
        if not isinstance(section, Publishing) or decision.codec not in codecs:
            raise ValueError(f"m-line {media.mid} does not offer to send {decision.codec.name}")
        rtx = {} if decision.rtx is None else {decision.codec.payload_type: decision.rtx}
        answer = _with_codecs(replace(answer, direction="recvonly"), media, (decision.codec,), rtx, FEEDBACK)
    elif isinstance(decision, AcceptReceive):
        if not isinstance(section, Receiving):
            raise ValueError(f"m-line {media.mid} does not offer to receive")
        ssrcs = {decision.ssrc: decision.cname}
        fid = {}
        if decision.rtx_ssrc is not None:
            ssrcs[decision.rtx_ssrc] = decision.cname
            fid[decision.ssrc] = decision.rtx_ssrc
        msid = (decision.participant_id, decision.track_id)
        answer = replace(answer, direction="sendonly", ssrcs=ssrcs, fid=fid, msid=msid)
        # the room numbers no packets across m-lines, so the client has nothing to report on
        return _with_codecs(answer, media, codecs, section.rtx, set(FEEDBACK) - {"transport-cc"})
    else:
        answer = _with_codecs(answer, media, codecs, media.rtx, FEEDBACK)
    # also while inactive: a layer that an answer leaves out is gone for good
    rids = _rids(media)
    return replace(answer, rids=tuple((rid, "recv") for rid in rids), simulcast_recv=rids)


def _with_codecs(
    answer: MediaDescription,
    media: MediaDescription,
    codecs: Iterable[Codec],
    rtx: Mapping[int, int],
    feedback: Collection[str],
) -> MediaDescription:
    accepted = tuple(
        replace(codec, feedback=tuple(kind for kind in codec.feedback if kind in feedback))
        for codec in codecs
    )
    repaired = {
        codec.payload_type: rtx[codec.payload_type] for codec in accepted if codec.payload_type in rtx
    }
    formats: list[str] = []
    for codec in accepted:
        formats.append(str(codec.payload_type))
        if codec.payload_type in repaired:
            formats.append(str(repaired[codec.payload_type]))
    return replace(
        answer, codecs=accepted, rtx=repaired, formats=tuple(formats), extensions=_extensions(media)
    )
