"""What the load says in SDP is what a room understands, and the other way round."""

from __future__ import annotations

import pytest

from rtclab.bench.offers import OPUS, RTX, VP8, Local, PayloadTypes, Sending, describe, read
from rtclab.errors import RtclabError
from rtclab.rtp import extensions
from rtclab.signaling.negotiation import Publishing, Receiving, read_offer
from rtclab.transport.ice import Credentials

LOCAL = Local(Credentials("ufrag", "p" * 24), ":".join(["A5"] * 32), 5000)


def test_a_publisher_offers_what_chromium_does() -> None:
    offer = read_offer(describe(LOCAL, ["video", "audio"], sending=Sending(11, 12, 13)))
    video, audio = offer.sections
    assert isinstance(video, Publishing)
    assert isinstance(audio, Publishing)
    assert 11 in video.ssrcs
    assert video.rtx_ssrcs == {11: 12}
    assert video.transport_cc
    assert extensions.TRANSPORT_SEQUENCE in video.extensions
    assert video.codecs[0].payload_type == VP8
    assert audio.codecs[0].payload_type == OPUS
    assert offer.remote is not None
    assert offer.remote.ufrag == "ufrag"


def test_a_viewer_offers_to_receive() -> None:
    offer = read_offer(describe(LOCAL, ["video"]))
    (video,) = offer.sections
    assert isinstance(video, Receiving)
    assert video.rtx == {VP8: RTX}


def test_an_answer_takes_over_payload_types_and_mids() -> None:
    text = describe(LOCAL, ["video"], setup="active", payload_types=PayloadTypes(100, 101), mids=["v"])
    assert "m=video 9 UDP/TLS/RTP/SAVPF 100 101" in text
    assert "a=mid:v" in text
    assert "a=setup:active" in text


def test_reading_a_servers_side() -> None:
    remote = read(describe(LOCAL, ["video", "audio"], payload_types=PayloadTypes(100, 101, 120)), True)
    assert remote.ice == LOCAL.ice
    assert remote.fingerprints == (("sha-256", LOCAL.fingerprint),)
    assert remote.address == ("127.0.0.1", 5000)
    assert remote.payload_types == PayloadTypes(100, 101, 120)
    assert remote.mids == ("0", "1")
    assert remote.controlling


def test_a_server_without_an_address_is_refused() -> None:
    text = describe(LOCAL, ["video"]).replace("127.0.0.1 5000", "::1 5000")
    with pytest.raises(RtclabError, match="candidate"):
        read(text)
