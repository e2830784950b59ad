"""Encoders of a tunnel that fail, or whose frames are lost: made anew, and never a delta after a gap."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

ENCODERS = """
const made = [], sent = [], failures = [];
class Encoder {
  constructor(told) {
    Object.assign(this, told, { state: "unconfigured", inside: [] });
    made.push(this);
  }
  configure() { this.state = "configured"; }
  encode({ timestamp }, { keyFrame }) {
    this.inside.push({ timestamp, type: keyFrame ? "key" : "delta", byteLength: 3 });
  }
  out() { this.output(this.inside.shift()); }
  fail() { this.state = "closed"; this.error(new Error("taken back")); }
  close() { this.state = "closed"; }
}
let source;
class Processor { readable = new ReadableStream({ start: (controller) => { source = controller; } }); }
Object.assign(globalThis, { VideoEncoder: Encoder, MediaStreamTrackProcessor: Processor });
const { PictureSender } = await import("/js/tunnel_encode.js");
const { Tally } = await import("/js/tunnel_figures.js");
let lost = null, time = 0;
const outlet = {
  now: () => time,
  blocked: () => null,
  send: ({ chunk, rid }) => {
    if (!lost) sent.push(`${rid} ${chunk.type} ${chunk.timestamp}`);
    return lost;
  },
  failed: (error) => failures.push(error.message),
};
const encodings = a.map((rid, i) => ({ rid, scaleResolutionDownBy: 2 ** i }));
const sender = new PictureSender({ media: {}, encodings }, "vp8", outlet, () => new Tally());
const layer = (rid) => sender.layers.find((one) => one.rid === rid);
const shoot = async () => {
  time += 1 / 30;
  source.enqueue({ timestamp: Math.round(30 * time), displayWidth: 640, displayHeight: 360, close() {} });
  await new Promise((done) => setTimeout(done));
};
"""


@pytest.fixture
def run(plain: Page) -> Any:
    """Evaluates JavaScript with a sender of some layers; its encoders do what the test says."""
    return lambda body, *rids: plain.evaluate(f"async (a) => {{ {ENCODERS} {body} }}", rids)


def test_nothing_follows_a_lost_frame_but_a_keyframe(run: Any) -> None:
    sent, drops = run(
        """const { encoder, figures } = layer("");
        await shoot(); encoder.out();
        await shoot(); await shoot();
        lost = "silent"; encoder.out();
        lost = null; encoder.out();  // it was inside when the other was lost
        await shoot(); encoder.out();
        await shoot(); encoder.out();
        return [sent, [...figures.dropped]];""",
        "",
    )
    assert sent == [" key 1", " key 4", " delta 5"]
    assert drops == [["silent", 1], ["waiting_for_keyframe", 1]]


def test_a_tunnel_that_begins_anew_begins_with_a_keyframe(run: Any) -> None:
    sent = run(
        """const { encoder } = layer("");
        await shoot(); encoder.out();
        await shoot();
        sender.restart();
        encoder.out();
        await shoot(); encoder.out();
        return sent;""",
        "",
    )
    assert sent == [" key 1", " key 3"]


def test_an_encoder_that_fails_is_replaced_and_the_others_go_on(run: Any) -> None:
    sent, failures, count, drops = run(
        """await shoot();
        for (const one of sender.layers) one.encoder.out();
        await shoot();
        layer("f").encoder.fail();
        layer("h").encoder.out();
        await shoot();
        for (const one of sender.layers) one.encoder.out();
        return [sent, failures, made.length, [...layer("f").figures.dropped]];""",
        "f",
        "h",
    )
    assert sent == ["h key 1", "f key 1", "h delta 2", "h delta 3", "f key 3"]
    assert failures == []
    assert count == 3
    assert drops == [["not_encoded", 1]]


def test_what_fails_twice_in_a_row_is_given_up_and_refused_when_nothing_is_left(run: Any) -> None:
    told, sent = run(
        """const told = [];
        for (const rid of ["f", "f", "h", "h"]) {
          await shoot();
          layer(rid).encoder.fail();
          told.push(failures.length);
          if (rid === "f") layer("h").encoder.out();
        }
        await shoot();
        return [told, sent];""",
        "f",
        "h",
    )
    assert told == [0, 0, 0, 1]
    assert sent == ["h key 1", "h delta 2"]


def test_errors_with_pictures_between_them_are_no_reason_to_give_up(run: Any) -> None:
    failures, sent = run(
        """for (let i = 0; i < 5; i++) {
          await shoot(); layer("").encoder.out();
          await shoot(); layer("").encoder.fail();
        }
        return [failures, sent.length];""",
        "",
    )
    assert (failures, sent) == ([], 5)
