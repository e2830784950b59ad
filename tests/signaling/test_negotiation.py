"""Reading offers and building answers, on captured offers of Chromium and FFmpeg; only typed errors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.errors import NegotiationError
from rtclab.rtp import extensions as uris
from rtclab.signaling.negotiation import (
    AcceptPublish,
    AcceptReceive,
    DataChannel,
    Decision,
    Inactive,
    LocalFields,
    Offer,
    Publishing,
    Receiving,
    Reject,
    Unusable,
    build_answer,
    choose_codec,
    payload_type_for,
    read_offer,
)
from rtclab.signaling.sdp import Codec, MediaDescription, parse

HERE = Path(__file__).parent
CHROMIUM = (HERE / "chromium_156_offer.sdp").read_bytes().decode()
FFMPEG = (HERE / "ffmpeg_8_offer.sdp").read_bytes().decode()
LOCAL = LocalFields(
    "room", "p" * 24, ":".join(["A5"] * 32), "passive", ["candidate:1 1 udp 1 127.0.0.1 9 typ host"]
)


def publishing(offer: Offer, index: int = 1) -> Publishing:
    section = offer.sections[index]
    assert isinstance(section, Publishing)
    return section


def receiving(offer: Offer, index: int = 2) -> Receiving:
    section = offer.sections[index]
    assert isinstance(section, Receiving)
    return section


def accept_all(offer: Offer) -> dict[str, Decision]:
    decisions: dict[str, Decision] = {}
    for section in offer.sections:
        if isinstance(section, Publishing):
            codec = choose_codec(section, ["VP8"], [])
            decisions[section.mid] = AcceptPublish(codec, section.rtx.get(codec.payload_type))
        elif isinstance(section, Receiving):
            decisions[section.mid] = AcceptReceive(11, 12, "cname", "track", "alice")
    return decisions


def answered(text: str, **changes: Decision) -> tuple[MediaDescription, ...]:
    offer = read_offer(text)
    return parse(build_answer(offer, {**accept_all(offer), **changes}, LOCAL)).media


def h264(payload_type: int, profile: str, mode: str = "1") -> Codec:
    parameters = {"packetization-mode": mode, "profile-level-id": profile}
    return Codec(payload_type, "H264", 90000, 1, parameters)


def test_reading_a_chromium_offer() -> None:
    offer = read_offer(CHROMIUM)
    assert offer.remote is not None
    assert (offer.remote.ufrag, offer.remote.setup) == ("BKNS", "actpass")
    assert offer.transport_mid == "0"
    audio = publishing(offer, 0)
    assert [codec.name for codec in audio.codecs] == ["opus"]
    assert len(audio.ssrcs) == 1
    video = publishing(offer)
    assert video.rids == ("q", "h", "f")
    assert video.transport_cc
    assert video.remb
    assert {codec.name for codec in video.codecs} == {"VP8", "VP9", "H264", "AV1"}
    assert video.extensions[uris.RID] == 10
    assert isinstance(offer.sections[2], Receiving)
    assert offer.sections[3] == DataChannel("3", 5000)


def test_reading_an_ffmpeg_offer() -> None:
    offer = read_offer(FFMPEG)
    assert offer.remote is not None
    assert offer.remote.setup == "passive"
    video = publishing(offer)
    assert video.rids == ()
    assert not video.transport_cc
    assert not video.remb
    assert video.rtx == {106: 105}
    (ssrc,) = video.ssrcs
    assert video.rtx_ssrcs == {ssrc: ssrc + 1}


def test_the_answer_mirrors_the_offer() -> None:
    audio, video, received, data = answered(CHROMIUM)
    assert [entry.mid for entry in (audio, video, received, data)] == ["0", "1", "2", "3"]
    assert [entry.direction for entry in (audio, video, received)] == ["recvonly", "recvonly", "sendonly"]
    assert [codec.name for codec in video.codecs] == ["VP8"]
    assert video.rtx == {96: 97}
    assert video.rids == (("q", "recv"), ("h", "recv"), ("f", "recv"))
    assert video.simulcast_recv == ("q", "h", "f")
    assert set(video.codecs[0].feedback) == {"nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"}
    assert set(received.codecs[0].feedback) == {"nack", "nack pli", "ccm fir", "goog-remb"}
    assert {codec.name for codec in received.codecs} == {"VP8", "VP9", "H264", "AV1"}
    assert received.ssrcs == {11: "cname", 12: "cname"}
    assert received.fid == {11: 12}
    assert received.msid == ("alice", "track")
    assert data.rejected


def test_the_transport_is_in_every_section() -> None:
    offer = read_offer(CHROMIUM)
    answer = parse(build_answer(offer, accept_all(offer), LOCAL))
    assert answer.ice_lite
    assert answer.bundle == ("0", "1", "2")
    for media in answer.media[:3]:
        assert media.candidates == ("1 1 udp 1 127.0.0.1 9 typ host",)
        assert media.end_of_candidates
        assert (media.ufrag, media.pwd, media.setup) == ("room", "p" * 24, "passive")
        assert media.fingerprints == (("sha-256", LOCAL.fingerprint),)
        assert media.rtcp_mux
        assert media.rtcp_rsize
    assert (answer.session_id, answer.version) == (parse(CHROMIUM).session_id, 2)


def test_candidates_may_be_given_as_attributes() -> None:
    for line in ("a=candidate:1 1 udp 1 ::1 9 typ host", "1 1 udp 1 ::1 9 typ host"):
        text = build_answer(read_offer(CHROMIUM), {}, replace(LOCAL, candidates=[line]))
        assert "\r\na=candidate:1 1 udp 1 ::1 9 typ host\r\n" in text


def test_an_ffmpeg_offer_is_answered() -> None:
    audio, video = answered(FFMPEG)
    assert audio.formats == ("111",)
    assert video.formats == ("106", "105")
    assert video.codecs[0].feedback == ("nack",)
    assert video.codecs[0].parameters["profile-level-id"] == "42000d"


def test_without_a_decision_nothing_flows() -> None:
    answer = parse(build_answer(read_offer(CHROMIUM), {}, LOCAL)).media
    assert [entry.direction for entry in answer] == ["inactive"] * 4
    assert [entry.rejected for entry in answer] == [False, False, False, True]
    assert answer[1].simulcast_recv == ("q", "h", "f")


def test_a_refused_section_keeps_its_place() -> None:
    answer = answered(CHROMIUM, **{"1": Reject()})
    assert [entry.rejected for entry in answer] == [False, True, False, True]
    assert answer[1].mid == "1"


def test_the_section_of_the_transport_is_only_paused() -> None:
    answer = answered(CHROMIUM, **{"0": Reject()})
    assert not answer[0].rejected
    assert answer[0].direction == "inactive"
    assert answer[0].candidates


@pytest.mark.parametrize(
    ("mid", "decision"),
    [
        ("0", AcceptReceive(1, None, "c", "t", "p")),
        ("2", AcceptPublish(Codec(96, "VP8", 90000))),
        ("1", AcceptPublish(Codec(77, "VP8", 90000))),
    ],
)
def test_a_decision_must_fit_its_section(mid: str, decision: Decision) -> None:
    with pytest.raises(ValueError, match="does not offer"):
        answered(CHROMIUM, **{mid: decision})


def test_both_directions_are_published_unless_listed_as_received() -> None:
    text = CHROMIUM.replace("a=sendonly", "a=sendrecv")
    assert isinstance(read_offer(text).sections[1], Publishing)
    offer = read_offer(text, [{"mid": "1", "direction": "receive", "track": None}])
    assert isinstance(offer.sections[1], Receiving)
    assert isinstance(offer.sections[0], Publishing)


@pytest.mark.parametrize(
    ("change", "index", "code"),
    [
        (("a=sendonly", "a=inactive"), 0, "inactive"),
        (("m=audio 52147 ", "m=audio 0 "), 0, "stopped"),
        (("opus/48000/2", "L16/48000/2"), 0, "no_codec"),
        (("opus/48000/2", "opus/8000/2"), 0, "no_codec"),
        (("a=rtcp-mux\r\n", ""), 0, "bad_sdp"),
        (("m=audio 52147 UDP/TLS/RTP/SAVPF", "m=audio 52147 RTP/AVP"), 0, "bad_sdp"),
        (("m=audio", "m=text"), 0, "bad_sdp"),
        (("a=group:BUNDLE 0 1 2 3", "a=group:BUNDLE 0 2 3"), 1, "bad_sdp"),
        (("a=group:BUNDLE 0 1 2 3\r\n", ""), 1, "bad_sdp"),
    ],
)
def test_what_cannot_be_used_says_why(change: tuple[str, str], index: int, code: str) -> None:
    offer = read_offer(CHROMIUM.replace(*change))
    section = offer.sections[index]
    assert isinstance(section, Unusable)
    assert section.code == code
    assert section.message
    answer = parse(build_answer(offer, {**accept_all(offer), section.mid: Inactive()}, LOCAL))
    assert answer.media[index].rejected == (code != "inactive")
    assert (section.mid in answer.bundle) == (code == "inactive" and bool(parse(CHROMIUM).bundle))


def test_the_transport_comes_from_the_first_usable_section() -> None:
    offer = read_offer(CHROMIUM.replace("m=audio 52147 ", "m=audio 0 "))
    assert offer.transport_mid == "1"
    answer = parse(build_answer(offer, accept_all(offer), LOCAL))
    assert answer.media[1].candidates
    assert answer.bundle == ("1", "2")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a=ice-ufrag:.*\r\n", "ice-ufrag"),
        ("a=ice-pwd:.*\r\n", "ice-pwd"),
        ("a=fingerprint:.*\r\n", "fingerprint"),
        ("a=setup:.*\r\n", "setup"),
    ],
)
def test_an_offer_needs_a_whole_transport(pattern: str, said: str) -> None:
    with pytest.raises(NegotiationError, match=said) as caught:
        read_offer(re.sub(pattern, "", CHROMIUM))
    assert caught.value.code == "bad_sdp"


def test_two_lite_agents_never_meet() -> None:
    with pytest.raises(NegotiationError, match="ICE-lite"):
        read_offer(CHROMIUM.replace("a=extmap-allow-mixed", "a=ice-lite"))


@pytest.mark.parametrize(
    ("preferred", "playable", "name"),
    [
        ([], [], "VP8"),
        (["VP8"], [{"VP8"}, {"VP8", "H264"}], "VP8"),
        (["H264", "VP8"], [{"VP8"}, {"VP8", "H264"}], "VP8"),
        (["VP8", "H264"], [{"H264"}], "H264"),
        (["AV1"], [{"vp8", "av1"}], "AV1"),
        (["VP9", "VP8"], [set()], "VP9"),
        (["H265"], [], "VP8"),
        (["VP8"], [{"H264"}, {"H264"}, {"VP8"}], "H264"),
    ],
)
def test_choosing_a_codec(preferred: list[str], playable: list[set[str]], name: str) -> None:
    assert choose_codec(publishing(read_offer(CHROMIUM)), preferred, playable).name == name


def test_the_variant_that_all_know_is_chosen() -> None:
    section = publishing(read_offer(CHROMIUM))
    codec = choose_codec(section, ["H264"], [])
    assert codec.parameters["profile-level-id"] == "42e01f"
    assert codec.parameters["packetization-mode"] == "1"
    assert choose_codec(section, ["VP9"], []).parameters == {"profile-id": "0"}


def test_no_codec_is_a_typed_error() -> None:
    section = replace(publishing(read_offer(CHROMIUM)), codecs=())
    with pytest.raises(NegotiationError, match="VP8 or H264 or VP9 or AV1") as caught:
        choose_codec(section, ["VP8"], [])
    assert caught.value.code == "no_codec"


@pytest.mark.parametrize(
    ("sent", "payload_types"),
    [
        (Codec(120, "VP8", 90000), (96, 97)),
        (Codec(120, "VP9", 90000), (98, 99)),
        (Codec(120, "VP9", 90000, 1, {"profile-id": "2"}), (100, 101)),
        (Codec(120, "AV1", 90000), (45, 46)),
        (Codec(120, "AV1", 90000, 1, {"profile": "1"}), (47, 48)),
        (h264(120, "42e01f"), (108, 109)),
        (h264(120, "42001f"), (102, 103)),
        (h264(120, "42E034"), (108, 109)),
        (h264(120, "42c00d"), (102, 103)),
        (h264(120, "42e01f", "0"), (114, 115)),
        (h264(120, "4d0028"), (116, 117)),
        (h264(120, "640c1f"), (None, None)),
        (Codec(120, "AV1", 90000, 1, {"profile": "2"}), (None, None)),
        (Codec(120, "opus", 48000, 2), (None, None)),
    ],
)
def test_payload_types_of_a_viewer(sent: Codec, payload_types: tuple[int | None, int | None]) -> None:
    assert payload_type_for(sent, receiving(read_offer(CHROMIUM))) == payload_types


def attempt(text: str) -> None:
    """Read and answer `text`; only a `NegotiationError` may come out."""
    try:
        offer = read_offer(text)
    except NegotiationError:
        return
    for decisions in ({}, accept_all(offer), {section.mid: Reject() for section in offer.sections}):
        answer = parse(build_answer(offer, decisions, LOCAL))
        assert len(answer.media) == len(offer.sections)


LINES = CHROMIUM.split("\r\n")


@settings(deadline=None)
@given(st.sampled_from([CHROMIUM, FFMPEG]), st.data())
def test_mutated_lines(text: str, data: st.DataObject) -> None:
    lines = text.split("\r\n")
    for _ in range(data.draw(st.integers(1, 8))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "swap", "other", "cut", "digits"])):
            case "drop":
                lines[index] = ""
            case "double":
                lines.insert(index, lines[index])
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[index], lines[other] = lines[other], lines[index]
            case "other":
                lines.insert(index, data.draw(st.sampled_from(LINES)))
            case "cut":
                lines[index] = lines[index][: data.draw(st.integers(0, 40))]
            case _:
                number = str(data.draw(st.integers(-5, 70000)))
                lines[index] = re.sub(r"\d+", number, lines[index], count=1)
    attempt("\r\n".join(lines))


@settings(deadline=None)
@given(st.sampled_from([CHROMIUM, FFMPEG]), st.integers(0, 12_000), st.integers(0, 40), st.text(max_size=40))
def test_mutated_text(text: str, start: int, length: int, replacement: str) -> None:
    attempt(text[:start] + replacement + text[start + length :])


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    attempt(text)
    attempt("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" + text)
