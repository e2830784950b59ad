"""Chromium takes the room's answers: simulcast, receiving, and offers that add and stop m-lines."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from rtclab.signaling.negotiation import (
    AcceptPublish,
    AcceptReceive,
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

LOCAL = LocalFields(
    ufrag="room",
    pwd="p" * 24,
    fingerprint=":".join(["A5"] * 32),
    setup="passive",
    candidates=["candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host"],
)

HELPERS = """
window.pc = new RTCPeerConnection({iceServers: [], bundlePolicy: 'max-bundle'});
window.offer = async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; };
window.answer = async (sdp) => { await pc.setRemoteDescription({type: 'answer', sdp}); return state(); };
window.state = () => pc.getTransceivers().map(t => ({
  mid: t.mid,
  direction: t.currentDirection,
  rids: t.sender.getParameters().encodings.filter(e => e.active).map(e => e.rid ?? null),
  codecs: t.sender.getParameters().codecs.map(c => c.mimeType),
  extensions: t.sender.getParameters().headerExtensions.map(e => e.uri.split(/[:/]/).pop()),
  track: t.receiver.track.id,
}));
window.publish = async () => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
  const [audio, video] = [stream.getAudioTracks()[0], stream.getVideoTracks()[0]];
  pc.addTransceiver(audio, {direction: 'sendonly', streams: [stream]});
  pc.addTransceiver(video, {direction: 'sendonly', streams: [stream], sendEncodings: [
    {rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}, {rid: 'f'}]});
};
"""


@pytest.fixture
def client(page: Page) -> Page:
    """A page with a peer connection and what is needed to make it offer."""
    page.add_script_tag(content=HELPERS)
    return page


def accept(offer: Offer) -> dict[str, Decision]:
    """Accept everything that can be accepted, published video as VP8."""
    decisions: dict[str, Decision] = {}
    for number, section in enumerate(offer.sections):
        if isinstance(section, Publishing):
            codec = choose_codec(section, ["VP8"], [])
            decisions[section.mid] = AcceptPublish(codec, section.rtx.get(codec.payload_type))
        elif isinstance(section, Receiving):
            rtx = 2000 + number if section.rtx else None
            decisions[section.mid] = AcceptReceive(1000 + number, rtx, "room", f"track{number}", "alice")
    return decisions


def negotiate(client: Page, **changes: Decision) -> tuple[Offer, list[dict[str, Any]]]:
    offer = read_offer(client.evaluate("offer()"))
    answer = build_answer(offer, {**accept(offer), **changes}, LOCAL)
    state = client.evaluate("sdp => answer(sdp)", answer)
    assert client.evaluate("pc.signalingState") == "stable"
    return offer, state


def test_three_layers_are_kept(client: Page) -> None:
    client.evaluate("publish()")
    offer, (audio, video) = negotiate(client)
    section = offer.sections[1]
    assert isinstance(section, Publishing)
    assert section.rids == ("q", "h", "f")
    assert section.transport_cc
    assert section.remb
    assert audio["direction"] == video["direction"] == "sendonly"
    assert video["rids"] == ["q", "h", "f"]
    assert video["codecs"] == ["video/VP8", "video/rtx"]
    assert audio["codecs"] == ["audio/opus"]
    assert {"mid", "rtp-stream-id", "repaired-rtp-stream-id", "abs-send-time"} <= set(video["extensions"])
    assert {"mid", "ssrc-audio-level"} <= set(audio["extensions"])


@pytest.mark.parametrize("name", ["H264", "VP9", "AV1"])
def test_any_forwarded_codec_can_be_chosen(client: Page, name: str) -> None:
    client.evaluate("publish()")
    section = read_offer(client.evaluate("offer()")).sections[1]
    assert isinstance(section, Publishing)
    codec = choose_codec(section, [name], [{"VP8", name}])
    _, (_, video) = negotiate(client, **{"1": AcceptPublish(codec, section.rtx[codec.payload_type])})
    assert video["codecs"] == [f"video/{name}", "video/rtx"]
    assert video["rids"] == ["q", "h", "f"]


def test_a_received_track_is_announced_by_its_ids(client: Page) -> None:
    client.evaluate("pc.addTransceiver('video', {direction: 'recvonly'}), 0")
    client.evaluate("pc.ontrack = event => { window.announced = [event.track.id, event.streams[0].id]; }, 0")
    offer, (video,) = negotiate(client)
    assert video["direction"] == "recvonly"
    assert client.evaluate("announced[1]") == "alice"
    published = client.evaluate("publish().then(offer)")
    section = read_offer(published).sections[2]
    receiving = offer.sections[0]
    assert isinstance(section, Publishing)
    assert isinstance(receiving, Receiving)
    for codec in section.codecs:
        payload_type, rtx = payload_type_for(codec, receiving)
        assert payload_type is not None, codec
        assert rtx is not None


def test_a_viewer_can_publish_layers_later(client: Page) -> None:
    client.evaluate("pc.addTransceiver('video', {direction: 'recvonly'}), 0")
    client.evaluate("pc.addTransceiver('audio', {direction: 'recvonly'}), 0")
    negotiate(client)
    client.evaluate("publish()")
    offer, state = negotiate(client)
    video = offer.sections[3]
    assert isinstance(video, Publishing)
    assert video.transport_cc
    assert state[3]["rids"] == ["q", "h", "f"]
    assert {"repaired-rtp-stream-id", "abs-send-time"} <= set(state[3]["extensions"])
    assert "ssrc-audio-level" in state[2]["extensions"]


def test_offers_may_add_and_stop_m_lines(client: Page) -> None:
    client.evaluate("publish()")
    negotiate(client)
    client.evaluate("pc.addTransceiver('video', {direction: 'recvonly'}), 0")
    client.evaluate("pc.addTransceiver('audio', {direction: 'recvonly'}), 0")
    _, state = negotiate(client)
    assert [entry["direction"] for entry in state] == ["sendonly", "sendonly", "recvonly", "recvonly"]
    assert state[1]["rids"] == ["q", "h", "f"]
    client.evaluate("pc.getTransceivers()[1].stop(), pc.getTransceivers()[2].direction = 'inactive', 0")
    offer, state = negotiate(client)
    assert [getattr(section, "code", None) for section in offer.sections] == [
        None,
        "stopped",
        "inactive",
        None,
    ]
    assert [entry["direction"] for entry in state] == ["sendonly", "inactive", "recvonly"]
    client.evaluate("pc.addTransceiver('video', {direction: 'recvonly'}), 0")  # takes the stopped one's place
    offer, state = negotiate(client)
    assert len(offer.sections) == 4
    assert isinstance(offer.sections[1], Receiving)
    assert offer.sections[1].mid == state[-1]["mid"]
    assert state[-1]["direction"] == "recvonly"


def test_stopping_the_first_m_line_moves_the_transport(client: Page) -> None:
    client.evaluate("publish()")
    first, _ = negotiate(client)
    client.evaluate("pc.getTransceivers()[0].stop(), 0")
    second, state = negotiate(client)
    assert first.transport_mid == "0"
    assert second.transport_mid == "1"
    assert first.remote == second.remote
    assert [entry["direction"] for entry in state] == ["sendonly"]


def test_a_refused_m_line_keeps_the_others_going(client: Page) -> None:
    client.evaluate("publish()")
    _, state = negotiate(client, **{"1": Reject()})
    assert [entry["direction"] for entry in state] == ["sendonly"]


def test_refusing_the_first_m_line_only_pauses_it(client: Page) -> None:
    client.evaluate("publish()")
    _, state = negotiate(client, **{"0": Reject()})
    assert [entry["direction"] for entry in state] == ["inactive", "sendonly"]


def test_layers_outlive_a_pause(client: Page) -> None:
    client.evaluate("publish()")
    negotiate(client, **{"1": Inactive()})
    _, (_, video) = negotiate(client)
    assert video["direction"] == "sendonly"
    assert video["rids"] == ["q", "h", "f"]


def test_data_channels_are_refused_without_harm(client: Page) -> None:
    client.evaluate("pc.createDataChannel('x'), 0")
    client.evaluate("publish()")
    _, state = negotiate(client)
    assert [entry["direction"] for entry in state] == ["sendonly", "sendonly"]


def test_an_ice_restart_has_new_credentials(client: Page) -> None:
    client.evaluate("publish()")
    first, _ = negotiate(client)
    client.evaluate("pc.restartIce(), 0")
    second, _ = negotiate(client)
    assert first.remote is not None
    assert second.remote is not None
    assert first.remote.ufrag != second.remote.ufrag
    assert first.remote.fingerprints == second.remote.fingerprints


def test_an_offer_with_everything_stopped_needs_no_transport(client: Page) -> None:
    client.evaluate("pc = new RTCPeerConnection({iceServers: []}), 0")  # cannot be done with max-bundle
    client.evaluate("publish()")
    negotiate(client)
    client.evaluate("pc.getTransceivers().forEach(t => t.stop())")
    offer, _ = negotiate(client)
    assert offer.remote is None
    assert all(isinstance(section, Unusable) for section in offer.sections)
