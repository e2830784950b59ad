"""Figures of whole pages, from what they tell and what the room counts: in each architecture as on paper."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from rtclab import Room
from rtclab.comparison import page_figures
from rtclab.comparison.pages import COLUMNS, pages
from rtclab.signaling.trace import TraceEntry

PEOPLE = ("alice", "bob", "carol")
VIDEO_BPS, AUDIO_BPS, MIX_BPS = 400_000.0, 40_000.0, 600_000.0
LAYERS = {"q": 50_000.0, "h": 150_000.0, "f": 400_000.0}
SECONDS = 4
TRACKS = {f"{kind}-{name}": (name, "camera") for name in PEOPLE for kind in ("video", "audio")}
Told = dict[str, dict[str, dict[str, Any]]]


def line(kind: str, bps: float, second: float, via: str = "room", **more: Any) -> dict[str, Any]:
    """A row of a page's report, `second` seconds after its track began."""
    size = bps * second / 8
    counters = {"bytes": size, "header_bytes": size / 50, "packets": size / 1000, "frames": 15 * second}
    return {"kind": kind, "via": via, **counters, **more}


def trace(reports: dict[str, dict[str, Any]], seconds: int = SECONDS) -> list[TraceEntry]:
    """Each page's lines, as `line` takes them, reported once a second."""
    entries = []
    for second in range(seconds + 1):
        for page, lines in reports.items():
            rows = [{"track": track, **line(second=second, **given)} for track, given in lines.items()]
            message = {"type": "stats", "time": 1000.0 + second, "tracks": rows}
            entries.append(TraceEntry(second, "in", page, page, "websocket", message))
    return entries


def told(architecture: str) -> Told:
    """What everybody's page says on a perfect way."""
    way = {"mesh": "direct", "mcu": "mix"}.get(architecture, "room")
    copies = 2 if architecture == "mesh" else 1
    found: Told = {}
    for name in PEOPLE:
        up: dict[str, Any] = {"limited": None, "active": True}
        if copies > 1:
            up.update(via="direct", connections=copies)
        picture = {"kind": "video", "bps": copies * VIDEO_BPS, **up}
        if architecture == "sfu":
            picture.update(bps=sum(LAYERS.values()))
            picture.update({f"{rid}_active": True for rid in LAYERS})
            picture.update({f"{rid}_bitrate_bps": bps for rid, bps in LAYERS.items()})
        lines = {
            f"video-{name}": picture,
            f"audio-{name}": {"kind": "audio", "bps": copies * AUDIO_BPS, **up},
        }
        if architecture == "mcu":
            lines["mix-video"] = {"kind": "video", "bps": MIX_BPS, "via": way, "freezes": 0}
            lines[f"mix-audio-{name}"] = {"kind": "audio", "bps": AUDIO_BPS, "via": way, "freezes": 0}
        else:
            for other in set(PEOPLE) - {name}:
                for kind, bps in (("video", VIDEO_BPS), ("audio", AUDIO_BPS)):
                    lines[f"{kind}-{other}"] = {"kind": kind, "bps": bps, "via": way, "freezes": 0}
        found[name] = lines
    return found


def counted(architecture: str) -> pd.DataFrame:
    """What the room says of the same."""
    rows: list[tuple[str, str, str, str | None, float]] = []
    for name in PEOPLE:
        layers = LAYERS.values() if architecture == "sfu" else [VIDEO_BPS]
        rows += [("in", name, "video", None, bps) for bps in layers]
        rows.append(("in", name, "audio", None, AUDIO_BPS))
        for other in PEOPLE:
            if architecture == "mcu" and other == name:
                rows += [("out", "room", "video", name, MIX_BPS), ("out", "room", "audio", name, AUDIO_BPS)]
            elif architecture != "mcu" and other != name:
                rows += [
                    ("out", other, "video", name, VIDEO_BPS),
                    ("out", other, "audio", name, AUDIO_BPS),
                ]
    frame = pd.DataFrame(rows, columns=["direction", "publisher", "kind", "viewer", "bitrate_bps"])
    if architecture == "mesh":
        frame["bitrate_bps"] = 0.0
    return frame


@pytest.mark.parametrize(
    ("architecture", "encodes", "decodes"), [("mesh", 2, 2), ("relay", 1, 2), ("sfu", 3, 2), ("mcu", 1, 1)]
)
def test_a_perfect_way_gives_the_formulas(architecture: str, encodes: int, decodes: int) -> None:
    frame = pages(trace(told(architecture)), TRACKS, PEOPLE, counted(architecture), architecture, None, 10)
    assert list(frame.columns) == COLUMNS
    assert frame["participant"].tolist() == list(PEOPLE)
    assert set(frame["seconds"]) == {SECONDS}
    assert (frame["encodes"].eq(encodes) & frame["decodes"].eq(decodes)).all()
    for name in ("uplink_bps", "downlink_bps", "encodes", "decodes"):
        assert frame[name].to_numpy() == pytest.approx(frame[f"{name}_formula"].to_numpy()), name
    for link in ("uplink", "downlink"):  # 1000 bytes in a packet: headers, and 44 of SRTP, UDP and IP
        ratio = frame[f"{link}_wire_bps"] / frame[f"{link}_bps"]
        assert ratio.to_numpy() == pytest.approx(1 + 1 / 50 + 44 / 1000)


@pytest.mark.parametrize("architecture", ["mesh", "relay", "sfu", "mcu"])
def test_a_copy_too_many_is_seen(architecture: str) -> None:
    reports = told(architecture)
    for figures in reports["bob"].values():
        figures["bps"] *= 2
    bob = pages(trace(reports), TRACKS, PEOPLE, counted(architecture), architecture, None, 10).iloc[1]
    assert bob["uplink_bps"] == pytest.approx(2 * bob["uplink_bps_formula"])
    assert bob["downlink_bps"] == pytest.approx(2 * bob["downlink_bps_formula"])


def test_what_stands_still_is_not_at_work() -> None:
    reports = told("sfu")
    reports["bob"]["video-bob"].update(h_active=False, f_bitrate_bps=0)
    reports["bob"]["video-alice"]["bps"] = 0
    entries = trace(reports)
    for entry in entries:
        for row in entry.message["tracks"]:
            if row["bytes"] == 0:
                row["frames"] = 30
    bob = pages(entries, TRACKS, PEOPLE, counted("sfu"), "sfu", None, 10).iloc[1]
    assert (bob["encodes"], bob["decodes"]) == (1, 1)
    assert (bob["encodes_formula"], bob["decodes_formula"]) == (3, 2)
    last_1 = pages(entries, TRACKS, PEOPLE, counted("sfu"), "sfu", 1, 10)
    assert last_1["decodes_formula"].tolist() == [1, 1, 1]


def test_only_the_last_seconds_count_and_a_new_connection_begins_at_zero() -> None:
    reports = {"bob": {"video-alice": {"kind": "video", "bps": VIDEO_BPS, "freezes": 0}}}
    entries = trace(reports, 30)
    for entry in entries[:20]:
        entry.message["tracks"][0]["bytes"] += 1e9
    bob = pages(entries, TRACKS, ["bob"], counted("sfu"), "sfu", None, 8).iloc[0]
    assert (bob["seconds"], bob["downlink_bps"], bob["uplink_bps"]) == (8, VIDEO_BPS, 0)
    everything = pages(entries, TRACKS, ["bob"], counted("sfu"), "sfu", None, 60).iloc[0]
    assert everything["downlink_bps"] == pytest.approx(VIDEO_BPS * 29 / 30)


def test_where_formulas_do_not_apply() -> None:
    for architecture in ("mesh", "sfu", "mine"):
        nobody = counted("sfu").iloc[:0]
        frame = pages(trace(told("sfu")), TRACKS, [], nobody, architecture, None, 10)
        assert frame.filter(like="_formula").isna().all(axis=None)
        assert frame["downlink_bps"].to_numpy() == pytest.approx(2 * (VIDEO_BPS + AUDIO_BPS))
    alone = {"bob": told("mesh")["bob"]}  # the others are headless and tell nothing
    bob = pages(trace(alone), TRACKS, PEOPLE, counted("mesh"), "mesh", None, 10).iloc[0]
    assert math.isnan(bob["uplink_bps_formula"])
    assert math.isnan(bob["downlink_bps_formula"])


def test_in_a_tunnel_the_wire_is_unknown() -> None:
    entries = trace(told("sfu"))
    for entry in entries:
        for row in entry.message["tracks"]:
            del row["header_bytes"]
            row["via"] = "tunnel"
            if row["kind"] == "audio":
                row.pop("limited", None)
    frame = pages(entries, TRACKS, PEOPLE, counted("sfu"), "sfu", None, 10)
    assert frame["uplink_bps"].to_numpy() == pytest.approx(frame["uplink_bps_formula"].to_numpy())
    assert frame[["uplink_wire_bps", "downlink_wire_bps"]].isna().all(axis=None)


def test_a_room_without_browsers_has_no_pages() -> None:
    with Room() as room:
        assert list(page_figures(room).columns) == COLUMNS
        assert page_figures(room).empty
