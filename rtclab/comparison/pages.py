"""What taking part costs a real browser: bits each way and video codecs at work, beside the formulas.

All of it is in the `stats` messages of its page, which are getStats made short. As in a comparison, the
bitrate B of the formulas is taken from the other end of the wire: what the room receives of a page and sends
to it, and in a mesh what the other pages say.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from ..measure import formulas
from ..measure.formulas import ARCHITECTURES
from ..peers.rtc import UDP_IP_BYTES
from ..room import Room
from ..signaling.trace import TraceEntry
from .browsers import grown, names_told, published, reports

SRTP_TAG_BYTES = 16  # of AES-GCM, which the room chooses, and Chromium too
UP, DOWN = ("uplink_bps", "encodes"), ("downlink_bps", "decodes")
COLUMNS = [
    "participant",
    "seconds",
    "uplink_bps",
    "uplink_wire_bps",
    "downlink_bps",
    "downlink_wire_bps",
    "encodes",
    "decodes",
    *(f"{name}_formula" for name in UP + DOWN),
]


def page_figures(room: Room, seconds: float = 10.0) -> pd.DataFrame:
    """Figures of each page that has told something.

    Take them when nobody has come, gone or switched the architecture for so long.

    Parameters
    ----------
    room : Room
        A room with browsers.
    seconds : float
        Over how much of the time before a page's last report.

    Returns
    -------
    pandas.DataFrame
        One row for each page: ``participant``, ``seconds`` (between its reports), ``uplink_bps`` and
        ``downlink_bps`` (payload), ``uplink_wire_bps`` and ``downlink_wire_bps`` (with RTP, SRTP, UDP and
        IPv4 headers; NaN while media goes by the WebSocket), ``encodes`` and ``decodes`` (video encoders and
        decoders at work; each simulcast layer is an encoder), and four of them on paper, as
        ``<figure>_formula``: of what the room sees now, for as many others as watch the page (in a mesh: as
        are there) and as publish. They are NaN in an architecture without formulas, for who publishes or
        gets nothing or has left, and in a mesh where only headless peers know B.

    Notes
    -----
    Browsers give no SSIM or PSNR, no skew of sound and picture, and no processor time of the server;
    `rtclab.compare` measures these with headless peers.
    """
    people = [participant.name for participant in room.participants]
    stats, architecture = room.stats(), room.architecture
    return pages(room.signaling, published(room), people, stats, architecture, room.last_n, seconds)


def pages(
    entries: Iterable[TraceEntry],
    tracks: dict[str, tuple[str, str]],
    people: Collection[str],
    stats: pd.DataFrame,
    architecture: str,
    last_n: int | None,
    seconds: float,
) -> pd.DataFrame:
    """`page_figures` of a trace and of what `Room.stats` says.

    Parameters
    ----------
    entries : iterable of TraceEntry
        What was said.
    tracks : dict of str to (str, str)
        As `published` gives them.
    people : collection of str
        Who is in the room now.
    stats : pandas.DataFrame
        As `Room.stats` gives it.
    architecture : str
        The room's.
    last_n : int or None
        The room's.
    seconds : float
        As above.
    """
    entries = list(entries)
    names = names_told(entries) | tracks
    told: dict[str, list[tuple[float, list[dict[str, Any]]]]] = {}
    for page, at, figures in reports(entries):
        if figures:
            told.setdefault(page, []).append((at, figures))
    if not told:
        return pd.DataFrame(columns=COLUMNS)
    lines = pd.concat([_lines(page, several, names, seconds) for page, several in told.items()])
    rows = []
    for page in told:
        own = lines[lines["page"] == page]
        up, down = own[own["direction"] == "up"], own[own["direction"] == "down"]
        row: dict[str, Any] = {"participant": page, "seconds": own["seconds"].iloc[0]}
        for link, way in (("uplink", up), ("downlink", down)):
            for unit in ("bps", "wire_bps"):
                row[f"{link}_{unit}"] = way[unit].sum(skipna=False)
        row["encodes"], row["decodes"] = int(up["codecs"].sum()), int(down["codecs"].sum())
        paper: dict[str, float] = {}
        if architecture == "mesh":
            paper = _paper_of_mesh(page, people, lines)
        elif architecture in ARCHITECTURES:
            paper = _paper(page, architecture, stats, last_n)
        row.update({f"{name}_formula": paper.get(name, math.nan) for name in UP + DOWN})
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


# -- what a page says -----------------------------------------------------------------------------------


def _lines(
    page: str,
    told: list[tuple[float, list[dict[str, Any]]]],
    names: Mapping[str, tuple[str, str]],
    seconds: float,
) -> pd.DataFrame:
    """A row for each track that a page sends or receives, with rates from its first report to its last."""
    last_s = told[-1][0]
    told = [(at, figures) for at, figures in told if at >= last_s - seconds]
    passed = last_s - told[0][0]
    of: dict[str, list[dict[str, Any]]] = {}
    for _, figures in told:
        for row in figures:
            of.setdefault(str(row.get("track")), []).append(row)
    rows = []
    for track, several in of.items():
        last = several[-1]
        publisher = names.get(track, ("", ""))[0]
        sends = "limited" in last or publisher == page  # sound in a tunnel does not say
        payload, frames = grown(several, "bytes"), grown(several, "frames")
        headers = grown(several, "header_bytes") if "header_bytes" in last else math.nan
        wire = payload + headers + (UDP_IP_BYTES + SRTP_TAG_BYTES) * grown(several, "packets")
        at_work = last.get("kind") == "video" and frames > 0
        rows.append(
            {
                "page": page,
                "seconds": passed,
                "direction": "up" if sends else "down",
                "publisher": page if sends else publisher,
                "kind": last.get("kind"),
                "bps": 8 * payload / passed if passed else math.nan,
                "wire_bps": 8 * wire / passed if passed else math.nan,
                "copies": int(last.get("connections", 1)) if sends else 1,
                "codecs": (_encoders(last) if sends else 1) if at_work else 0,
            }
        )
    return pd.DataFrame(rows)


def _encoders(figures: Mapping[str, Any]) -> int:
    """One for each connection in a mesh, one for each layer that is sent elsewhere."""
    if figures.get("via") == "direct":
        return int(figures.get("connections", 1))
    layers = [name.removesuffix("active") for name in figures if name.endswith("_active")]
    if not layers:
        return int(figures.get("active") is not False)
    # one that never had a frame is called active, too
    return sum(bool(figures[f"{layer}active"] and figures.get(f"{layer}bitrate_bps")) for layer in layers)


# -- what it is on paper --------------------------------------------------------------------------------


def _paper(page: str, architecture: str, stats: pd.DataFrame, last_n: int | None) -> dict[str, float]:
    """By what the room gets and gives."""
    got, given = stats[stats["direction"] == "in"], stats[stats["direction"] == "out"]
    mixed = architecture == "mcu"
    paper: dict[str, float] = {}
    own = got[got["publisher"] == page]
    watchers = given.loc[given["publisher"] == page, "viewer"].nunique()
    layers = [float(bps) for bps in own.loc[own["kind"] == "video", "bitrate_bps"] if bps > 0]
    if len(own) and (watchers or mixed):
        values = formulas(
            architecture, 1 + watchers, sum(layers), audio_bps=_bps(own, "audio"), layers_bps=layers
        )
        paper.update({name: values[name] for name in UP})
    gets = given[given["viewer"] == page]
    others = got.loc[(got["publisher"] != page) & (got["kind"] == "video"), "publisher"].nunique()
    if len(gets) and others:
        video, audio = _bps(gets, "video"), _bps(gets, "audio")
        pictures = int(((gets["kind"] == "video") & (gets["bitrate_bps"] > 0)).sum())
        values = formulas(
            architecture,
            1 + others,
            video / max(pictures, 1),
            audio_bps=audio / others,
            last_n=last_n,
            mix_bps=video,
            mix_audio_bps=audio,
        )
        paper.update({name: values[name] for name in DOWN})
    return paper


def _paper_of_mesh(page: str, people: Collection[str], lines: pd.DataFrame) -> dict[str, float]:
    """By what the other pages say, since nothing passes the room; everybody is connected to everybody."""
    paper: dict[str, float] = {}
    others = set(people) - {page}
    rest = lines[lines["page"].isin(others)]
    arrived = rest[(rest["direction"] == "down") & (rest["publisher"] == page)]
    if page in people and len(arrived):
        values = formulas("mesh", 1 + len(others), arrived["bps"].sum() / arrived["page"].nunique())
        paper.update({name: values[name] for name in UP})
    own = lines[(lines["page"] == page) & (lines["direction"] == "down")]
    senders = set(own["publisher"])
    sent = rest[(rest["direction"] == "up") & rest["publisher"].isin(senders)]
    if page in people and senders and senders == set(sent["publisher"]):
        one_copy = (sent["bps"] / sent["copies"]).sum() / len(senders)
        values = formulas("mesh", 1 + len(senders), one_copy)
        paper.update({name: values[name] for name in DOWN})
    return paper


def _bps(rows: pd.DataFrame, kind: str) -> float:
    return float(rows.loc[rows["kind"] == kind, "bitrate_bps"].fillna(0).sum())
