"""The m-lines of one connection of a headless peer, and what they have carried.

An m-line is used for one direction. When its track ends it goes inactive, and the next track of that kind
takes it over with the same sender or receiver and thus the same SSRC; a receiving one rather goes back to
the track that it had last, so that a decoder sees one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from . import rtc
from .outlets import Outlet, Spread
from .sinks import Inlet
from .sources import Source


class Sending:
    """An m-line that sends: free while nothing is plugged into its outlet."""

    def __init__(self, transceiver: RTCRtpTransceiver, outlet: Outlet) -> None:
        self.transceiver, self.outlet = transceiver, outlet
        self.spread: Spread | None = None
        self.source: Source | None = None
        self.track: str | None = None

    def take(self, spread: Spread, source: Source | None = None, track: str | None = None) -> None:
        """Send `spread` from the next negotiation on, beginning with a keyframe."""
        self.spread, self.source, self.track = spread, source, track
        self.transceiver.direction = "sendonly"
        self.outlet.paused = False
        self.outlet.plug(spread)
        rtc.send_keyframe(self.transceiver.sender)  # a sender used before still has its last picture

    def release(self) -> Spread | None:
        """Send nothing more; returns what was plugged in."""
        spread, self.spread = self.spread, None
        self.outlet.unplug()
        self.source, self.track = None, None
        self.transceiver.direction = "inactive"
        return spread

    def pause(self, paused: bool) -> None:
        """Send nothing until resumed, which begins with a keyframe."""
        if self.outlet.paused and not paused:
            rtc.send_keyframe(self.transceiver.sender)
        self.outlet.paused = paused


class Receiving:
    """An m-line that receives: free while it has no track."""

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self.transceiver = transceiver
        self.inlet = Inlet()
        self.track: str | None = None
        self.former: str | None = None

    def take(self, track: str) -> None:
        """Receive `track` from now on."""
        rtc.begin_stream(self.transceiver)
        self.transceiver.direction = "recvonly"
        self.track = self.former = track

    def release(self) -> None:
        """Receive nothing more; the next offer says so."""
        self.inlet.release()
        self.track = None
        self.transceiver.direction = "inactive"


class Lines:
    """The m-lines of one connection.

    Parameters
    ----------
    connection : aiortc.RTCPeerConnection
        The connection.
    on_first_frame : callable
        Called with the first frame that any of them sends or receives.
    """

    def __init__(self, connection: RTCPeerConnection, on_first_frame: Callable[[], None]) -> None:
        self.sending: list[Sending] = []
        self.receiving: list[Receiving] = []
        self._connection = connection
        self._on_first_frame = on_first_frame
        self._meter: rtc.Meter | None = None

    def sender(self, kind: str) -> Sending:
        """A free m-line that sends, or a new one."""
        for line in self.sending:
            if line.spread is None and line.transceiver.kind == kind:
                return line
        outlet = Outlet(kind)
        outlet.on_first_frame = self._on_first_frame
        line = Sending(self._connection.addTransceiver(outlet, "sendonly"), outlet)
        self._set_up(line.transceiver)
        self.sending.append(line)
        return line

    def receiver(self, kind: str, track: str) -> Receiving:
        """A free m-line that receives, or a new one; it has `track` from now on."""
        free = [line for line in self.receiving if line.track is None and line.transceiver.kind == kind]
        line = next((line for line in free if line.former == track), free[0] if free else None)
        if line is None:
            line = self.received(self._connection.addTransceiver(kind, "recvonly"))
        line.take(track)
        return line

    def received(self, transceiver: RTCRtpTransceiver) -> Receiving:
        """The receiving m-line of a transceiver."""
        for line in self.receiving:
            if line.transceiver is transceiver:
                return line
        line = Receiving(transceiver)
        line.inlet.on_first_frame = self._on_first_frame
        self._set_up(transceiver)
        self.receiving.append(line)
        return line

    def receiving_track(self, track: str | None) -> Receiving | None:
        """The m-line that receives `track`."""
        return next((line for line in self.receiving if track is not None and line.track == track), None)

    def purposes(self) -> list[dict[str, Any]]:
        """What each m-line in use is for, as an offer to the room says it."""
        purposes: list[dict[str, Any]] = []
        for sending in self.sending:
            if sending.source is not None:
                kind, size = sending.transceiver.kind, sending.source.size
                entry: dict[str, Any] = {"mid": sending.transceiver.mid, "direction": "send", "muted": False}
                entry["source"] = sending.source.label(kind)
                if kind == "video" and size is not None:
                    entry["width"], entry["height"] = size
                purposes.append(entry)
        for receiving in self.receiving:
            if receiving.track is not None:
                mid = receiving.transceiver.mid
                purposes.append({"mid": mid, "direction": "receive", "track": receiving.track})
        return purposes

    def agreed(self, tracks: Mapping[str, str | None]) -> None:
        """Note which track each m-line carries by the room's answer, by mid."""
        for sending in self.sending:
            if sending.source is not None:
                sending.track = tracks.get(sending.transceiver.mid or "")
        for receiving in self.receiving:
            if receiving.track not in (None, tracks.get(receiving.transceiver.mid or "")):
                receiving.release()  # it ended while the offer was on its way

    def figures(self, now: float) -> Iterator[dict[str, Any]]:
        """What each m-line in use has carried so far; see `rtclab.peers.Peer.stats`."""
        meter = self._meter
        if meter is None:
            return
        for sending in self.sending:
            if sending.track is not None:
                count, outlet = meter.sent(sending.transceiver.sender), sending.outlet
                yield _figures(sending, "up", count, meter, outlet.frames, outlet.active(now))
        for receiving in self.receiving:
            if receiving.track is not None:
                count, inlet = meter.received(receiving.transceiver.receiver), receiving.inlet
                yield _figures(receiving, "down", count, meter, inlet.frames, inlet.active(now))

    def stop(self) -> None:
        """End all outlets, so that no sender waits for a frame."""
        for line in self.sending:
            line.outlet.stop()

    async def stop_reading(self) -> None:
        """Let go of all that is received."""
        for line in self.receiving:
            line.release()
            await line.inlet.stop()

    def _set_up(self, transceiver: RTCRtpTransceiver) -> None:
        if self._meter is None:  # all m-lines share one transport
            self._meter = rtc.Meter(transceiver.receiver.transport)
            rtc.route_by_mid(transceiver.receiver.transport)


def _figures(
    line: Sending | Receiving, direction: str, count: rtc.Count, meter: rtc.Meter, frames: int, active: bool
) -> dict[str, Any]:
    return {
        "direction": direction,
        "kind": line.transceiver.kind,
        "track": line.track,
        "packets": count.packets,
        "payload_bytes": count.payload,
        "wire_bytes": count.plain + count.packets * meter.overhead,
        "frames": frames,
        "encoder_active": active and direction == "up",
        "decoder_active": active and direction == "down",
    }
