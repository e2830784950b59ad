"""Two ends of a tunnel in one page: real encoders and decoders, and a carrier that can be made slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

LOOP = (Path(__file__).parent / "tunnel_loop.js").read_text("utf-8")

START = """
const { loop, until } = await import("/js/tunnel_loop.js");
const { openPattern } = await import("/js/pattern.js");
const { encodingsFor } = await import("/js/media.js");
const { readVideoCode } = await import("/js/frame_reader.js");
const { video, audio } = openPattern({ label: "loop", picture: true, sound: true });
const layers = encodingsFor("pattern", true, 640, 360);
const { from, to, close } = loop({ video, audio, encodings: layers, codec: a, rids: ["h"] });
const players = to.tunnel.players;
const picture = () => players.get("video");
const demand = (...rids) => from.demands.set("video", { active: rids.length > 0, rids });
"""
END = "close(); video.stop(); audio.stop(); return got;"


@pytest.fixture
def looped(plain: Page) -> Page:
    def serve(route: Route) -> None:
        route.fulfill(body=LOOP, content_type="text/javascript")

    plain.route("**/js/tunnel_loop.js", serve)
    return plain


def run(page: Page, body: str, codec: str = "VP8") -> Any:
    """Evaluate `body` between two ends of a tunnel."""
    return page.evaluate(
        f"async (a) => {{ {START} let got; try {{ {body} }} finally {{ close(); }} {END} }}", codec
    )


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_picture_and_its_sound_arrive_and_layers_are_switched(looped: Page, codec: str) -> None:
    got = run(
        looped,
        """await until(() => picture()?.figures.width === 640 && players.get("audio")?.shownAt > 0);
        const element = document.createElement("video");
        element.muted = true;
        element.srcObject = new MediaStream([picture().track]);
        await element.play();
        const first = await until(() => readVideoCode(element));
        await until(() => (readVideoCode(element)?.frame ?? 0) > first.frame);
        demand("f");
        await until(() => picture().figures.width === 1280);
        const keys = picture().figures.keyframes;
        from.tunnel.receive(new Uint8Array([3, 0, 1, 48, 0]).buffer);
        await until(() => picture().figures.keyframes > keys);
        demand();
        got = [players.get("audio").figures.frames > 0, from.refusals.size, to.tunnel.strays];""",
        codec,
    )
    assert got == [True, 0, 0]


def test_what_was_lost_is_waited_out_until_a_keyframe(looped: Page) -> None:
    got = run(
        looped,
        """await until(() => picture()?.shownAt > 0);
        from.carrier.dead = true;
        await until(() => from.tunnel.senders.get("video").layers[1].figures.dropped.get("carrier_lost") > 0);
        const keys = picture().figures.keyframes;
        from.carrier.dead = false;
        await until(() => picture().figures.keyframes > keys);
        // a frame that went into the carrier and did not come out of it
        to.tunnel.acks.number -= 3;
        const before = picture().figures.keyframes;
        await until(() => picture().figures.keyframes > before);
        got = picture().figures.dropped.get("waiting_for_keyframe") > 0;""",
    )
    assert got is True


def test_what_does_not_go_says_why(looped: Page) -> None:
    got = run(
        looped,
        """await until(() => picture()?.shownAt > 0 && players.get("audio")?.shownAt > 0);
        const { senders } = from.tunnel;
        const tallies = [senders.get("video").layers[1].figures, senders.get("audio").figures];
        const dropped = (reason) => until(() => tallies.every((tally) => tally.dropped.get(reason)));
        from.carrier.dead = true;
        await dropped("carrier_lost");
        from.carrier.dead = false;
        const { midOf } = from.peer;
        from.peer.midOf = () => null;
        await dropped("not_negotiated");
        from.peer.midOf = midOf;
        for (const tally of tallies) tally.dropped.clear();
        from.link = "reconnecting"; // else it would begin anew
        from.tunnel.pace.blocked = () => "silent";
        await dropped("silent");
        got = tallies.map((tally) => tally.dropped.has("carrier_lost"));""",
    )
    assert got == [False, False]


def test_a_packet_that_cannot_be_decoded_silences_nobody(looped: Page) -> None:
    got = run(
        looped,
        """const sound = await until(() => players.get("audio")?.shownAt > 0 && players.get("audio"));
        const lost = () => sound.figures.dropped.get("not_decoded") ?? 0;
        sound.take({ time: sound.times.at(-1) ?? 0, payload: new Uint8Array([255]) });
        await until(lost);
        const { shownAt } = sound;
        await until(() => sound.shownAt > shownAt + 0.3 && sound.times.length < 5);
        got = lost();""",
    )
    assert got >= 1


def test_sound_that_waits_for_its_decoder_is_told_and_bounded(looped: Page) -> None:
    got = run(
        looped,
        """const sound = await until(() => players.get("audio")?.shownAt > 0 && players.get("audio"));
        let waits = 30;
        Object.defineProperty(sound.decoder, "decodeQueueSize", { get: () => waits });
        await until(() => from.tunnel.pace.waiting > 0.5);
        const before = sound.figures.dropped.get("decoder_busy") ?? 0;
        waits = 60;
        await until(() => sound.figures.dropped.get("decoder_busy") > 3);
        waits = 0;
        const { frames } = sound.figures;
        await until(() => from.tunnel.pace.waiting < 0.5 && sound.figures.frames > frames);
        got = before;""",
    )
    assert got == 0


def test_a_picture_that_cannot_be_decoded_is_followed_by_a_keyframe(looped: Page) -> None:
    got = run(
        looped,
        """await until(() => picture()?.shownAt > 0);
        const broken = picture().decoder;
        picture().take({ key: true, time: 0, payload: new Uint8Array([0, 0, 0, 1, 2, 3, 4]) });
        await until(() => broken.state === "closed");
        const { keyframes, dropped } = picture().figures;
        const { shownAt } = picture();
        await until(() => picture().figures.keyframes > keyframes && picture().shownAt > shownAt);
        got = [dropped.get("not_decoded"), dropped.get("codec_not_supported") ?? 0];""",
    )
    assert got == [1, 0]


def test_an_encoder_that_the_browser_takes_back_is_replaced(looped: Page) -> None:
    got = run(
        looped,
        """await until(() => picture()?.shownAt > 0);
        const sender = from.tunnel.senders.get("video");
        const layer = sender.layers.find(({ rid }) => rid === "h");
        const { encoder } = layer;
        const { keyframes } = picture().figures;
        encoder.configure({ codec: "hvc1.1.6.L93.B0", width: 640, height: 360 });
        await until(() => encoder.state === "closed");
        await until(() => picture().figures.keyframes > keyframes);
        const first = from.refusals.size;
        sender.codec = "hvc1.1.6.L93.B0";
        for (const one of sender.layers) one.told = 0;
        demand("q", "h", "f");
        await until(() => from.refusals.size);
        got = [first, [...from.refusals], sender.layers.map((one) => one.encoder.state)];""",
    )
    first, refusals, states = got
    assert first == 0
    ((key, text),) = refusals
    assert key == "video"
    assert "cannot encode" in text
    assert set(states) == {"closed"}


def test_sound_that_is_not_allowed_is_asked_for_once_and_again_after_a_click(looped: Page) -> None:
    got = run(
        looped,
        """const sound = await until(() => players.get("audio")?.shownAt > 0 && players.get("audio"));
        const activation = { hasBeenActive: false };
        Object.defineProperty(navigator, "userActivation", { value: activation, configurable: true });
        const asked = [];
        const held = () => sound.figures.dropped.get("sound_not_allowed") ?? 0;
        const more = async () => { const goal = held() + 10; await until(() => held() > goal); };
        sound.context.resume = () => (asked.push(activation.hasBeenActive), new Promise(() => {}));
        await sound.context.suspend();
        await more();
        activation.hasBeenActive = true;
        await more();
        delete navigator.userActivation;
        got = asked;""",
    )
    assert got == [False, True]


def test_the_clock_of_who_is_not_watched_any_more_is_forgotten(looped: Page) -> None:
    got = run(
        looped,
        """await until(() => picture()?.shownAt > 0 && players.get("audio"));
        const sizes = () => [players.size, to.tunnel.clocks.size];
        got = [sizes()];
        to.wanted.delete("audio");
        to.tunnel.arrange();
        got.push(sizes());
        to.wanted.clear();
        to.tunnel.arrange();
        got.push(sizes());""",
    )
    assert got == [[2, 1], [1, 1], [0, 0]]
