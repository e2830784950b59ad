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
        got = [players.get("audio").figures.frames > 0, from.refusals, to.tunnel.strays];""",
        codec,
    )
    assert got == [True, [], 0]


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
