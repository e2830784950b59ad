"""ICE on paper: priorities by the RFC's formulas, candidates of a description, checks as they happen."""

from __future__ import annotations

import asyncio

from aioice import Candidate, Connection
from aioice.candidate import candidate_priority as stock_priority
from aioice.ice import candidate_pair_priority
from hypothesis import given
from hypothesis import strategies as st

from rtclab.measure.ice import TYPE_PREFERENCES, CheckLog, candidate_priority, candidates, pair_priority

SDP = """v=0
a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host
a=candidate:2 1 UDP 1694498815 203.0.113.1 6000 typ srflx raddr 192.0.2.1 rport 5000
a=candidate:3 1 udp 16777215 198.51.100.1 7000 typ relay raddr 203.0.113.1 rport 6000
a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host
"""

priorities = st.integers(1, 2**31 - 1)


@given(st.sampled_from(sorted(TYPE_PREFERENCES)), st.integers(0, 65535), st.integers(1, 256))
def test_a_priority_is_made_of_three_numbers(kind: str, local: int, component: int) -> None:
    assert candidate_priority(TYPE_PREFERENCES[kind], local, component) == stock_priority(
        component, kind, local
    )


@given(priorities, priorities)
def test_both_sides_rank_a_pair_alike(controlling: int, controlled: int) -> None:
    def candidate(priority: int) -> Candidate:
        return Candidate("1", 1, "udp", priority, "192.0.2.1", 9, "host")

    ours, theirs = candidate(controlling), candidate(controlled)
    priority = pair_priority(controlling, controlled)
    assert (
        priority
        == candidate_pair_priority(ours, theirs, True)
        == candidate_pair_priority(theirs, ours, False)
    )


def test_candidates_of_a_description_come_once_and_in_order() -> None:
    frame = candidates(SDP)
    assert list(frame["type"]) == ["host", "srflx", "relay"]
    for row in frame.to_dict("records"):
        assert row["type_preference"] == TYPE_PREFERENCES[row["type"]]
        numbers = row["type_preference"], row["local_preference"], row["component"]
        assert candidate_priority(*numbers) == row["priority"]
    assert list(frame["related"]) == ["", "192.0.2.1:5000", "203.0.113.1:6000"]
    assert candidates("v=0").empty


def test_a_log_follows_every_pair_while_it_is_open() -> None:
    async def connected(log: CheckLog) -> tuple[Connection, Connection]:
        one, other = Connection(ice_controlling=True), Connection(ice_controlling=False)
        for side in (one, other):
            await side.gather_candidates()
        for side, remote in ((one, other), (other, one)):
            for candidate in remote.local_candidates:
                await side.add_remote_candidate(candidate)
            await side.add_remote_candidate(None)
            side.remote_username, side.remote_password = remote.local_username, remote.local_password
        await asyncio.gather(one.connect(), other.connect())
        return one, other

    async def main() -> None:
        original = Connection.check_state
        with CheckLog() as log:
            sides = await connected(log)
        assert Connection.check_state is original
        frame = log.to_frame()
        assert frame["time_s"].is_monotonic_increasing
        assert set(frame["before"]) <= {"FROZEN", "WAITING", "IN_PROGRESS", "FAILED"}
        for side, role in zip(sides, ("controlling", "controlled"), strict=True):
            used = side._nominated[1].local_candidate
            own = frame[(frame["connection"] == str(side)) & (frame["after"] == "SUCCEEDED")]
            assert set(own["role"]) == {role}
            assert f"{used.type} {used.host}:{used.port}" in set(own["local"])
        for side in (*sides, *await connected(log)):
            await side.close()
        assert len(log.to_frame()) == len(frame)

    asyncio.run(main())
