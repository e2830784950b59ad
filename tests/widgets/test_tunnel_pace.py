"""The pace of a tunnel, the page's side, over a simulated line with a clock of its own: it follows a slow
line before much waits, uses a fast one again, and is not misled by a machine that stands still."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page

# A line of `rate` bit/s and `delay` s each way; an encoder as `fit` says, whose keyframes are five times as
# large as other frames and which makes at most `busy` bit/s of a whole picture; sound; a room that
# acknowledges every 50 ms.
# During `stalls` ([from, to, who]) the page or the room does not run.
LINE = """async (a) => {
const { Pace } = await import('/js/tunnel_pace.js');
const { share, fit } = await import('/js/tunnel_layers.js');
const { phases, most = 833e3, busy = 1.2e6, sound = true, stalls = [] } = a;
const SOUND = 64e3;
const pace = new Pace();
const out = [], acks = [];
let seed = 7; const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
let now = 0, number = 0, free = 0, acked = 0, ackedAt = 0, newest = 0;
let layer = { halved: 0, every: 1 }, bps = most, coded = -1, taken = 0;
let nextPicture = 0, nextSound = 0, nextTick = 0;
const underway = [];
for (const { rate, delay, seconds } of phases) {
  const end = now + seconds;
  const figures = { limits: [], pictures: [], dropped: 0, halved: [] };
  const stands = (who) => stalls.some(([from, to, one]) => who === one && now >= from && now < to);
  while (now < end) {
    now += 0.005;
    if (!stands("room")) {
      for (; underway.length && underway[0].at <= now; underway.shift()) {
        const { picture, born } = underway[0];
        newest = underway[0].number;
        if (picture) figures.pictures.push([now, now - born]);
        if (newest - acked >= 10 || now - ackedAt >= 0.05) {
          [acked, ackedAt] = [newest, now];
          acks.push({ at: now + delay, number: newest });
        }
      }
      if (newest > acked && now - ackedAt >= 0.2) {
        [acked, ackedAt] = [newest, now];
        acks.push({ at: now + delay, number: newest });
      }
    }
    if (stands("page")) continue;
    for (; acks.length && acks[0].at <= now; acks.shift()) pace.acked(acks[0].number, 0, now);
    const send = (bytes, picture) => {
      free = Math.max(free, now) + (8 * (bytes + 60)) / rate;
      underway.push({ at: free + delay, number: ++number, picture, born: now });
      pace.sent(number, bytes, now, picture);
    };
    if (now >= nextTick) {
      nextTick = now + 0.1;
      [bps] = share(pace.update(now, most + SOUND) - SOUND, [{ most, wanted: true, sent: true }]);
      layer = fit(bps, most, 480, layer.halved);
      figures.limits.push(pace.limit);
      figures.halved.push(layer.halved);
    }
    if (sound && now >= nextSound) {
      nextSound = Math.max(nextSound + 0.02, now);
      if (pace.blocked(now, 0) !== "silent") send(120, false);
    }
    if (now < nextPicture) continue;
    nextPicture = Math.max(nextPicture + 1 / 30, now);
    if ((taken += 1) % layer.every) continue;
    if (pace.blocked(now, 0)) figures.dropped += 1;
    else {
      const key = layer.halved !== coded;
      coded = layer.halved;
      const bits = (Math.min(bps * layer.every, busy / 3 ** coded) / 30) * (key ? 5 : 0.6 + 0.8 * random());
      send(Math.round(bits / 8), true);
    }
  }
  const limits = figures.limits.map((limit) => Math.min(limit, 1e9));
  out.push({ ...figures, limits, end: now });
}
return out;
}"""

FAST = {"rate": 50e6, "delay": 0.01, "seconds": 10}
SLOW = {"rate": 5e5, "delay": 0.1, "seconds": 40}
AGAIN = {"rate": 50e6, "delay": 0.01, "seconds": 30}


def run(page: Page, *phases: dict[str, float], **more: object) -> Any:
    """Figures of each phase."""
    return page.evaluate(LINE, {"phases": phases, **more})


def latencies(phase: Any, since: float = 0) -> list[float]:
    """Of the pictures of a phase, but for its first seconds."""
    begin = phase["pictures"][0][0] + since
    return [late for at, late in phase["pictures"] if at >= begin]


def longest_gap(phase: Any) -> float:
    """The longest time without a picture."""
    return max(later - sooner for (sooner, _), (later, _) in pairwise(phase["pictures"]))


@pytest.mark.parametrize(
    "more",
    [{}, {"busy": 0.4e6}, {"sound": False}, {"most": 2_500_000, "busy": 4e6}],
    ids=["rich", "plain", "silent", "large"],
)
def test_a_slow_line_is_followed_and_a_good_one_used_again(plain: Page, more: dict[str, Any]) -> None:
    fast, slow, again = run(plain, FAST, SLOW, AGAIN, **more)
    large = "most" in more
    assert fast["dropped"] <= 1  # behind the first keyframe
    assert max(fast["halved"]) == 0
    assert max(latencies(slow)) < (1.0 if large else 0.5)  # also when the line became slow at once
    assert longest_gap(slow) < 0.6
    late = sorted(latencies(slow, 5))
    assert late[-1] < 0.6
    assert late[len(late) // 2] < 0.25  # the line's own delay, and hardly a queue
    assert len(late) > 0.8 * 30 * 35
    assert max(slow["halved"]) >= 1
    assert again["halved"][-1] == 0
    assert again["limits"][-1] >= more.get("most", 833e3)
    assert max(latencies(again, 25)) < 0.1


def test_a_line_that_was_slow_from_the_beginning(plain: Page) -> None:
    (slow,) = run(plain, SLOW)
    assert max(latencies(slow)) < 1.0
    assert 0.5 * 5e5 < slow["limits"][-1] < 1.5 * 5e5


def test_a_very_slow_line_gets_a_smaller_picture_and_fewer_frames(plain: Page) -> None:
    _, slow = run(plain, FAST, {"rate": 1.5e5, "delay": 0.1, "seconds": 40})
    assert slow["halved"][-1] == 2
    assert max(latencies(slow, 15)) < 1.0
    assert len(latencies(slow, 15)) > 10 * 20


@pytest.mark.parametrize("who", ["page", "room"])
@pytest.mark.parametrize(("line", "lost"), [(FAST, 2), ({"rate": 2e6, "delay": 0.1}, 6)], ids=["near", "far"])
def test_a_machine_that_stands_still_is_no_slow_line(
    plain: Page, who: str, line: dict[str, float], lost: int
) -> None:
    stalls = [(begin, begin + 0.3, who) for begin in (5, 7, 8, 8.6, 12)]
    (got,) = run(plain, line | {"seconds": 20}, stalls=stalls)
    assert set(got["limits"]) == {1e9}
    assert max(got["halved"]) == 0
    assert got["dropped"] <= lost * len(stalls)  # they would have come too late, or nearly


def test_a_longer_way_is_no_queue(plain: Page) -> None:
    _, far = run(plain, FAST, {"rate": 50e6, "delay": 0.3, "seconds": 20})
    assert max(latencies(far)) < 0.35
    assert far["limits"][-1] >= 833e3
    assert far["halved"][-1] == 0


def test_nothing_is_sent_into_silence(plain: Page) -> None:
    states = plain.evaluate(
        """async () => {
        const { Pace } = await import('/js/tunnel_pace.js');
        const pace = new Pace();
        pace.sent(1, 100, 0); pace.acked(1, 0, 0.1);
        for (let i = 0; i < 10; i++) pace.sent(2 + i, 100, 0.2 + i / 30);
        const before = [];
        for (let now = 0.5; now < 6; now += 0.1) before.push(pace.blocked(now, 0));
        pace.acked(11, 0, 6);
        const after = pace.blocked(6.1, 0);
        const full = pace.blocked(6.1, 10_000_000);
        pace.acked(11, 0.6, 6.2);
        return [before.filter((one, i) => one !== before[i - 1]), after, full, pace.blocked(6.2, 0)];
        }"""
    )
    assert states == [[None, "behind", "silent"], None, "behind", "behind"]


def test_layers_share_from_the_smallest(plain: Page) -> None:
    shares = plain.evaluate(
        """async () => {
        const { share } = await import('/js/tunnel_layers.js');
        const most = [2e5, 7e5, 2.5e6];
        const of = (sent) => (limit, ...some) =>
          share(limit, most.map((one, i) => ({ most: one, wanted: some.includes(i), sent })));
        const [on, off] = [of(true), of(false)];
        return [on(Infinity, 0, 1, 2), on(2.2e6, 0, 1, 2), off(2.2e6, 0, 1, 2), on(6e5, 0, 1, 2),
          on(4e5, 0, 1, 2), on(4e5, 2), on(1000, 1), on(1e6)];
        }"""
    )
    assert shares == [
        [2e5, 7e5, 2.5e6],
        [2e5, 7e5, 1.3e6],
        [2e5, 7e5, 0],
        [2e5, 4e5, 0],
        [2e5, 0, 0],
        [0, 0, 4e5],
        [0, 4e4, 0],
        [0, 0, 0],
    ]


def test_a_picture_fits_what_there_is_and_does_not_flutter(plain: Page) -> None:
    fits = plain.evaluate(
        """async () => {
        const { fit } = await import('/js/tunnel_layers.js');
        let halved = 0;
        return [833e3, 420e3, 410e3, 500e3, 660e3, 670e3, 130e3, 40e3, 30e3, 10e3].map((bps) => {
          const got = fit(bps, 833e3, 480, halved);
          halved = got.halved;
          return [halved, got.every];
        }).concat([Object.values(fit(40e3, 133e3, 120, 0))]);
        }"""
    )
    sizes = [[0, 1], [0, 1], [1, 1], [1, 1], [1, 1], [0, 1], [2, 1], [2, 2], [2, 2], [2, 3]]
    assert fits == [*sizes, [0, 2]]
