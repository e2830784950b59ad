"""What a page shows of a tunnel: what comes too late is decoded, as more follows from it, and not shown."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# A player whose clock is set by hand, and `count` pictures captured every `step` s, a keyframe first;
# `late` says how much later than the quickest each comes. Returns which were shown, and what was left out.
PLAY = """async ({ late, step }) => {
const { PicturePlayer } = await import("/js/tunnel_play.js");
const { PlayoutClock } = await import("/js/tunnel_clock.js");
const frames = [];
const encoder = new VideoEncoder({
  output: (chunk) => {
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    frames.push({ key: chunk.type === "key", jpeg: false, time: chunk.timestamp, payload });
  },
  error: (error) => { throw error; },
});
encoder.configure({ codec: "vp8", width: 320, height: 180, latencyMode: "realtime" });
const canvas = new OffscreenCanvas(320, 180);
const context = canvas.getContext("2d");
for (let i = 0; i < late.length; i += 1) {
  context.fillRect(i, i, 10, 10);
  const picture = new VideoFrame(canvas, { timestamp: Math.round(1e6 * i * step) });
  encoder.encode(picture, { keyFrame: i === 0 });
  picture.close();
  await encoder.flush();
}
encoder.close();
let now = 0;
const shown = [];
const player = new PicturePlayer(new PlayoutClock(), { now: () => now, askKeyframe() {}, shown() {} });
player.screen.show = (picture) => {
  shown.push(Math.round(picture.timestamp / 1e6 / step));
  picture.close();
};
for (let i = 0; i < late.length; i += 1) {
  now = 1 + i * step + late[i];
  player.take(frames[i]);
  const seen = () => shown.length + (player.figures.dropped.get("behind") ?? 0);
  while (seen() <= i) await new Promise((done) => setTimeout(done, 2));
}
const { dropped, frames: decoded } = player.figures;
player.close();
return { shown, dropped: Object.fromEntries(dropped), decoded };
}"""


def play(page: Page, late: list[float], step: float) -> Any:
    """Play pictures that come as `late` says."""
    return page.evaluate(PLAY, {"late": late, "step": step})


def test_what_comes_too_late_is_decoded_and_not_shown(plain: Page) -> None:
    got = play(plain, [0, 0.02, 0, 0.7, 1.4, 0.65, 0.55, 0.2, 0], 1 / 30)
    assert got == {"shown": [0, 1, 2, 6, 7, 8], "dropped": {"behind": 3}, "decoded": 9}


def test_a_way_that_stays_longer_is_how_things_are(plain: Page) -> None:
    got = play(plain, [0] * 3 + [0.8] * 12, 1)
    # one that is late is shown after two seconds without a picture, and all of them some seconds later
    assert got["shown"][:5] == [0, 1, 2, 4, 6]
    assert got["shown"][-4:] == [11, 12, 13, 14]


def test_another_clock_is_not_late(plain: Page) -> None:
    got = play(plain, [0, 0, 0, 30, 30, 30], 1 / 30)
    assert got["shown"] == [0, 1, 2, 3, 4, 5]
