"""Media without UDP, the page's side: messages, pace, clocks, the choice of the way, time passed in."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from rtclab.transport import tunnel_format


def call(page: Page, module: str, body: str, argument: object = None) -> Any:
    """Evaluate `body` with the module as `m` and the argument as `a`."""
    return page.evaluate(f"async (a) => {{ const m = await import('/js/{module}'); {body} }}", argument)


CHUNK = "{ byteLength: 3, copyTo: (to) => to.set([7, 8, 9]) }"
FRAME = {"number": 4_000_000_001, "time": 1_795_000_000_123_456, "mid": "0", "rid": "q"}


def test_python_reads_what_the_page_packs(plain: Page) -> None:
    packed = call(
        plain,
        "tunnel_frames.js",
        f"""const frame = {{ ...a, key: true, audio: false, width: 640, height: 480 }};
        const messages = [m.packFrame(frame, {CHUNK}), m.packAck(17, 0.25), m.packKeyframe("3", "f")];
        return messages.map((bytes) => [...bytes]);""",
        FRAME,
    )
    frame, ack, keyframe = (tunnel_format.parse(bytes(one)) for one in packed)
    assert isinstance(frame, tunnel_format.Frame)
    assert (frame.number, frame.time_us, frame.mid, frame.rid) == (*list(FRAME.values()),)
    assert (frame.width, frame.height, frame.keyframe, bytes(frame.payload)) == (640, 480, True, b"\7\x08\t")
    assert ack == tunnel_format.Ack(17, 250)
    assert keyframe == tunnel_format.KeyframeRequest("3", "f")


def test_the_page_reads_what_it_packs_and_nothing_else(plain: Page) -> None:
    read = call(
        plain,
        "tunnel_frames.js",
        f"""const frame = {{ ...a, key: false, audio: true, width: 0, height: 0 }};
        const packed = m.packFrame(frame, {CHUNK});
        const got = m.unpack(packed.buffer);
        const ends = [...Array(packed.length - 3).keys()];
        const cut = ends.map((end) => m.unpack(packed.slice(0, end).buffer));
        const others = [[], [9], [2, 0], [3, 0, 200, 1], [1, 0, ...Array(16).fill(0), 255, 65]];
        const none = others.map((one) => m.unpack(new Uint8Array(one).buffer));
        return [{{ ...got, payload: [...got.payload] }}, cut.every((one) => one === null), none];""",
        FRAME,
    )
    expected = {"type": "frame", "key": False, "audio": True, "jpeg": False, "width": 0, "height": 0}
    assert read == [{**FRAME, **expected, "payload": [7, 8, 9]}, True, [None] * 5]


def test_a_keyframe_says_what_it_is_coded_with(plain: Page) -> None:
    told = call(
        plain,
        "tunnel_frames.js",
        """const bytes = (...some) => new Uint8Array([...some, 0, 0, 0, 0, 0, 0, 0, 0]);
        const delimiter = [0, 0, 0, 1, 9, 0xf0];
        return [bytes(0x10, 2, 0, 0x9d, 1, 0x2a), bytes(...delimiter, 0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f),
          bytes(0, 0, 1, 0x67, 0x64, 0, 0x28), bytes(1, 2, 3)].map(m.codecOf);""",
    )
    assert told == ["vp8", "avc1.42e01f", "avc1.640028", None]


def test_acks_come_by_count_and_by_time(plain: Page) -> None:
    seen = call(
        plain,
        "tunnel_pace.js",
        """const acks = new m.Acks();
        const out = [acks.due(0), acks.taken(1, 0), acks.due(0.05), acks.due(0.1), acks.take(), acks.due(9)];
        for (let i = 2; i <= 11; i++) acks.taken(i, 9);
        out.push(acks.due(9), acks.take(), acks.taken(13, 9), acks.due(9));
        return out;""",
    )
    assert seen == [False, True, False, True, 1, False, True, 11, False, False]


def test_sound_and_picture_of_one_publisher_are_due_together(plain: Page) -> None:
    got = call(
        plain,
        "tunnel_clock.js",
        """let seed = 7; const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
        const clock = new m.PlayoutClock();
        let late = 0, frames = 0;
        for (let i = 0; i < 3000; i++) {
          const time = 1.7e9 + i / 50;
          const now = 100 + i / 50 + 0.1 * random() ** 3;
          clock.arrived(time, now);
          if (i > 500) { frames += 1; if (clock.due(time) < now) late += 1; }
        }
        const quiet = clock.due(1.7e9 + 60) - clock.pictureDue(1.7e9 + 60, 160);
        clock.heard(0.03, 160);
        const shift = clock.pictureDue(1.7e9 + 60, 160) - clock.due(1.7e9 + 60);
        const gone = clock.pictureDue(1.7e9 + 60, 161) - clock.due(1.7e9 + 60);
        // the publisher's clock was set: time begins anew
        clock.arrived(1.7e9 + 9000, 162);
        const again = clock.due(1.7e9 + 9000) - 162 - clock.delay;
        return [late / frames, clock.delay, quiet, shift, gone, again];""",
    )
    late, delay, quiet, shift, gone, after = got
    assert late < 0.1
    assert delay < 0.12
    assert (quiet, gone) == (0, 0)
    assert shift == pytest.approx(0.03)
    assert after == pytest.approx(0, abs=1e-3)


def test_capture_times_are_even_however_late_they_are_read(plain: Page) -> None:
    steps = call(
        plain,
        "tunnel_clock.js",
        """const clock = new m.CaptureClock();
        const times = [];
        for (let i = 0; i < 300; i++) {
          clock.captured(i / 30, 50 + i / 30 + (i % 7 === 3 ? 0 : 0.02));
          times.push(clock.time(i / 30));
        }
        return times.slice(10).map((time, i) => time - times[i + 9]);""",
    )
    assert max(abs(step - 1 / 30) for step in steps) < 0.001


def test_a_clock_that_falls_behind_is_followed_and_a_lucky_sample_forgotten(plain: Page) -> None:
    lucky, slower, stopped, sooner = call(
        plain,
        "tunnel_clock.js",
        """const run = (late) => {
          const offset = new m.Offset();
          const out = [];
          for (let i = 0; i < 30 * 50; i++) out.push(offset.learn(i / 50 - late(i / 50), i / 50));
          return out.slice(-50 * 5).reduce((sum, one) => Math.max(sum, one), 0);
        };
        // one sample that came much sooner than all others; a clock that is one in a hundred slow; one that
        // stood still; and a way that has become shorter
        return [run((t) => (t === 5 ? 0.1 : 0.3)), run((t) => 0.2 + t / 100), run((t) => (t < 9 ? 0.1 : 0.8)),
          run((t) => (t < 9 ? 0.9 : 0.1))];""",
    )
    assert max(lucky, stopped, sooner) == pytest.approx(0, abs=1e-6)
    assert slower < 0.1


STATE = {
    "transport": "auto",
    "open": False,
    "connected": False,
    "aloneSince": 10.0,
    "lost": False,
    "needed": False,
    "retryAt": 1e9,
}


@pytest.mark.parametrize(
    ("changes", "now", "step", "says"),
    [
        ({}, 11.9, None, ""),
        ({}, 12.0, "open", "UDP did not get through within 2 s"),
        ({"aloneSince": None}, 99, None, ""),
        ({"lost": True}, 10.4, None, ""),
        ({"lost": True, "needed": True}, 10.5, "open", "any more"),
        ({"lost": True, "transport": "webrtc"}, 99, None, ""),
        ({"connected": True}, 99, None, ""),
        ({"transport": "webrtc"}, 99, None, ""),
        ({"transport": "websocket", "connected": True}, 10, "open", 'transport="websocket"'),
        ({"needed": True}, 10, "open", "last"),
        ({"open": True, "connected": True}, 10, "close", "gets through now"),
        ({"open": True, "retryAt": 40}, 39, None, ""),
        ({"open": True, "retryAt": 40}, 40, "retry", ""),
        ({"open": True, "transport": "websocket", "connected": True, "retryAt": 0}, 99, None, ""),
    ],
)
def test_the_tunnel_opens_when_it_is_needed(
    plain: Page, changes: dict[str, object], now: float, step: str | None, says: str
) -> None:
    body = "return m.nextStep(a[0], a[1]);"
    next_step = call(plain, "tunnel_choice.js", body, [STATE | changes, now])
    assert (next_step and next_step["step"]) == step
    assert says in (next_step["reason"] if next_step else "")


def test_a_busy_kernel_is_said_to_hold_back_what_goes_by_it(plain: Page) -> None:
    texts = call(
        plain,
        "ui.js",
        """const { PhaseClock } = await import("/js/phases.js");
        const phases = new PhaseClock(["signaling", "ICE", "DTLS", "first frame"]);
        phases.start(0);
        phases.reach("signaling", 0);
        phases.skip(["ICE", "DTLS"], 2);
        const client = { phases, home: "kernel", role: "viewer", status: "joined", link: "ok", tunnel: {} };
        Object.assign(client, { carrier: { kind: "comm" }, requests: { waited: () => 0 }, peer: null });
        client.mesh = { problem: () => null };
        const texts = [m.describe(client, 13, "camera").notice.title];
        phases.reach("first frame", 13);
        client.link = "busy";
        for (client.tunnel of [{}, null]) texts.push(m.describe(client, 13, "camera").notice.text);
        return texts;""",
    )
    hung, through, beside = texts
    assert hung == "Connected, but no picture has arrived.", "ICE is not blamed"
    assert through.startswith("Media go by it, too")
    assert beside.startswith("Media go on;")
