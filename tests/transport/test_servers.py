"""STUN and TURN servers as people write them: read once, or refused with what to change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.errors import IceServerError, RtclabError
from rtclab.transport.servers import checked, each, parse_url

TURN = {"urls": "turn:turn.example.org", "username": "lab", "credential": "learn"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stun:stun.example.org", ("stun", "stun.example.org", 3478, "udp")),
        ("stun:192.0.2.1:19302", ("stun", "192.0.2.1", 19302, "udp")),
        ("stuns:stun.example.org", ("stuns", "stun.example.org", 5349, "tcp")),
        ("turn:turn.example.org", ("turn", "turn.example.org", 3478, "udp")),
        ("turn:turn.example.org:80?transport=TCP", ("turn", "turn.example.org", 80, "tcp")),
        ("turns:turn.example.org", ("turns", "turn.example.org", 5349, "tcp")),
        ("TURNS:[2001:db8::1]:443?transport=tcp", ("turns", "2001:db8::1", 443, "tcp")),
    ],
)
def test_urls_are_read_as_the_rfcs_say(url: str, expected: tuple[str, str, int, str]) -> None:
    server = parse_url(url)
    assert (server.scheme, server.host, server.port, server.transport) == expected
    assert server.url == url
    assert server.relays == expected[0].startswith("turn")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stun",
        "http://stun.example.org",
        "stun://stun.example.org",
        "stun:stun.example.org:0",
        "stun:stun.example.org:70000",
        "stun:stun.example.org?transport=udp",
        "turn:turn.example.org?transport=sctp",
        "turn:lab@turn.example.org",
        "turn:turn.example.org " + "x" * 2000,
    ],
)
def test_what_is_no_url_is_refused_and_shown(url: str) -> None:
    with pytest.raises(IceServerError) as refused:
        parse_url(url)
    assert repr(url)[:20].rstrip("'") in str(refused.value)
    assert isinstance(refused.value, RtclabError)


@given(st.text(max_size=60))
def test_any_text_is_a_server_or_refused(text: str) -> None:
    try:
        server = parse_url(f"turn:{text}")
    except IceServerError:
        return
    assert server.host
    assert 0 < server.port < 65536


def test_all_forms_come_to_one() -> None:
    assert checked(["stun:stun.example.org", TURN, {**TURN, "urls": ["turn:b", "turn:c"]}]) == [
        {"urls": ["stun:stun.example.org"]},
        {**TURN, "urls": ["turn:turn.example.org"]},
        {**TURN, "urls": ["turn:b", "turn:c"]},
    ]
    assert checked(()) == []
    servers = list(each(checked([{**TURN, "urls": ["stun:a", "turns:b"]}])))
    assert [(server.scheme, server.host) for server in servers] == [("stun", "a"), ("turns", "b")]
    assert servers[1].credential == "learn"
    assert "learn" not in repr(servers[1])


@pytest.mark.parametrize(
    ("servers", "says"),
    [
        ("stun:stun.example.org", "is a list"),
        ({"urls": "stun:stun.example.org"}, "is a list"),
        (7, "is a list"),
        ([7], 'dictionary with "urls"'),
        ([{}], "one or more URLs"),
        ([{"urls": []}], "one or more URLs"),
        ([{"urls": [7]}], "one or more URLs"),
        ([{"urls": "ftp:a"}], "'ftp:a' is no URL"),
        ([{"urls": "turn:a"}], "turn:a is a TURN server and needs a username and a credential"),
        ([{"urls": "turn:a", "username": "lab"}], "needs a credential"),
        ([{"urls": "turn:a", "username": "lab", "credential": 7}], "credential of turn:a must be a text"),
    ],
)
def test_what_is_wrong_is_said(servers: Any, says: str) -> None:
    with pytest.raises(IceServerError, match=says):
        checked(servers)


def test_relay_only_needs_a_turn_server() -> None:
    assert checked([TURN], "relay")
    for servers in ([], ["stun:stun.example.org"]):
        with pytest.raises(IceServerError, match="needs a TURN server"):
            checked(servers, "relay")
