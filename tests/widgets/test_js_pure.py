"""The JavaScript that needs no connection: frame code, figures of getStats, phases, bitrates, failures."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from rtclab.measure.frame_code import FrameCode, cell_levels, crc16, draw_frame_code, read_frame_code

MEDIUM = (640, 360)


def call(page: Page, module: str, body: str, argument: object = None) -> object:
    """Evaluate `body` with the module as `m` and the argument as `a`."""
    return page.evaluate(f"async (a) => {{ const m = await import('/js/{module}'); {body} }}", argument)


@pytest.mark.parametrize(("width", "height"), [(160, 90), (854, 480), (480, 640)])
def test_python_reads_what_the_page_draws(plain: Page, width: int, height: int) -> None:
    pixels = call(
        plain,
        "frame_code.js",
        """const [width, height] = a;
        const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
        context.fillStyle = "#678"; context.fillRect(0, 0, width, height);
        m.drawFrameCode(context, width, height, 65536 + 54321, 201);
        const bytes = context.getImageData(0, 0, width, height).data;
        return await new Promise((done) => {
          const reader = new FileReader();
          reader.onload = () => done(reader.result.split(",")[1]);
          reader.readAsDataURL(new Blob([bytes]));
        });""",
        [width, height],
    )
    assert isinstance(pixels, str)
    picture = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[:, :, :3]
    assert read_frame_code(picture) == FrameCode(54321, 201)
    expected = np.full((height, width, 3), (0x66, 0x77, 0x88), np.uint8)
    draw_frame_code(expected, 54321, 201)
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize(("width", "height"), [(160, 90), MEDIUM])
def test_the_page_reads_what_python_draws(plain: Page, width: int, height: int) -> None:
    picture = np.full((height, width, 3), 90, np.uint8)
    draw_frame_code(picture, 40_007, 7)
    opaque = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    read = """const [width, height, from, data] = a;
        const bytes = new Uint8ClampedArray(await (await fetch(`data:;base64,${data}`)).arrayBuffer());
        return m.readFrameCode(new ImageData(bytes, width, height - from), height);"""
    for start in (0, height // 3):
        rows = base64.b64encode(opaque[start:].tobytes()).decode()
        assert call(plain, "frame_reader.js", read, [width, height, start, rows]) == {
            "frame": 40_007,
            "stream": 7,
        }
    opaque[height - int(2 * width / 20) :, : width // 2, :3] = 128
    spoilt = base64.b64encode(opaque.tobytes()).decode()
    assert call(plain, "frame_reader.js", read, [width, height, 0, spoilt]) is None


def test_garbage_is_no_code(plain: Page) -> None:
    accepted = call(
        plain,
        "frame_reader.js",
        """let seed = 1; const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
        let accepted = 0;
        for (let i = 0; i < 300; i++) {
          const image = new ImageData(160, 90);
          const cell = 4 + Math.floor(random() * 8);
          const levels = Array.from({ length: 4000 }, () => (random() < 0.5 ? 20 : 235));
          for (let y = 0; y < 90; y++) for (let x = 0; x < 160; x++) {
            const level = levels[Math.floor(y / cell) * 40 + Math.floor(x / cell)];
            image.data.set([level, level, level, 255], 4 * (y * 160 + x));
          }
          accepted += m.readFrameCode(image) ? 1 : 0;
        }
        accepted += m.readFrameCode(new ImageData(40, 40)) ? 1 : 0;
        return accepted;""",
    )
    assert accepted == 0
    assert (
        call(plain, "frame_code.js", "return m.crc16([...'123456789'].map((c) => c.charCodeAt(0)));")
        == 0x29B1
    )
    assert crc16(b"123456789") == 0x29B1
    assert cell_levels(0, 0).shape == (3, 16)


STATS = """
const item = (type, id, timestamp, fields) => [id, { id, type, timestamp, ...fields }];
const size = (scale) => ({ frameWidth: 320 * scale, frameHeight: 180 * scale, framesPerSecond: 30 });
const report = (at, packets, bytes, lost) => new Map([
  item("transport", "T", at, { selectedCandidatePairId: "P", bytesReceived: bytes }),
  item("candidate-pair", "P", at, { currentRoundTripTime: 0.02, availableOutgoingBitrate: 3e6 }),
  item("inbound-rtp", "I", at, { mid: "0", packetsReceived: packets, packetsLost: lost,
    bytesReceived: bytes, jitter: 0.004, framesDecoded: 9, ...size(2) }),
  ...["q", "f"].flatMap((rid, i) => [
    item("outbound-rtp", rid, at, { rid, mid: "1", bytesSent: bytes * (i + 1), packetsSent: packets,
      framesSent: 5 + i, ...size(1 + 3 * i) }),
    item("remote-inbound-rtp", `R${rid}`, at, { localId: rid, fractionLost: 0.1 * i, jitter: 0.001 }),
  ]),
  item("inbound-rtp", "X", at, { mid: "9" }),
]);
const slots = new Map(["t1", "t2"].map((track, i) => [String(i), { track, kind: "video", key: track }]));
const first = m.summarise(report(1000, 100, 50000, 0), slots, null);
const second = m.summarise(report(2000, 190, 175000, 10), slots, first);
"""


def test_figures_are_rates_since_the_report_before(plain: Page) -> None:
    row = call(plain, "stats.js", STATS + "return [first.rows.get('t1').bitrate_bps, second.rows.get('t1')];")
    assert isinstance(row, list)
    assert row[0] is None
    assert row[1]["bitrate_bps"] == pytest.approx(1_000_000)
    assert row[1]["loss"] == pytest.approx(0.1)
    assert row[1]["rtt_s"] == 0.02
    texts = call(
        plain, "stats.js", STATS + "return m.figures(second.rows.get('t1')).map(({ text }) => text);"
    )
    assert texts == ["640\u00d7360", "30 fps", "1.0 Mbit/s", "loss 10.0 %", "RTT 20 ms", "jitter 4.0 ms"]


def test_simulcast_layers_are_one_track(plain: Page) -> None:
    row = call(plain, "stats.js", STATS + "return second.rows.get('t2');")
    assert isinstance(row, dict)
    assert (row["width"], row["height"], row["frames"]) == (1280, 720, 6)
    assert row["bitrate_bps"] == pytest.approx(3_000_000)
    assert row["loss"] == pytest.approx(0.1)
    assert [layer["rid"] for layer in row["layers"]] == ["f", "q"]
    flat = call(plain, "stats.js", STATS + "return m.flat(second.rows.get('t2'));")
    assert isinstance(flat, dict)
    assert flat["q_bitrate_bps"] == pytest.approx(1_000_000)
    assert not any(isinstance(value, dict | list) for value in flat.values())
    assert len(flat) < 64


def test_the_picture_is_the_largest_layer_that_is_sent(plain: Page) -> None:
    row = call(
        plain,
        "stats.js",
        STATS
        + """const idle = report(2000, 190, 175000, 10);
        Object.assign(idle.get("f"), { active: false, framesPerSecond: 0 });
        const { width, fps, active, layers } = m.summarise(idle, slots, first).rows.get("t2");
        return [width, fps, active, layers.map((layer) => layer.active)];""",
    )
    assert row == [320, 30, True, [False, True]]


def test_candidate_pairs_are_told_with_their_ends_and_those_in_use_first(plain: Page) -> None:
    pairs: Any = call(
        plain,
        "stats.js",
        """const item = (id, type, fields) => [id, { id, type, ...fields }];
        const pair = (id, state, nominated) => item(id, "candidate-pair", { state, nominated, requestsSent: 4,
          localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.01 });
        const many = Array.from({ length: 20 }, (_, i) => pair(`W${i}`, "waiting", false));
        const report = new Map([...many, pair("F", "failed", false), pair("S", "succeeded", false),
          pair("N", "succeeded", true), pair("U", "succeeded", true),
          item("L", "local-candidate", { candidateType: "relay", relayProtocol: "tls", port: 1 }),
          item("R", "remote-candidate", { candidateType: "host", address: "192.0.2.1", port: 9,
            priority: 7 }),
          item("T", "transport", { selectedCandidatePairId: "U", iceLocalUsernameFragment: "abcd" })]);
        return m.pairsOf(report, "room");""",
    )
    assert [one["id"] for one in pairs[:3]] == ["room U", "room N", "room S"]
    assert len(pairs) == 12
    first = pairs[0]
    assert [one["selected"] for one in pairs] == [True] + 11 * [False]
    assert (first["local_type"], first["relay_protocol"], first["local"]) == ("relay", "tls", None)
    assert (first["remote"], first["remote_priority"], first["ufrag"]) == ("192.0.2.1:9", 7, "abcd")
    assert not any(isinstance(value, dict | list) for value in first.values())


def test_phases_count_without_the_wait_for_others(plain: Page) -> None:
    steps = call(
        plain,
        "phases.js",
        """const clock = new m.PhaseClock(["signaling", "ICE", "first frame"]);
        const log = [clock.current];
        clock.start(10); clock.reach("signaling", 11); clock.reach("ICE", 12);
        clock.pause(12); log.push(clock.stuck(100), clock.elapsed(100));
        clock.resume(100); log.push(clock.stuck(109), clock.stuck(110));
        log.push(clock.reach("first frame", 100.5));
        log.push(clock.current, clock.reach("first frame", 101));
        log.push(clock.steps.map(({ state, elapsed }) => [state, elapsed]));
        clock.rewind("ICE", 200); clock.fail(203);
        log.push(clock.steps.map(({ state }) => state), clock.stuck(300));
        return log;""",
    )
    assert steps == [
        None,
        None,
        2,
        None,
        "first frame",
        True,
        None,
        False,
        [["done", 1], ["done", 2], ["done", 2.5]],
        ["done", "failed", "todo"],
        None,
    ]


def test_every_phase_that_hangs_has_advice(plain: Page) -> None:
    texts = call(
        plain,
        "phases.js",
        """return ["permission", "signaling", "ICE", "DTLS", "first frame"].flatMap((phase) =>
          ["participant", "viewer"].map((role) => m.stuckAdvice(phase, role, "camera")));""",
    )
    assert isinstance(texts, list)
    for title, text in texts:
        assert title.endswith(".")
        assert len(text) > 40


def test_layers_get_the_bitrates_of_libwebrtc(plain: Page) -> None:
    rates = call(
        plain,
        "media.js",
        """const layers = m.encodingsFor("camera", true, 1280, 720);
        return [m.layerBitrate(1280, 720), m.layerBitrate(320, 180), m.layerBitrate(4000, 3000),
          m.layerBitrate(1120, 630), layers.map((e) => [e.rid, e.scaleResolutionDownBy, e.maxBitrate]),
          m.encodingsFor("camera", false, 640, 360), m.encodingsFor("screen", true, 1920, 1080).length];""",
    )
    assert isinstance(rates, list)
    assert rates[:3] == [2_500_000, 200_000, 5_000_000]
    assert 1_200_000 < rates[3] < 2_500_000
    assert rates[4] == [["q", 4, 200_000], ["h", 2, 700_000], ["f", 1, 2_500_000]]
    assert rates[5:] == [[{"maxBitrate": 700_000}], 1]


@pytest.mark.parametrize(
    ("name", "choice", "says"),
    [
        ("NotAllowedError", "camera", "refused"),
        ("NotAllowedError", "screen", "Press Start to be asked again"),
        ("NotFoundError", "microphone:x", "No microphone was found"),
        ("NotReadableError", "camera:x", "another program"),
        ("OverconstrainedError", "camera", "Choose another"),
        ("InsecureContext", "camera", "localhost"),
        ("SomethingNewError", "camera", "SomethingNewError: why"),
    ],
)
def test_every_failed_capture_says_what_to_try(plain: Page, name: str, choice: str, says: str) -> None:
    body = "const e = m.captureError({ name: a[0], message: 'why' }, a[1]); return [e.code, e.message];"
    said: Any = call(plain, "media.js", body, [name, choice])
    assert said[0] == name
    assert says in said[1]


def test_an_inactive_line_keeps_its_sources(plain: Page) -> None:
    kept = call(
        plain,
        "peer.js",
        """const line = (mid, ...rest) => [`m=video 9 X 96`, `a=mid:${mid}`, ...rest, ""].join("\\r\\n");
        const head = "v=0\\r\\n";
        const sources = ["a=ssrc-group:FID 1 2", "a=ssrc:1 cname:x", "a=ssrc:2 cname:x"];
        const first = head + line(0, "a=sendonly", ...sources) + line(1, "a=recvonly");
        const second = head + line(0, "a=inactive") + line(1, "a=inactive") + line(2, "a=inactive");
        const held = m.keepSources(second, first);
        const third = head + line(0, "a=sendonly", "a=ssrc:3 cname:x");
        const rest = line(1, "a=inactive") + line(2, "a=inactive");
        const same = m.keepSources(second, held) === held;
        return [held === head + line(0, "a=inactive", ...sources) + rest, same,
          m.keepSources(third, held) === third, m.keepSources(first, "") === first];
        """,
    )
    assert kept == [True, True, True, True]


def test_what_is_sent_directly_to_many_is_one_track(plain: Page) -> None:
    row: Any = call(
        plain,
        "stats.js",
        """const layer = { rid: "", bitrate_bps: 1000, width: 320, height: 180 };
        const counts = { bytes: 10, header_bytes: 1, packets: 2, frames: 5, nacks: 0, plis: 0, keyframes: 1 };
        const one = { ...layer, ...counts, kind: "video", loss: null };
        const rows = new Map();
        for (let i = 0; i < 3; i++) m.joinRows(rows, "t", { ...one, rtt_s: i / 10, layers: [layer] });
        return m.flat(rows.get("t"));""",
    )
    assert (row["bytes"], row["packets"], row["bitrate_bps"]) == (30, 6, 3000)
    assert (row["connections"], row["via"], row["rtt_s"], row["frames"]) == (3, "direct", 0.2, 5)
    assert not any(isinstance(value, dict | list) for value in row.values())


def test_the_way_of_the_media_is_said_in_words(plain: Page) -> None:
    texts = call(
        plain,
        "architecture.js",
        """const peers = ["a", "b"].map((name) => ({ id: name, name, polite: false }));
        const direct = { name: "mesh", direct: true, mixed: false };
        const mesh = (some, connected) => m.wayText({ ...direct, peers: some }, connected);
        return [mesh([], 0), mesh(peers, 1), mesh(peers, 2), mesh(peers.slice(1), 1),
          ...["relay", "sfu", "mcu", "mine"].map((name) => m.wayText(m.plainArchitecture(name), 0)),
          m.reasonText("last_n"), m.reasonText("a_new_reason")];""",
    )
    assert texts == [
        "mesh: nobody else to connect to",
        "mesh: directly to 1 of 2 others",
        "mesh: directly to 2 others",
        "mesh: directly to 1 other",
        "relay: the room forwards one encoding to those who ask",
        "SFU: the room forwards a layer to each view",
        "MCU: the room mixes everyone into one picture",
        "mine: the room forwards",
        "not among the N who spoke last",
        "a new reason",
    ]
