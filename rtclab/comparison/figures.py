"""From what was taken down to the table: one row for each architecture, formulas beside what was measured.

The formulas want B, the bitrate of one person's media. It is taken from the other end of the wire than the
figure it is compared with: the uplink's from what arrives, everything else's from what the encoders gave. So
a formula agrees only if every copy that it speaks of was really made, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..measure import Quality, formulas, freezes, latency, luma, mean_quality, onsets, quality, skew, summary
from ..measure.formulas import ARCHITECTURES
from ..measure.freezes import Freezes
from ..measure.skew import SAMPLE_RATE
from ..mixing.canvas import Canvas, Item
from ..mixing.layouts import Rect
from .recorder import Recorder
from .talker import Talker
from .trial import LAG_S, Recording

WITH_FORMULA = (
    "uplink_bps",
    "downlink_bps",
    "encodes",
    "decodes",
    "connections",
    "server_in_bps",
    "server_out_bps",
)


def figures(recording: Recording) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """The figures of one architecture.

    Returns
    -------
    row : dict
        For `Comparison.frame`.
    participants : pandas.DataFrame
        One row for each participant.
    latencies : pandas.DataFrame
        One row for each frame, viewer and talker.
    """
    participants = _participants(recording)
    server = _server(recording)
    latencies = _latencies(recording)
    row: dict[str, Any] = {
        "architecture": recording.architecture,
        "participants": recording.plan.participants,
    }
    for name in participants.columns.drop(["architecture", "participant"]):
        row[name] = float(participants[name].mean())
    row.update(server)
    row.update(_formulas(recording, participants))
    found = summary(latencies)
    row["latency_p50_s"], row["latency_p95_s"] = found.p50_s, found.p95_s
    row["frames_missing"] = found.missing / max(found.missing + found.frames, 1)
    stops = _stops(recording, latencies)
    row["fps"] = float(np.mean([stop.fps for stop in stops]))
    row["freezes"] = sum(stop.count + stop.pauses for stop in stops)
    row["frozen_s"] = sum(stop.total_s + stop.paused_s for stop in stops)
    mean = mean_quality(_qualities(recording))
    row["ssim"], row["psnr_db"] = mean.ssim, mean.psnr_db
    skews = _skews(recording, latencies)
    row["skew_s"] = float(np.median(skews)) if skews else math.nan
    newcomer, others = recording.talkers[-1], recording.talkers[:-1]
    first = [recording.recorders[newcomer.name].first[talker.stream] for talker in others]
    row["first_frame_s"] = float(np.median(first)) - recording.joined_s
    return row, participants, latencies


# -- rates ----------------------------------------------------------------------------------------------


def _participants(recording: Recording) -> pd.DataFrame:
    """What each sends and receives, all connections and kinds together."""
    seconds = recording.end.peers_at - recording.begin.peers_at
    rows = []
    for talker in recording.talkers:
        begin, end = (
            snapshot.peers[snapshot.peers["name"] == talker.name]
            for snapshot in (recording.begin, recording.end)
        )
        row: dict[str, Any] = {"architecture": recording.architecture, "participant": talker.name}
        for link, direction in (("uplink", "up"), ("downlink", "down")):
            for unit, column in (("bps", "payload_bytes"), ("wire_bps", "wire_bytes")):
                row[f"{link}_{unit}"] = 8 * _grown(begin, end, column, direction) / seconds
        row["encodes"], row["decodes"] = (_at_work(begin, end, direction) for direction in ("up", "down"))
        row["connections"] = sum(
            _grown(begin[begin["connection"] == name], end[end["connection"] == name], "packets") > 0
            for name in end["connection"].unique()
        )
        for kind in ("video", "audio"):
            for direction in ("up", "down"):
                row[f"{kind}_{direction}_bps"] = (
                    8 * _grown(begin, end, "payload_bytes", direction, kind) / seconds
                )
        rows.append(row)
    return pd.DataFrame(rows)


def _server(recording: Recording) -> dict[str, float]:
    """What the room gets and gives, and what that costs it."""
    seconds = recording.end.room_at - recording.begin.room_at
    begin, end = recording.begin.room, recording.end.room
    row: dict[str, float] = {}
    for way in ("in", "out"):
        row[f"server_{way}_bps"] = 8 * _grown(begin, end, "bytes", way) / seconds
        row[f"server_{way}_pps"] = _grown(begin, end, "packets", way) / seconds
    passed = recording.end.cpu_at - recording.begin.cpu_at
    row["server_cores"] = (recording.end.cpu_s - recording.begin.cpu_s) / passed
    row["peers_cores"] = (recording.end.peers_cpu_s - recording.begin.peers_cpu_s) / passed
    return row


def _grown(
    begin: pd.DataFrame, end: pd.DataFrame, column: str, direction: str | None = None, kind: str | None = None
) -> float:
    """By how much a counter has grown, over all rows of a direction and kind."""
    total = 0.0
    for frame, sign in ((begin, -1), (end, 1)):
        rows = np.ones(len(frame), bool)
        if direction is not None:
            rows &= (frame["direction"] == direction).to_numpy()
        if kind is not None:
            rows &= (frame["kind"] == kind).to_numpy()
        total += sign * float(frame.loc[rows, column].fillna(0).sum())
    return total


def _at_work(begin: pd.DataFrame, end: pd.DataFrame, direction: str) -> int:
    """How many encoders or decoders of a participant's video have had frames meanwhile."""
    before, after = (
        frame[(frame["kind"] == "video") & (frame["direction"] == direction)]
        .groupby(["connection", "track"])["frames"]
        .sum()
        for frame in (begin, end)
    )
    return int((after.sub(before, fill_value=0) > 0).sum())


def _formulas(recording: Recording, participants: pd.DataFrame) -> dict[str, float]:
    """The formulas' values; NaN for an architecture that has none."""
    if recording.architecture not in ARCHITECTURES:
        return {f"{name}_formula": math.nan for name in WITH_FORMULA}
    people = recording.plan.participants
    begin, end = recording.begin.room, recording.end.room
    seconds = recording.end.room_at - recording.begin.room_at

    def rate(kind: str, way: str) -> float:
        return 8 * _grown(begin, end, "bytes", way, kind) / seconds

    copies = people - 1 if recording.architecture == "mesh" else 1  # of one person's media that are sent
    sent = {kind: float(participants[f"{kind}_up_bps"].mean()) / copies for kind in ("video", "audio")}
    if recording.mixed:
        arrived = {kind: rate(kind, "in") / people for kind in sent}
        mix = {kind: rate(kind, "out") / people for kind in sent}
        mix_received = {kind: float(participants[f"{kind}_down_bps"].mean()) for kind in sent}
    else:
        arrived = {kind: float(participants[f"{kind}_down_bps"].mean()) / (people - 1) for kind in sent}
        mix = mix_received = dict.fromkeys(sent, math.nan)

    def values(media: dict[str, float], mixed: dict[str, float]) -> dict[str, float]:
        return formulas(
            recording.architecture,
            people,
            media["video"],
            audio_bps=media["audio"],
            mix_bps=mixed["video"],
            mix_audio_bps=mixed["audio"],
        )

    from_sent, from_arrived = values(sent, mix), values(arrived, mix_received)
    row = {f"{name}_formula": from_sent[name] for name in WITH_FORMULA}
    row["uplink_bps_formula"] = from_arrived["uplink_bps"]
    row["server_out_bps_formula"] = values(sent, mix_received)["server_out_bps"]
    return {**row, "video_bps": sent["video"], "audio_bps": sent["audio"]}


# -- what was seen and heard ----------------------------------------------------------------------------


def _pairs(recording: Recording) -> Iterator[tuple[str, Recorder, Talker]]:
    """Each viewer's name and recorder with each talker that it watches."""
    for viewer, recorder in recording.recorders.items():
        for talker in recording.talkers:
            if talker.name != viewer:
                yield viewer, recorder, talker


def _span(recording: Recording) -> tuple[float, float]:
    """From when to when everybody recorded."""
    return recording.begin.peers_at, recording.end.peers_at


def _latencies(recording: Recording) -> pd.DataFrame:
    """A row for all that was sent meanwhile, except for what may have been under way at the end."""
    begin, end = _span(recording)
    parts = []
    for viewer, recorder, talker in _pairs(recording):
        part = latency(talker.sent, recorder.seen.get(talker.stream, []), (begin, end))
        slowest = part["latency_s"][part["sent_s"] >= begin].max()  # NaN without a frame
        under_way = np.fmax(slowest, LAG_S + 1 / talker.fps)
        last_seen = part["frame"][part["seen_s"].notna()].max()
        part = part[(part["sent_s"] <= end - under_way) | (part["frame"] <= last_seen)]
        part.insert(0, "talker", talker.name)
        part.insert(0, "viewer", viewer)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(0, "architecture", recording.architecture)
    return frame


def _stops(recording: Recording, latencies: pd.DataFrame) -> list[Freezes]:
    """How evenly each talker's pictures came to each viewer, even if none did."""
    stops = []
    for viewer, _, talker in _pairs(recording):
        own = (latencies["viewer"] == viewer) & (latencies["talker"] == talker.name)
        stops.append(freezes(latencies.loc[own, "seen_s"].dropna(), _span(recording), talker.fps))
    return stops


def _qualities(recording: Recording) -> list[Quality]:
    references: dict[tuple[int, int], NDArray[np.uint8]] = {}
    found = []
    for _, recorder, talker in _pairs(recording):
        for number, received in recorder.kept.get(talker.stream, []):
            key = talker.stream, number
            if key not in references:
                references[key] = _reference(talker, number, received.shape, recording.mixed)
            found.append(quality(references[key], received, without_code=True))
    return found


def _reference(talker: Talker, number: int, shape: tuple[int, ...], mixed: bool) -> NDArray[np.uint8]:
    """Luma of the frame that was sent; as the mixer would have drawn it without a codec in between."""
    picture = talker.frame(number)
    if not mixed:
        return luma(picture)
    height, width = shape
    canvas = Canvas(width, height)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    canvas.draw([Item(talker.name, talker.name, frame, number)], [Rect(0, 0, width, height)])
    plane = canvas.frame.planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]


def _skews(recording: Recording, latencies: pd.DataFrame) -> list[float]:
    """Sound against picture: each participant hears the next one."""
    people = len(recording.talkers)
    found: list[float] = []
    for place, viewer in enumerate(recording.talkers):
        talker = recording.talkers[(place + 1) % people]
        own = latencies[(latencies["viewer"] == viewer.name) & (latencies["talker"] == talker.name)]
        pictures = dict(zip(own["frame"], own["seen_s"], strict=True))
        beeps = _beeps(recording.recorders[viewer.name], talker)
        seen = {int(number): float(at) for number, at in pictures.items() if not math.isnan(at)}
        found += [float(value) for value in skew(seen, beeps, talker.fps)["skew_s"]]
    return found


def _beeps(recorder: Recorder, talker: Talker) -> NDArray[np.float64]:
    """When the beeps of a talker were heard, by when the block came that each begins in."""
    if not recorder.sound:
        return np.zeros(0)
    arrived = np.array([at for at, _ in recorder.sound])
    starts = np.cumsum([0] + [len(block) for _, block in recorder.sound])
    samples = np.concatenate([block for _, block in recorder.sound])
    at = np.rint(onsets(samples, frequency=talker.beep_hz) * SAMPLE_RATE).astype(int)
    block = np.searchsorted(starts, at, side="right") - 1
    heard: NDArray[np.float64] = arrived[block] + (at - starts[block]) / SAMPLE_RATE
    return heard
