"""`Room.stats`: what the room received and sent, one row for each track and viewer."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..forwarding.consumer import Consumer
from ..rtp.drops import Drop, Drops
from ..signaling.member import Member, Owner, Publication
from ..signaling.server import SignalingServer

COLUMNS = [
    "direction",
    "track",
    "publisher",
    "kind",
    "source",
    "codec",
    "viewer",
    "transport",
    "layer",
    "target_layer",
    "reason",
    "width",
    "height",
    "fps",
    "bitrate_bps",
    "packets",
    "bytes",
    "packets_lost",
    "loss_fraction",
    "jitter_s",
    "rtt_s",
    "estimate_bps",
    "keyframes",
    "nacks",
    "plis",
    "retransmitted_packets",
    "switches",
]


def stats_frame(server: SignalingServer) -> pd.DataFrame:
    """Collect the figures of every track.

    Returns
    -------
    pandas.DataFrame
        Rows with ``direction == "in"`` are what the room gets of a publisher (one for each layer), rows
        with ``direction == "out"`` what a viewer gets of a track. Units are in the names; each reason
        for which packets were dropped is a column ``dropped_<reason>`` that counts them.
    """
    rows: list[dict[str, Any]] = []
    for member in server.members.values():
        for publication in member.publications.values():
            rows.extend(_incoming(member, publication))
    for viewer in server.members.values():
        for subscription in viewer.subscriptions.values():
            published = server.track(subscription.track)
            if published is not None:
                rows.append(_outgoing(viewer, published, subscription.consumer))
    frame = pd.DataFrame(rows)
    dropped = sorted(name for name in frame.columns if name.startswith("dropped_"))
    frame = frame.reindex(columns=COLUMNS + dropped)
    frame[dropped] = frame[dropped].fillna(0).astype("int64")
    return frame


def drops_by_place(server: SignalingServer) -> dict[str, dict[str, int]]:
    """Every packet dropped so far, by where it happened and why."""
    places: dict[str, Drops] = {"port": server.port.drops}
    for member in server.members.values():
        if member.client is None or member.transport is None:
            continue
        total = Drops()
        parts = [member.client.drops, member.transport.drops]
        if member.tunnel is not None:
            parts.append(member.tunnel.drops)
        for publication in member.publications.values():
            parts += [stream.drops for stream in publication.producer.streams]
        parts += [subscription.consumer.drops for subscription in member.subscriptions.values()]
        for part in parts:
            for reason, count in part.items():
                total.add(reason, count)
        places[member.name] = total
    return {
        place: {reason.value: count for reason, count in drops.items()} for place, drops in places.items()
    }


def _track(owner: Member | Owner, publication: Publication) -> dict[str, Any]:
    return {
        "track": publication.id,
        "publisher": owner.name,
        "kind": publication.producer.kind,
        "source": publication.source,
        "codec": publication.codec.name,
    }


def _dropped(drops: Drops) -> dict[str, int]:
    return {f"dropped_{reason.value}": count for reason, count in drops.items()}


def _incoming(member: Member, publication: Publication) -> list[dict[str, Any]]:
    return [
        {
            "direction": "in",
            **_track(member, publication),
            "transport": member.way,
            "layer": stream.rid,
            "width": stream.width,
            "height": stream.height,
            "fps": stream.fps,
            "bitrate_bps": stream.bitrate_bps,
            "packets": stream.packets,
            "bytes": stream.bytes,
            "packets_lost": stream.reception.lost,
            "jitter_s": stream.reception.jitter_s,
            "keyframes": stream.keyframe_count,
            "nacks": stream.nacks_sent,
            "plis": stream.plis_sent,
            "retransmitted_packets": stream.recovered,
            **_dropped(stream.drops),
        }
        for stream in publication.producer.by_size()
    ]


def _outgoing(viewer: Member, publication: Publication, consumer: Consumer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "direction": "out",
        **_track(publication.owner, publication),
        "viewer": viewer.name,
        "transport": viewer.way,
        "layer": consumer.current_rid,
        "target_layer": consumer.target_rid,
        "reason": consumer.reason.value if consumer.reason is not None else None,
        "bitrate_bps": consumer.bitrate_bps,
        "packets_lost": consumer.packets_lost,
        "loss_fraction": consumer.loss_fraction,
        "jitter_s": consumer.jitter_s,
        "rtt_s": consumer.rtt_s,
        "estimate_bps": consumer.estimate_bps,
        "nacks": consumer.nacks,
        "plis": consumer.plis,
        **_dropped(consumer.drops),
    }
    producer, index = consumer.producer, consumer.row
    if producer is None or index is None:
        return row
    fanout = producer.fanout
    current = int(fanout.current[index])
    if current >= 0:
        stream = producer.streams[current]
        row.update(width=stream.width, height=stream.height, fps=stream.fps)
    row.update(
        packets=int(fanout.packets[index]),
        bytes=int(fanout.octets[index]),
        retransmitted_packets=int(fanout.rtx_packets[index]),
        switches=int(fanout.switches[index]),
    )
    for reason, column in (
        (Drop.TEMPORAL_LAYER, fanout.dropped_temporal),
        (Drop.WAITING_FOR_KEYFRAME, fanout.dropped_waiting),
        (Drop.SOCKET_FULL, fanout.dropped_socket_full),
        (Drop.SEND_ERROR, fanout.dropped_send_error),
    ):
        row[f"dropped_{reason.value}"] = int(column[index])
    return row
