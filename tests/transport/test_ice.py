"""ICE-lite: which checks are answered, what they choose, and when a client counts as gone."""

from __future__ import annotations

import random
from typing import Any

from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from rtclab.rtp.drops import Drop
from rtclab.transport.ice import (
    DISCONNECTED_AFTER,
    EXPIRED_AFTER,
    MAX_SOURCES,
    Credentials,
    IceLite,
    Source,
    local_ufrag,
    new_credentials,
)

A = Source("192.0.2.1", 1000)
B = Source("192.0.2.1", 2000)
V6 = Source("2001:db8::1", 3000, 1)


def check(username: str = "here:there", pwd: str = "password", nominate: bool = False, **more: Any) -> bytes:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = username
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 5
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.attributes.update(more)
    request.add_message_integrity(pwd.encode())
    return bytes(request)


def agent() -> IceLite:
    ice = IceLite("here", "password")
    ice.connect("there", 0.0)
    return ice


def test_a_check_is_answered_with_the_clients_address() -> None:
    for source in (A, V6):
        ice = agent()
        request = check()
        answer = ice.receive(request, source, 1.0)
        assert answer is not None
        response = stun.parse_message(answer)
        assert response.message_class == stun.Class.RESPONSE
        assert response.transaction_id == request[8:20]
        assert response.attributes["XOR-MAPPED-ADDRESS"] == (source.host, source.port)
        assert response.check_message_integrity(b"password")
        assert "FINGERPRINT" in response.attributes
        assert ice.sources == {source: 1.0}
        assert ice.last_seen == 1.0
        assert not ice.drops


def test_the_first_source_serves_until_one_is_nominated() -> None:
    ice = agent()
    ice.receive(check(), A, 1.0)
    assert (ice.selected, ice.nominated) == (A, False)
    ice.receive(check(), B, 1.1)
    assert ice.selected == A
    ice.receive(check(nominate=True), B, 1.2)
    assert (ice.selected, ice.nominated) == (B, True)
    ice.receive(check(), A, 1.3)
    assert ice.selected == B
    ice.receive(check(nominate=True), A, 1.4)
    assert ice.selected == A


def _altered(data: bytes) -> bytes:
    """The same but for one bit of the last byte."""
    return data[:-1] + bytes([data[-1] ^ 1])


def test_refused_checks_choose_nothing() -> None:
    def code(data: bytes, ice: IceLite) -> int | None:
        answer = ice.receive(data, A, 1.0)
        return None if answer is None else stun.parse_message(answer).error_code

    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    bare.add_fingerprint()
    unsigned = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "here:there"})
    unprinted = bytes(unsigned)
    unsigned.add_fingerprint()
    response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    response.add_message_integrity(b"password")
    cases: list[tuple[bytes, int | None, Drop]] = [
        (check(pwd="another"), 401, Drop.BAD_INTEGRITY),
        (check(username="here:stranger"), 401, Drop.UNKNOWN_UFRAG),
        (check(username="gone:there"), 401, Drop.UNKNOWN_UFRAG),
        (bytes(bare), 400, Drop.BAD_STUN),
        (bytes(unsigned), 400, Drop.BAD_STUN),
        (unprinted, None, Drop.BAD_STUN),
        (bytes(response), None, Drop.BAD_STUN),
        (check()[:-1], None, Drop.BAD_STUN),
        (_altered(check()), None, Drop.BAD_STUN),
        (b"", None, Drop.BAD_STUN),
    ]
    for data, expected, reason in cases:
        ice = agent()
        assert code(data, ice) == expected
        assert ice.drops == {reason: 1}
        assert ice.selected is None
        assert not ice.sources
        assert ice.last_seen == 0.0


def test_nothing_is_accepted_before_the_offer_is_known() -> None:
    ice = IceLite("here", "password")
    assert ice.receive(check(username="here:None"), A, 1.0) is not None
    assert not ice.sources


def test_an_authentic_packet_moves_the_client_to_a_validated_source_only() -> None:
    ice = agent()
    ice.receive(check(nominate=True), A, 1.0)
    assert not ice.moved(B)
    assert ice.selected == A
    ice.receive(check(), B, 2.0)
    assert ice.moved(B)
    assert ice.selected == B


def test_a_silent_source_loses_its_place() -> None:
    ice = agent()
    ice.receive(check(nominate=True), A, 1.0)
    ice.receive(check(), B, 1.0 + DISCONNECTED_AFTER)
    assert ice.selected == A
    ice.last_packet = 3.0
    ice.receive(check(), B, 2.0 + DISCONNECTED_AFTER)
    assert ice.selected == A
    ice.receive(check(), B, 3.1 + DISCONNECTED_AFTER)
    assert ice.selected == B


def test_silence_disconnects_and_then_expires() -> None:
    ice = agent()
    ice.receive(check(), A, 10.0)
    assert not ice.disconnected(10.0 + DISCONNECTED_AFTER)
    assert ice.disconnected(10.1 + DISCONNECTED_AFTER)
    assert not ice.expired(10.0 + EXPIRED_AFTER)
    assert ice.expired(10.1 + EXPIRED_AFTER)
    ice.last_packet = 10.0 + EXPIRED_AFTER
    assert not ice.disconnected(10.1 + EXPIRED_AFTER)


def test_a_restart_keeps_the_pair_until_the_new_one_is_nominated() -> None:
    ice = agent()
    ice.receive(check(nominate=True), A, 1.0)
    ice.restart("there2", Credentials("here2", "password2"), 2.0)
    assert ice.ufrags == {"here", "here2"}
    assert ice.selected == A
    assert ice.receive(check(nominate=True), A, 3.0) is not None  # an old check keeps the old pair alive
    assert ice.last_seen == 3.0
    ice.receive(check("here2:there2", "password2"), B, 4.0)
    assert ice.selected == A
    ice.receive(check("here2:there2", "password2", nominate=True), B, 5.0)
    assert ice.selected == B
    assert ice.ufrags == {"here2"}
    assert set(ice.sources) == {B}
    ice.receive(check(nominate=True), A, 6.0)
    assert ice.selected == B
    assert ice.drops == {Drop.UNKNOWN_UFRAG: 1}


def test_a_second_restart_replaces_an_unfinished_one() -> None:
    ice = agent()
    ice.receive(check(nominate=True), A, 1.0)
    ice.restart("there2", Credentials("here2", "password2"), 2.0)
    ice.restart("there3", Credentials("here3", "password3"), 3.0)
    assert ice.ufrags == {"here", "here3"}
    ice.receive(check("here2:there2", "password2", nominate=True), B, 4.0)
    assert ice.selected == A
    ice.receive(check("here3:there3", "password3", nominate=True), B, 4.0)
    assert ice.selected == B


def test_a_restart_before_any_check_leaves_nothing_behind() -> None:
    ice = agent()
    ice.restart("there2", Credentials("here2", "password2"), 2.0)
    assert ice.ufrags == {"here2"}


def test_sources_are_bounded_and_the_selected_one_stays() -> None:
    ice = agent()
    ice.receive(check(nominate=True), A, 0.0)
    for port in range(3 * MAX_SOURCES):
        ice.receive(check(), Source("192.0.2.9", port), 1.0)
    assert len(ice.sources) == MAX_SOURCES
    assert A in ice.sources


def test_the_ufrag_is_found_without_a_full_parse() -> None:
    assert local_ufrag(check()) == "here"
    assert local_ufrag(check(SOFTWARE="odd length")) == "here"
    assert local_ufrag(check(username="no colon")) is None
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    bare.add_fingerprint()
    assert local_ufrag(bytes(bare)) is None
    assert local_ufrag(check()[:-4]) is None


def test_credentials_are_long_enough_and_differ() -> None:
    one, two = new_credentials(), new_credentials()
    assert len(one.ufrag) >= 4
    assert len(one.pwd) >= 22
    assert one.ufrag != two.ufrag
    assert one.pwd != two.pwd
    assert all(character.isalnum() or character in "+/" for character in one.ufrag + one.pwd)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    ice = agent()
    local_ufrag(data)
    assert ice.receive(data, A, 1.0) is None
    assert not ice.sources


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_damaged_check_is_refused(seed: int, changes: int) -> None:
    generator = random.Random(seed)
    ice = agent()
    original = check(nominate=True)
    data = bytearray(original)
    signed = len(data) - 8  # all but the FINGERPRINT
    for _ in range(changes):
        data[generator.randrange(signed)] = generator.randrange(256)
    local_ufrag(bytes(data))
    ice.receive(bytes(data), A, 1.0)
    assert bool(ice.sources) == (data == original)


@given(st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_any_attribute_may_be_malformed(kind: int, value: bytes) -> None:
    padded = value + bytes(-len(value) % 4)
    attribute = kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + padded
    data = bytearray(check()[:20] + attribute + check()[20:])
    data[2:4] = (len(data) - 20).to_bytes(2, "big")
    ice = agent()
    local_ufrag(bytes(data))
    ice.receive(bytes(data), A, 1.0)
    assert not ice.sources
