"""A recording made by hand: what a comparison would have taken down on a perfect way."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rtclab.comparison.recorder import Recorder
from rtclab.comparison.talker import Talker
from rtclab.comparison.trial import Plan, Recording, Snapshot
from rtclab.measure import formulas, luma
from rtclab.measure.skew import OPUS_LOOK_AHEAD_S
from rtclab.mixing.canvas import Canvas, Item
from rtclab.mixing.layouts import Rect

VIDEO_BPS, AUDIO_BPS, MIX_BPS, MIX_AUDIO_BPS = 400_000.0, 80_000.0, 500_000.0, 60_000.0
SECONDS, START_S = 4.0, 1000.0
LATENCY_S, SOUND_LATENCY_S = 0.08, 0.11


def recording(architecture: str, people: int = 3, *, lost_every: int = 0) -> Recording:
    """Everything as it should be; of pictures each `lost_every`-th never comes."""
    plan = Plan(people, SECONDS, (160, 90), 10, True, 500_000)
    talkers = [Talker(place, plan.size, plan.fps) for place in range(people)]
    recorders = {talker.name: Recorder() for talker in talkers}
    for talker in talkers:
        talker.sent.update({number: START_S + number / plan.fps for number in range(round(10 * SECONDS))})
    for place, viewer in enumerate(talkers):
        recorder = recorders[viewer.name]
        for talker in talkers:
            if talker is viewer:
                continue
            times = [(number, at + LATENCY_S) for number, at in talker.sent.items()]
            seen = [pair for pair in times if not lost_every or pair[0] % lost_every]
            recorder.first[talker.stream] = START_S + 0.3
            recorder.seen[talker.stream] = seen
            recorder.kept[talker.stream] = [(3, drawn(talker, 3, architecture == "mcu"))]
        heard = talkers[(place + 1) % people]
        delay = round(OPUS_LOOK_AHEAD_S * 48_000)
        for block in range(int(SECONDS * 50)):
            samples = heard.samples(max(block * 960 - delay, 0), 960)[:, 0]
            recorder.sound.append((START_S + block / 50 + SOUND_LATENCY_S, samples))
    return Recording(
        architecture,
        plan,
        talkers,
        recorders,
        architecture == "mcu",
        START_S,
        _snapshot(architecture, talkers, 0.0),
        _snapshot(architecture, talkers, SECONDS),
    )


def drawn(talker: Talker, number: int, mixed: bool) -> NDArray[np.uint8]:
    """Luma of a frame, as it is or as it stands in a mix."""
    picture = talker.frame(number)
    if not mixed:
        return luma(picture)
    canvas = Canvas(talker.width, talker.height)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    canvas.draw([Item("", talker.name, frame, 0)], [Rect(0, 0, talker.width, talker.height)])
    return canvas.frame.to_ndarray()[: talker.height].astype(np.uint8)


def _snapshot(architecture: str, talkers: list[Talker], seconds: float) -> Snapshot:
    people = len(talkers)
    peers: list[dict[str, Any]] = []
    room: list[dict[str, Any]] = []

    def line(name: str, connection: str, direction: str, kind: str, bps: float, track: str) -> None:
        size = bps * seconds / 8
        counters = {"packets": size / 1000, "payload_bytes": size, "wire_bytes": 1.06 * size}
        peers.append(
            {
                "name": name,
                "connection": connection,
                "direction": direction,
                "kind": kind,
                "track": f"{kind} of {track}",
                "frames": round(10 * seconds),
                **counters,
            }
        )

    for talker in talkers:
        others = [other.name for other in talkers if other is not talker]
        for kind, bps, mix_bps in (("video", VIDEO_BPS, MIX_BPS), ("audio", AUDIO_BPS, MIX_AUDIO_BPS)):
            for connection in others if architecture == "mesh" else ["room"]:
                line(talker.name, connection, "up", kind, bps, talker.name)
            for other in others if architecture != "mcu" else ["everyone"]:
                got = mix_bps if architecture == "mcu" else bps
                line(talker.name, other if architecture == "mesh" else "room", "down", kind, got, other)
            server = formulas(
                architecture,
                people,
                bps * (kind == "video"),
                audio_bps=bps * (kind == "audio"),
                mix_bps=mix_bps * (kind == "video"),
                mix_audio_bps=mix_bps * (kind == "audio"),
            )
            for way in ("in", "out"):
                size = server[f"server_{way}_bps"] * seconds / 8 / people
                room.append({"direction": way, "kind": kind, "bytes": size, "packets": size / 1000})
    at = START_S + seconds
    return Snapshot(pd.DataFrame(peers), at, pd.DataFrame(room), at, 0.05 * seconds, 0.4 * seconds, at)
