"""Keyframe requests: merging, deferring, repeating."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rtclab.forwarding.keyframes import MAX_RETRIES, KeyframeRequests


def test_the_first_ask_is_sent_and_the_next_ones_merge_with_it() -> None:
    requests = KeyframeRequests()
    assert requests.request("alice", 0.0)
    assert not requests.request("bob", 0.1)
    assert not requests.request("alice", 0.4)
    requests.keyframe(0.45)
    assert requests.next_due() is None
    assert (requests.asked, requests.sent, requests.merged) == (3, 1, 2)


def test_an_ask_soon_after_the_keyframe_is_deferred() -> None:
    requests = KeyframeRequests(per_source=0.5)
    requests.request("alice", 0.0)
    requests.keyframe(0.1)
    assert not requests.request("bob", 0.2)
    assert requests.next_due() == 0.5
    assert not requests.due(0.49)
    assert requests.due(0.5)
    assert not requests.due(0.5)
    assert requests.sent == 2


def test_a_keyframe_serves_deferred_asks() -> None:
    requests = KeyframeRequests()
    requests.request("alice", 0.0)
    requests.keyframe(0.1)
    requests.request("bob", 0.2)
    requests.keyframe(0.3)
    assert requests.next_due() is None
    assert not requests.due(10.0)


def test_another_ask_may_go_out_while_the_first_has_had_no_answer() -> None:
    requests = KeyframeRequests(per_source=0.5, retry=1.0)
    requests.request("alice", 0.0)
    assert requests.request("bob", 0.6)
    assert requests.next_due() == 1.6


def test_repeated_without_an_answer_but_not_for_ever() -> None:
    requests = KeyframeRequests(retry=1.0)
    requests.request("alice", 0.0)
    sent = [now for now in range(1, 60) if requests.due(float(now))]
    assert sent == list(range(1, 1 + MAX_RETRIES))
    assert requests.next_due() is None
    assert requests.request("alice", 100.0)


def test_an_ask_that_merges_with_the_last_repetition_is_not_lost() -> None:
    requests = KeyframeRequests(retry=1.0)
    requests.request("alice", 0.0)
    for now in range(1, 1 + MAX_RETRIES):
        assert requests.due(float(now))
    assert not requests.request("bob", MAX_RETRIES + 0.1)
    assert requests.due(MAX_RETRIES + 1.0)


def test_one_requester_cannot_cause_more_than_its_share() -> None:
    requests = KeyframeRequests(per_source=0.0, per_requester=1.0)
    assert requests.request("alice", 0.0)
    requests.keyframe(0.05)
    assert not requests.request("alice", 0.1)
    assert requests.next_due() == 1.0
    assert requests.request("bob", 0.2)
    requests.keyframe(0.25)
    assert not requests.request("alice", 0.3)
    assert requests.next_due() == 1.0


def test_many_requesters_are_not_remembered_for_ever() -> None:
    requests = KeyframeRequests()
    for number in range(1000):
        assert requests.request(number, float(number))
    assert len(requests._last_asked) <= 64


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 0.4), st.sampled_from(["alice", "bob", "keyframe", "timer"])), max_size=100
    )
)
def test_spacing_holds_and_no_ask_is_forgotten(events: list[tuple[float, str]]) -> None:
    requests = KeyframeRequests(per_source=0.5, per_requester=0.2, retry=1.0)
    now = 0.0
    sent = []
    for elapsed, event in events:
        now += elapsed
        if event == "keyframe":
            requests.keyframe(now)
            assert requests.next_due() is None
        elif event == "timer":
            if requests.due(now):
                sent.append(now)
        else:
            if requests.request(event, now):
                sent.append(now)
            assert requests.next_due() is not None
    assert all(later - sooner >= 0.5 - 1e-9 for sooner, later in pairwise(sent))
    assert requests.sent == len(sent)
    assert requests.asked >= requests.merged
