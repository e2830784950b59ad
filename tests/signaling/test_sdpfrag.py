"""Fragments of SDP that carry ICE (RFC 8840)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_tools import SENDING
from rtclab.errors import NegotiationError
from rtclab.signaling.sdp import parse
from rtclab.signaling.sdpfrag import MAX_CANDIDATES, parse_fragment, with_credentials, write_fragment

UFRAG, PWD = "EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"
RFC_9725 = f"""a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:{UFRAG}
a=ice-pwd:{PWD}
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2
a=end-of-candidates
""".replace("\n", "\r\n")


def test_the_example_of_the_rfc_is_understood() -> None:
    fragment = parse_fragment(RFC_9725)
    assert (fragment.ufrag, fragment.pwd, fragment.end_of_candidates) == (UFRAG, PWD, True)
    assert [mid for mid, _ in fragment.candidates] == ["0", "0"]
    assert fragment.candidates[0][1].startswith("candidate:1387637174 1 udp ")


def test_credentials_may_stand_before_the_m_line_and_be_repeated() -> None:
    head = f"a=ice-ufrag:{UFRAG}\na=ice-pwd:{PWD}\n"
    again = "m=video 9 RTP/AVP 0\na=mid:1\n" + head
    assert parse_fragment(head + again).ufrag == UFRAG


def test_candidates_may_come_without_credentials() -> None:
    fragment = parse_fragment("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")
    assert (fragment.ufrag, fragment.candidates[0][0]) == ("", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a=mid:0",
        "nonsense",
        "v=0\r\n" + RFC_9725,
        f"a=ice-ufrag:{UFRAG}",
        f"a=ice-ufrag:abc\r\na=ice-pwd:{PWD}",
        f"a=ice-ufrag:{UFRAG}\r\na=ice-pwd:short",
        f"a=ice-ufrag:{UFRAG}\r\na=ice-ufrag:{UFRAG}2\r\na=ice-pwd:{PWD}",
        "a=candidate:",
        "a=candidate:1\r\n" * (MAX_CANDIDATES + 1),
        "a=candidate:\x00",
        "a=candidate:" + "1" * 40_000,
    ],
)
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(NegotiationError) as refused:
        parse_fragment(text)
    assert refused.value.code == "bad_sdp"


@given(
    st.text()
    | st.lists(st.sampled_from(RFC_9725.splitlines()) | st.text("amice-ufragpwd=: \r1")).map("\n".join)
)
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    try:
        fragment = parse_fragment(text)
    except NegotiationError:
        return
    assert bool(fragment.ufrag) == bool(fragment.pwd)
    assert fragment.ufrag or fragment.candidates or fragment.end_of_candidates


def test_an_offer_gets_other_credentials_and_nothing_else_changes() -> None:
    sdp = SENDING.replace(
        "a=mid:0", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\na=end-of-candidates\na=mid:0"
    )
    changed = with_credentials(sdp, "new+", r"new/password\1and0more")
    assert set(re.findall(r"a=ice-ufrag:(.*)", changed)) == {"new+"}
    assert set(re.findall(r"a=ice-pwd:(.*)", changed)) == {r"new/password\1and0more"}
    assert with_credentials(changed, "67dcf937", "b4d3e22e70181c21905dbd763b4e71a8") == SENDING


def test_what_is_written_can_be_read() -> None:
    sdp = SENDING.replace("a=mid:0", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\na=mid:0", 1)
    fragment = parse_fragment(write_fragment(parse(sdp)))
    assert fragment.ufrag == "67dcf937"
    assert fragment.candidates == (("0", "candidate:1 1 udp 1 192.0.2.1 9 typ host"),)


def test_an_answer_that_rejects_everything_has_no_fragment() -> None:
    with pytest.raises(ValueError, match="no ICE part"):
        write_fragment(parse(re.sub(r"(?m)^(m=\w+) 9", r"\1 0", SENDING)))
