"""A room for the tests of headless peers: stock aiortc that decodes and encodes everything again."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from aiortc import RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from rtclab.peers import rtc
from rtclab.peers.feeds import Borrowed
from rtclab.peers.outlets import Outlet, Spread
from rtclab.signaling.carrier import Carrier


class AnsweringRoom:
    """What a room does, as little as possible of it.

    Attributes
    ----------
    refuse : set of str
        Kinds of media that are refused when published.
    deaf : bool
        Whether messages are swallowed.
    log : list of (str, dict)
        Every message, as (name of the client, message).
    """

    def __init__(self) -> None:
        self.clients: list[Member] = []
        self.published: dict[str, dict[str, Any]] = {}
        self.media: dict[str, Any] = {}
        self.relay = MediaRelay()
        self.numbers = itertools.count(1)
        self.refuse: set[str] = set()
        self.deaf = False
        self.log: list[tuple[str, dict[str, Any]]] = []

    def connect(self, carrier: Carrier) -> Member:
        member = Member(self, carrier)
        self.clients.append(member)
        return member

    def messages(self, name: str, kind: str) -> list[dict[str, Any]]:
        return [message for sender, message in self.log if sender == name and message["type"] == kind]

    def tracks_for(self, member: Member) -> list[dict[str, Any]]:
        return [track for track in self.published.values() if track["participant"]["id"] != member.id]

    def announce(self) -> None:
        for member in self.clients:
            member.carrier.send({"type": "tracks", "revision": 1, "tracks": self.tracks_for(member)})

    async def close(self) -> None:
        for member in list(self.clients):
            member.carrier.send({"type": "bye", "code": "room_closed", "message": "the room has closed"})
            await member.gone()


class Member:
    def __init__(self, room: AnsweringRoom, carrier: Carrier) -> None:
        self.room, self.carrier = room, carrier
        self.id, self.name = f"p{next(room.numbers)}", ""
        self.connection = rtc.new_connection()
        self.outlets: dict[str, Outlet] = {}
        self.spreads: dict[str, Spread] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def receive(self, message: object) -> None:
        assert isinstance(message, dict)
        if message["type"] == "join":
            self.name = message["name"]
        self.room.log.append((self.name, message))
        if self.room.deaf:
            return
        if message["type"] == "join":
            if any(other.name == self.name for other in self.room.clients if other is not self):
                self.reply(message, type="error", code="name_taken", message=f"{self.name!r} is taken")
                return
            participant = {"id": self.id, "name": self.name}
            room = {"id": "r", "name": "test", "architecture": "sfu"}
            tracks = self.room.tracks_for(self)
            more = {"session": "s", "ice_servers": [], "ice_transport_policy": "all", "version": 1}
            seat = {"participant": participant, "room": room, "resumed": False}
            self.reply(message, type="welcome", tracks=tracks, **more, **seat)
        elif message["type"] == "offer":
            task = asyncio.ensure_future(self.answer(message))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif message["type"] == "leave":
            self.lost("left")

    def receive_media(self, data: bytes) -> None:
        raise AssertionError("a headless peer sends RTP")

    def reply(self, request: dict[str, Any], **fields: Any) -> None:
        self.carrier.send({"re": request["id"], **fields})

    async def answer(self, offer: dict[str, Any]) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        wanted = {entry["mid"]: entry for entry in offer["tracks"]}
        answered, rejected = [], []
        for transceiver in self.connection.getTransceivers():
            mid = str(transceiver.mid)
            entry = wanted.get(mid, {"direction": "inactive"})
            transceiver.direction = "inactive"
            if entry["direction"] == "send" and transceiver.kind in self.room.refuse:
                message = f"no {transceiver.kind} here"
                rejected.append({"mid": mid, "code": "no_codec", "message": message})
            elif entry["direction"] == "send":
                transceiver.direction = "recvonly"
                answered.append({"mid": mid, "track": self.add(transceiver, entry)})
            elif entry["direction"] == "receive":
                transceiver.direction = "sendonly"
                outlet = self.outlets.get(mid)
                if outlet is None:
                    outlet = self.outlets[mid] = Outlet(transceiver.kind)
                    transceiver.sender.replaceTrack(outlet)
                track = entry["track"]
                self.stop(mid)
                feed = Borrowed(self.room.relay.subscribe(self.room.media[track], buffered=False))
                self.spreads[mid] = Spread(feed, 0.0, lambda spread: None)
                outlet.plug(self.spreads[mid])
                rtc.send_keyframe(transceiver.sender)
                answered.append({"mid": mid, "track": track})
            else:
                self.stop(mid)
        kept = {entry["track"] for entry in answered}
        for track in [t for t, d in self.room.published.items() if d["participant"]["id"] == self.id]:
            if track not in kept:
                del self.room.published[track]
        with rtc.gathering(self.connection):
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        sdp = self.connection.localDescription.sdp
        self.reply(offer, type="answer", sdp=sdp, tracks=answered, rejected=rejected)
        self.room.announce()

    def stop(self, mid: str) -> None:
        if mid in self.spreads:
            self.spreads.pop(mid).stop()

    def add(self, transceiver: Any, entry: dict[str, Any]) -> str:
        track = f"{self.id}-{transceiver.mid}"
        rtc.begin_stream(transceiver)
        participant = {"id": self.id, "name": self.name}
        described = {
            "id": track,
            "participant": participant,
            "kind": transceiver.kind,
            "source": entry["source"],
        }
        self.room.published[track] = described
        self.room.media[track] = transceiver.receiver.track
        return track

    def lost(self, reason: str) -> None:
        task = asyncio.ensure_future(self.gone())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def gone(self) -> None:
        if self in self.room.clients:
            self.room.clients.remove(self)
            for track in [t for t, d in self.room.published.items() if d["participant"]["id"] == self.id]:
                del self.room.published[track]
            self.room.announce()
        self.carrier.close()
        for mid in list(self.spreads):
            self.stop(mid)
        await self.connection.close()
