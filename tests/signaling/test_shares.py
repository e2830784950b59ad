"""What a share's token is worth: who is let in by it, until when, how often. Time is passed in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.errors import RtclabError, ShareRefused
from rtclab.signaling import shares as module
from rtclab.signaling.rates import Rates, network_of
from rtclab.signaling.shares import Grant, Shares

NOW = 1_795_000_000.0
HOME = "192.0.2.7"


@pytest.fixture
def shares() -> Shares:
    return Shares("r00m-id_A")


def refusal(shares: Shares, token: str, now: float = NOW, address: str = HOME) -> ShareRefused:
    with pytest.raises(ShareRefused) as refused:
        shares.admit(token, now, address)
    return refused.value


@pytest.mark.parametrize("role", ["viewer", "participant"])
def test_who_has_the_token_is_let_in_with_its_role(shares: Shares, role: str) -> None:
    ticket = shares.open(role, 60, NOW, 3)
    assert ticket.expires_at == NOW + 60
    for later in (0.0, 59.9):
        assert shares.admit(ticket.token, NOW + later, HOME) == Grant(role, ticket.grant.share, 3)
    assert shares.live == [ticket]


def test_a_token_is_short_and_fits_a_fragment(shares: Shares) -> None:
    token = shares.open("participant", 60, NOW).token
    assert len(token) < 80
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_an_expired_token_is_refused(shares: Shares) -> None:
    ticket = shares.open("viewer", 60, NOW)
    for later in (60.0, 61.0, 1e6):
        error = refusal(shares, ticket.token, NOW + later)
        assert (error.code, error.status) == ("share_expired", 401)
        assert "ask" in str(error), "it says what to do"
    assert shares.expire(NOW + 60) == [ticket]
    assert shares.expire(NOW + 60) == []
    assert refusal(shares, ticket.token, NOW + 61).code == "share_expired", "known by its own word"


def test_a_revoked_token_is_refused_and_others_live_on(shares: Shares) -> None:
    gone, stays = shares.open("viewer", 60, NOW), shares.open("viewer", 60, NOW)
    assert shares.revoke(gone.grant.share)
    assert not shares.revoke(gone.grant.share)
    error = refusal(shares, gone.token)
    assert (error.code, error.status) == ("share_revoked", 401)
    assert shares.admit(stays.token, NOW, HOME) == stays.grant


def test_a_token_of_another_room_is_refused(shares: Shares) -> None:
    token = shares.open("participant", 60, NOW).token
    assert refusal(Shares("another"), token).code == "share_room"
    assert refusal(Shares("r00m-id_A"), token).code == "share_forged", "the same id, another secret"


def test_what_is_said_in_a_token_cannot_be_changed(shares: Shares) -> None:
    token = shares.open("viewer", 60, NOW).token
    role, share, end, room, signature = token.split(".")
    forged = [
        f"participant.{share}.{end}.{room}.{signature}",
        f"{role}.{share}.{int(end) + 1}.{room}.{signature}",
        f"{role}.{shares.open('viewer', 60, NOW).grant.share}.{end}.{room}.{signature}",
        f"{role}.{share}.{end}.{room}",
        f"{role}.{share}.{end}.{room}.",
        f"{role}.{share}.{end}.{room}.{signature[:-1]}",
        f"{role}.{share}.{end}.{room}.{signature}.{signature}",
        f" {token}",
        f"{token}=",
        token.swapcase(),
        "",
        ".",
        "....",
        "ä.b.c.d.e",
        "x" * 100_000,
        "." * 100_000,
    ]
    for text in forged:
        error = refusal(shares, text, address=f"of {text[:40]}")
        assert error.code in ("share_forged", "share_room"), text[:80]
    assert shares.admit(token, NOW, HOME).role == "viewer"


@settings(max_examples=50)
@given(st.text(), st.integers(0, 4))
def test_no_text_is_a_token(text: str, part: int) -> None:
    shares = Shares("room")
    parts = shares.open("viewer", 60, NOW).token.split(".")
    if parts[part] == text:
        return
    parts[part] = text
    assert refusal(shares, ".".join(parts)).status == 401


def test_guesses_are_few_for_each_address(shares: Shares) -> None:
    token = shares.open("viewer", 3600, NOW).token
    codes = [refusal(shares, f"guess{number}", NOW + number / 100).code for number in range(100)]
    assert codes[:5] == ["share_forged"] * 5
    assert codes[-1] == "share_rate"
    tired = refusal(shares, "guess", NOW + 1)
    assert tired.status == 429
    assert tired.retry_s is not None
    assert f"in {tired.retry_s} s" in str(tired)
    assert refusal(shares, "guess", NOW + 1 + tired.retry_s).code == "share_forged", "after the time it said"
    assert refusal(shares, "guess", NOW + 1, "198.51.100.1").code == "share_forged", "others may guess"
    assert shares.admit(token, NOW + 1, HOME).role == "viewer", (
        "who has the link is not locked out by a neighbour"
    )


def test_a_token_cannot_be_used_without_end_either(shares: Shares) -> None:
    token, other = (shares.open("viewer", 3600, NOW).token for _ in range(2))
    tired = None
    for _ in range(1000):
        try:
            shares.admit(token, NOW, HOME)
        except ShareRefused as error:
            tired = error
            break
    assert tired is not None
    assert tired.code == "share_rate"
    shares.admit(other, NOW, HOME)
    shares.admit(token, NOW, "198.51.100.1")


def test_few_are_here_at_once_by_one_link_and_fewer_from_one_address(
    shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VISITORS", 4)
    monkeypatch.setattr(module, "MAX_OF_ADDRESS", 2)
    here: dict[str, list[str]] = {}
    shares.networks = lambda share: here.setdefault(share, [])
    ticket, other = shares.open("viewer", 60, NOW), shares.open("viewer", 60, NOW)

    def come(address: str, token: str = ticket.token) -> str | None:
        try:
            grant = shares.admit(token, NOW, address, visit=True)
        except ShareRefused as refused:
            return f"{refused.status} {refused.code} {refused.retry_s}"
        here.setdefault(grant.share, []).append(grant.network)
        return None

    full = "429 share_full 10"

    assert [come(HOME) for _ in range(3)] == [None, None, full]
    assert shares.admit(ticket.token, NOW, HOME) == ticket.grant, "other requests are no visits"
    assert come(HOME, other.token) is None
    assert [come(f"2001:db8:0:{place}::1") for place in range(3)] == [None, None, full]
    here[ticket.grant.share].remove(HOME)
    assert come(HOME) is None
    assert shares.refused == {"share_full": 2}


def test_shares_are_bounded(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SHARES", 3)
    tickets = [shares.open("viewer", 60, NOW) for _ in range(3)]
    with pytest.raises(RtclabError, match="revoke some"):
        shares.open("viewer", 60, NOW)
    shares.revoke(tickets[0].grant.share)
    shares.open("viewer", 60, NOW)


@pytest.mark.parametrize(
    ("role", "lasts_s", "at_once"),
    [
        ("admin", 60, None),
        ("viewer", 0, None),
        ("viewer", -1, None),
        ("viewer", float("nan"), None),
        ("viewer", 1e9, None),
        ("viewer", 60, 0),
        ("viewer", 60, True),
        ("viewer", 60, 1.5),
    ],
)
def test_what_is_no_share_is_said(shares: Shares, role: str, lasts_s: float, at_once: int | None) -> None:
    with pytest.raises(ValueError, match=r"role|lasts|uses"):
        shares.open(role, lasts_s, NOW, at_once)


def test_a_bucket_fills_again_and_no_further() -> None:
    rates = Rates(burst=3, per_s=0.5)
    assert [rates.wait_s("a", 0) for _ in range(4)] == [0, 0, 0, 2]
    assert rates.wait_s("a", 1) == 1
    assert rates.wait_s("a", 2) == 0
    assert rates.wait_s("b", 2) == 0
    assert [rates.wait_s("a", 1000) for _ in range(4)] == [0, 0, 0, 2], "a pause saves no more than a burst"
    assert rates.wait_s("a", 0) == 2, "a clock that was set back gives nothing"


def test_the_table_of_addresses_is_bounded() -> None:
    rates = Rates(burst=1, per_s=1, size=10)
    for number in range(1000):
        rates.wait_s(f"address {number}", 0)
    assert len(rates) == 10
    assert rates.wait_s("address 999", 0) > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network
