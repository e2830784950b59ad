"""The process of the publisher: pictures at a steady rate, sent packet by packet as a browser does.

Asked over standard input: ``open``, ``start`` (send until told otherwise), ``stop``, ``send`` (so many
pictures, then stop). It sends sender reports, and answers keyframe requests with the next picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import struct
import time
from typing import Any

from ..errors import RtclabError
from ..rtp import extensions, rtcp
from ..transport import srtp
from .doors import Door, RoomDoor
from .janus import JanusDoor
from .link import Link
from .offers import MID_ID, SEQUENCE_ID, TIME_ID, PayloadTypes, Sending
from .processes import answer_requests
from .shape import KEYFRAME_S, PACKET, clip, stamp, vp8_picture

REPORT_S = 1.0
AUDIO_S = 0.02
AUDIO_PACKET = 100  # bytes of payload
_RTP = struct.Struct("!BBHII")
_EXTENSIONS = struct.Struct("!HHBcB3sBH3x")  # mid, abs-send-time, transport-wide sequence number


class Publisher:
    """One client that sends."""

    def __init__(self) -> None:
        self._link = Link()
        self._door: Door | None = None
        self._random = random.Random(os.urandom(8))
        self._sending = Sending(*(self._random.randrange(1, 2**32) for _ in range(3)))
        self._types = PayloadTypes()
        self._kinds: list[str] = []
        self._fps = 30.0
        self._packets_per_frame = 4
        self._clip: list[list[bytes]] = []
        self._filler = os.urandom(PACKET)
        self._streaming: asyncio.Task[None] | None = None
        self._sequence = {"video": 1000, "audio": 1000}
        self._octets = {"video": 0, "audio": 0}
        self._picture = 0
        self._transport_sequence = 0
        self._number = 0
        self._timestamp = {"video": 0, "audio": 0}
        self._next_report = 0.0
        self._next_audio = 0.0
        self._next_keyframe = 0.0
        self._plis = self._nacks = self._feedback = 0
        self._late_s = 0.0
        self._buffer = bytearray(2048)
        self._memory = (ctypes.c_char * 2048).from_buffer(self._buffer)
        self._length = ctypes.c_int()
        self._protect = srtp.load().protect
        self._unprotect_rtcp = srtp.load().unprotect_rtcp
        self._protector = srtp.RtcpProtector()

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the benchmark."""
        if request["do"] == "open":
            return await self._open(request)
        if request["do"] == "start":
            self._streaming = asyncio.create_task(self._stream(None))
            return {}
        if request["do"] == "stop":
            if self._streaming is not None:
                self._streaming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._streaming
            return self._figures()
        if request["do"] == "send":
            self._late_s = 0.0
            before = self._number
            await self._stream(request["frames"])
            return {**self._figures(), "packets": self._number - before}
        raise RtclabError(f"unknown request {request['do']!r}")

    async def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fps = request["fps"]
        self._packets_per_frame = request["packets_per_frame"]
        self._kinds = request["kinds"]
        if request["real"]:
            self._clip = clip(round(self._fps), self._packets_per_frame)
        feed = None
        if request["server"] == "janus":
            self._door = await JanusDoor.open(request["port"], None)
        else:
            self._door = await RoomDoor.open(request["port"])
        remote = await self._door.publish(self._link.local, self._sending, self._kinds)
        if isinstance(self._door, JanusDoor):
            feed = self._door.feed
        await self._link.connect(remote)
        self._types = remote.payload_types
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fd, self._readable)
        return {"feed": feed, "profile": self._link.profile}

    def _figures(self) -> dict[str, Any]:
        return {
            "plis": self._plis,
            "nacks": self._nacks,
            "feedback": self._feedback,
            "late_ms": self._late_s * 1000,
        }

    async def _stream(self, frames: int | None) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        sent = 0
        self._next_audio = begin
        while frames is None or sent < frames:
            due = begin + sent / self._fps
            while (wait := due - loop.time()) > 0:
                if "audio" in self._kinds and self._next_audio < due:
                    await asyncio.sleep(max(self._next_audio - loop.time(), 0))
                    self._send_audio()
                else:
                    await asyncio.sleep(wait)
            self._late_s = max(self._late_s, loop.time() - due)
            self._send_picture(loop.time())
            sent += 1
        await asyncio.sleep(max(begin + sent / self._fps - loop.time(), 0))

    def _send_picture(self, now: float) -> None:
        keyframe = now >= self._next_keyframe
        if keyframe:
            self._next_keyframe = now + KEYFRAME_S
        self._timestamp["video"] = int(now * 90000) & 0xFFFFFFFF
        if self._clip:
            payloads = [bytearray(part) for part in self._clip[self._picture % len(self._clip)]]
            for payload in payloads:  # the clip is a loop, its picture ids are not
                struct.pack_into("!HB", payload, 2, 0x8000 | self._picture & 0x7FFF, self._picture & 0xFF)
        else:
            payloads = vp8_picture(self._picture, keyframe, self._packets_per_frame, self._filler)
        self._picture += 1
        for index, payload in enumerate(payloads):
            if not self._clip:
                stamp(payload, time.time_ns(), self._number)
            self._number += 1
            self._send("video", payload, index == len(payloads) - 1)
        if now >= self._next_report:
            self._next_report = now + REPORT_S
            for kind in self._kinds:
                self._report(kind)

    def _send_audio(self) -> None:
        self._timestamp["audio"] = self._timestamp["audio"] + round(AUDIO_S * 48000) & 0xFFFFFFFF
        self._next_audio += AUDIO_S
        self._send("audio", self._filler[:AUDIO_PACKET], True)

    def _send(self, kind: str, payload: bytes | bytearray, marker: bool) -> None:
        video = kind == "video"
        number = self._types.vp8 if video else self._types.opus
        ssrc = self._sending.video if video else self._sending.audio
        self._sequence[kind] = self._sequence[kind] + 1 & 0xFFFF
        self._octets[kind] += len(payload)
        _RTP.pack_into(
            self._buffer, 0, 0x90, marker << 7 | number, self._sequence[kind], self._timestamp[kind], ssrc
        )
        self._transport_sequence = self._transport_sequence + 1 & 0xFFFF
        send_time = extensions.abs_send_time(time.time()).to_bytes(3, "big")
        mid = b"0" if video else b"1"
        _EXTENSIONS.pack_into(
            self._buffer,
            12,
            0xBEDE,
            3,
            MID_ID << 4,
            mid,
            TIME_ID << 4 | 2,
            send_time,
            SEQUENCE_ID << 4 | 1,
            self._transport_sequence,
        )
        start = 12 + 4 + 12
        self._buffer[start : start + len(payload)] = payload
        self._length.value = start + len(payload)
        pointer = ctypes.addressof(self._length)
        if self._protect(self._link.send_context, ctypes.addressof(self._memory), pointer) == 0:
            self._link.send(memoryview(self._buffer)[: self._length.value])

    def _report(self, kind: str) -> None:
        video = kind == "video"
        ssrc = self._sending.video if video else self._sending.audio
        packet = rtcp.sender_report(
            ssrc,
            rtcp.to_ntp(time.time()),
            self._timestamp[kind],
            self._sequence[kind],
            self._octets[kind] & 0xFFFFFFFF,
        )
        protected = self._protector.protect(self._link.send_context, packet + rtcp.sdes(ssrc, "bench"))
        if protected is not None:
            self._link.send(protected)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._link.socket.recv(2048):
                if data[0] < 4:
                    self._link.answer_check(data)
                elif data[0] >= 128 and self._link.receive_context:
                    self._hear(data)

    def _hear(self, data: bytes) -> None:
        memory = ctypes.create_string_buffer(data, len(data))
        self._length.value = len(data)
        context = self._link.receive_context
        if self._unprotect_rtcp(context, memory, ctypes.addressof(self._length)):
            return
        for packet in rtcp.parse_rtcp(memory.raw[: self._length.value]):
            if isinstance(packet, rtcp.Pli | rtcp.Fir):
                self._plis += 1
                self._next_keyframe = 0.0
            elif isinstance(packet, rtcp.Nack):
                self._nacks += 1
            elif isinstance(packet, rtcp.TransportFeedback):
                self._feedback += 1

    async def close(self) -> None:
        """Leave."""
        if self._streaming is not None:
            self._streaming.cancel()
        self._link.close()
        if self._door is not None:
            await self._door.close()


async def _main() -> None:
    publisher = Publisher()
    await answer_requests(publisher.handle)
    await publisher.close()


if __name__ == "__main__":
    asyncio.run(_main())
