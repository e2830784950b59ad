"""SDP: what real offers say, what is refused and why, and that writing is the inverse of parsing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.errors import NegotiationError
from rtclab.signaling.messages import MAX_SDP
from rtclab.signaling.sdp import Codec, MediaDescription, SessionDescription, parse, write

HERE = Path(__file__).parent
CHROMIUM = (HERE / "chromium_156_offer.sdp").read_bytes().decode()
FFMPEG = (HERE / "ffmpeg_8_offer.sdp").read_bytes().decode()
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
DIGEST = ":".join(["AB"] * 32)


def section(*attributes: str, line: str = "m=video 9 UDP/TLS/RTP/SAVPF 96", mid: str = "0") -> str:
    lines = [line, "c=IN IP4 0.0.0.0", f"a=mid:{mid}", *(f"a={attribute}" for attribute in attributes)]
    return "".join(f"{text}\r\n" for text in lines)


def media(*attributes: str, line: str = "m=video 9 UDP/TLS/RTP/SAVPF 96") -> MediaDescription:
    (described,) = parse(HEAD + section(*attributes, line=line)).media
    return described


def test_a_chromium_offer() -> None:
    offer = parse(CHROMIUM)
    assert offer.bundle == ("0", "1", "2", "3")
    assert offer.mixed_extensions
    assert not offer.ice_lite
    assert offer.version == 2
    audio, video, received, data = offer.media
    assert [entry.kind for entry in offer.media] == ["audio", "video", "video", "application"]
    assert [entry.direction for entry in offer.media[:3]] == ["sendonly", "sendonly", "recvonly"]
    assert audio.codecs[0] == Codec(
        111, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"}, ("transport-cc",)
    )
    assert len(audio.ssrcs) == 1
    assert audio.msid is not None
    assert video.ssrcs == {}
    assert video.rids == (("q", "send"), ("h", "send"), ("f", "send"))
    assert video.simulcast_send == ("q", "h", "f")
    assert video.codecs[0] == Codec(
        96, "VP8", 90000, 1, {}, ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
    )
    assert video.rtx[96] == 97
    assert "rtx" not in {codec.name for codec in video.codecs}
    assert video.extensions["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"] == 10
    assert {codec.name for codec in received.codecs} >= {"VP8", "VP9", "H264", "AV1"}
    assert data.sctp_port == 5000
    assert data.codecs == ()
    assert all(len(entry.ufrag) == 4 and entry.setup == "actpass" for entry in offer.media)
    assert all(entry.fingerprints[0][0] == "sha-256" for entry in offer.media)
    assert audio.candidates[0].endswith("typ host generation 0 network-id 3 network-cost 50")


def test_an_ffmpeg_offer() -> None:
    offer = parse(FFMPEG)
    audio, video = offer.media
    assert audio.setup == video.setup == "passive"
    assert video.codecs[0].name == "H264"
    assert video.codecs[0].feedback == ("nack",)
    assert video.rtx == {106: 105}
    ((ssrc, rtx),) = video.fid.items()
    assert ssrc in video.ssrcs
    assert rtx == ssrc + 1


def test_line_ends_and_blank_lines_do_not_matter() -> None:
    assert parse(CHROMIUM.replace("\r\n", "\n")) == parse(CHROMIUM) == parse(CHROMIUM + "\r\n\r\n")


def test_the_session_speaks_for_its_sections() -> None:
    head = f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:SHA-256 {DIGEST.lower()}\r\n"
    head += "a=setup:active\r\na=recvonly\r\n"
    own = section("ice-ufrag:other", "sendonly", mid="1")
    first, second = parse(HEAD + head + section() + own).media
    assert (first.ufrag, first.pwd, first.setup, first.direction) == ("abcd", "p" * 22, "active", "recvonly")
    assert first.fingerprints == (("sha-256", DIGEST),)
    assert (second.ufrag, second.direction) == ("other", "sendonly")


def test_feedback_for_every_codec() -> None:
    assert media("rtpmap:96 VP8/90000", "rtcp-fb:* nack", "rtcp-fb:96 nack  pli").codecs[0].feedback == (
        "nack",
        "nack pli",
    )


def test_codecs_are_in_the_order_of_the_m_line() -> None:
    described = media(
        "rtpmap:96 vp8/90000",
        "rtpmap:98 h264/90000",
        "rtpmap:99 RTX/90000",
        "fmtp:99 apt=98",
        "rtpmap:100 rtx/90000",
        "fmtp:100 apt=101",
        "rtpmap:120 unused/90000",
        line="m=video 9 UDP/TLS/RTP/SAVPF 98 99 96 100 0",
    )
    assert [(codec.payload_type, codec.name) for codec in described.codecs] == [(98, "H264"), (96, "VP8")]
    assert described.rtx == {98: 99}


def test_format_parameters() -> None:
    (codec,) = media(
        "rtpmap:96 H264/90000", "fmtp:96 Profile-Level-Id=42E01F; packetization-mode=1;flag"
    ).codecs
    assert codec.parameters == {"profile-level-id": "42E01F", "packetization-mode": "1", "flag": ""}


@pytest.mark.parametrize(
    ("value", "layers"),
    [
        ("send q;h;f", ("q", "h", "f")),
        ("send f;~h;~q", ("f", "h", "q")),
        ("send 1,2;~3,4", ("1", "3")),
        ("recv x send q;h", ("q", "h")),
        ("recv x", ()),
    ],
)
def test_simulcast(value: str, layers: tuple[str, ...]) -> None:
    assert media(f"simulcast:{value}").simulcast_send == layers


def test_port_zero_means_stopped_unless_bundle_only() -> None:
    stopped = media(line="m=video 0 UDP/TLS/RTP/SAVPF 96")
    assert stopped.rejected
    assert not media("bundle-only", line="m=video 0 UDP/TLS/RTP/SAVPF 96").rejected


def test_unknown_hashes_are_skipped() -> None:
    assert media("fingerprint:md5 AB:CD", f"fingerprint:sha-256 {DIGEST}").fingerprints == (
        ("sha-256", DIGEST),
    )


def test_only_the_first_bundle_group_counts() -> None:
    text = HEAD + "a=group:LS 0\r\na=group:BUNDLE 0\r\na=group:BUNDLE\r\n" + section()
    assert parse(text).bundle == ("0",)


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("rtpmap:abc VP8/90000", "'abc' is no number up to 127"),
        ("rtpmap:128 VP8/90000", "'128' is no number"),
        ("rtpmap:96 VP8", "a name and a clock rate"),
        ("rtpmap:96 /90000", "a name of 1 to 64"),
        ("rtpmap:96 VP8/\uff19", "is no number"),
        ("fmtp:x a=b", "'x' is no number"),
        ("rtcp-fb:x nack", "'x' is no number"),
        ("extmap:urn:x", "an id and a URI"),
        ("extmap:-1 urn:x", "'-1' is no number"),
        ("rid:q", "send or recv"),
        ("rid:q both", "send or recv"),
        ("simulcast:q;h", "send or recv and a list"),
        ("simulcast:both q;h", "send or recv is expected"),
        ("simulcast:send q;;h", "a name of 1 to 64"),
        ("ssrc:4294967296 cname:x", "is no number"),
        ("ssrc-group:FID 1 x", "'x' is no number"),
        ("msid:", "a stream"),
        ("mid:a b", "a name of 1 to 64"),
        ("setup:maybe", "one of actpass"),
        ("ice-ufrag:" + "x" * 257, "1 to 256"),
        ("ice-pwd:a b", "1 to 256"),
        ("fingerprint:sha-256 AB:CD", "32 bytes in hexadecimal"),
        (f"fingerprint:sha-256 {DIGEST[:-1]}G", "32 bytes in hexadecimal"),
        ("sctp-port:70000", "is no number up to 65535"),
        ("x\x00y", "a control character"),
    ],
)
def test_a_wrong_line_is_named(attribute: str, said: str) -> None:
    with pytest.raises(NegotiationError) as caught:
        parse(HEAD + section(attribute))
    assert caught.value.code == "bad_sdp"
    assert said in str(caught.value)
    assert "line 8 of the SDP" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "must begin with"),
        ("v=1\r\n", "must begin with"),
        ("v=0\r\n", "no line 'o='"),
        ("v=0\r\no=- 1\r\n", "id and version"),
        ("v=0\r\no=- x 1 IN IP4 0.0.0.0\r\n", "is no number"),
        (HEAD + "hello\r\n", "a letter, '=' and a value"),
        (HEAD + "m=video 9\r\na=mid:0\r\n", "kind, port, protocol and formats"),
        (HEAD + "m=video x UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n", "'x' is no number"),
        (HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "no a=mid"),
        (HEAD + "m=video 9 UDP/TLS/RTP/SAVPF x\r\na=mid:0\r\n", "'x' is no number"),
        (HEAD + section() + section(), "same a=mid"),
        (HEAD + "a=group:BUNDLE 0 1\r\n" + section(), "no m-line has the mid '1'"),
        (HEAD + "".join(section(mid=str(number)) for number in range(257)), "more than 256 m-lines"),
        (HEAD + "a=" + "x" * MAX_SDP, "longer than 128 KiB"),
    ],
)
def test_a_wrong_description_is_refused(text: str, said: str) -> None:
    with pytest.raises(NegotiationError, match=said.replace("(", r"\(")) as caught:
        parse(text)
    assert caught.value.code == "bad_sdp"


def test_a_long_line_is_shown_short() -> None:
    with pytest.raises(NegotiationError) as caught:
        parse(HEAD + section("rtpmap:" + "9" * 10_000))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", [CHROMIUM, FFMPEG], ids=["chromium", "ffmpeg"])
def test_what_is_written_is_read_back(text: str) -> None:
    kept = parse(write(parse(text)))
    assert parse(write(kept)) == kept
    assert [entry.codecs for entry in kept.media] != []


def test_a_line_cannot_be_smuggled_in() -> None:
    evil = MediaDescription("video", "0", msid=("stream", "track\r\na=setup:active"))
    with pytest.raises(ValueError, match="cannot hold"):
        write(SessionDescription((evil,)))


TOKENS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="~,;:/="), min_size=1, max_size=8
)
CODECS = st.builds(
    Codec,
    st.integers(35, 63),
    TOKENS.filter(lambda name: name.lower() not in ("opus", "vp8", "vp9", "h264", "av1", "rtx")),
    st.integers(1, 2**32 - 1),
    st.integers(1, 255),
    st.dictionaries(TOKENS.map(str.lower), TOKENS, max_size=3),
    st.lists(TOKENS, max_size=3, unique=True).map(tuple),
)
SSRCS = st.integers(0, 2**32 - 1)


@st.composite
def descriptions(draw: st.DrawFn) -> SessionDescription:
    sections = []
    for mid in draw(st.lists(TOKENS, max_size=3, unique=True)):
        codecs = draw(st.lists(CODECS, min_size=1, max_size=3, unique_by=lambda codec: codec.payload_type))
        rtx = {codec.payload_type: codec.payload_type + 61 for codec in codecs if draw(st.booleans())}
        formats = [
            str(number)
            for codec in codecs
            for number in (codec.payload_type, rtx.get(codec.payload_type))
            if number
        ]
        rids = draw(st.lists(TOKENS, max_size=3, unique=True))
        sections.append(
            MediaDescription(
                kind=draw(st.sampled_from(["audio", "video"])),
                mid=mid,
                port=draw(st.integers(0, 65535)),
                formats=tuple(formats),
                direction=draw(st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])),
                codecs=tuple(codecs),
                rtx=rtx,
                extensions=draw(st.dictionaries(TOKENS, st.integers(1, 255), max_size=3)),
                rids=tuple((rid, draw(st.sampled_from(["send", "recv"]))) for rid in rids),
                simulcast_send=tuple(rids),
                simulcast_recv=tuple(draw(st.lists(TOKENS, max_size=2, unique=True))),
                ssrcs=draw(st.dictionaries(SSRCS, TOKENS, max_size=3)),
                fid=draw(st.dictionaries(SSRCS, SSRCS, max_size=2)),
                msid=draw(st.none() | st.tuples(TOKENS, TOKENS | st.just(""))),
                ufrag=draw(TOKENS),
                pwd=draw(TOKENS),
                fingerprints=draw(st.sampled_from([(), (("sha-256", DIGEST),)])),
                setup=draw(st.sampled_from(["", "actpass", "active", "passive"])),
                candidates=tuple(draw(st.lists(TOKENS, max_size=2))),
                end_of_candidates=draw(st.booleans()),
                rtcp_mux=draw(st.booleans()),
                rtcp_rsize=draw(st.booleans()),
                bundle_only=draw(st.booleans()),
            )
        )
    mids = [entry.mid for entry in sections]
    return SessionDescription(
        tuple(sections),
        tuple(mid for mid in mids if draw(st.booleans())),
        draw(st.booleans()),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.booleans()),
    )


@settings(deadline=None)
@given(descriptions())
def test_parse_is_the_inverse_of_write(description: SessionDescription) -> None:
    assert parse(write(description)) == description
