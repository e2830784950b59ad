"""The viewers as columns: what each has received, and the reports it owes the server.

Packets are counted by payload type. About ten times a second a packet of each viewer is decrypted: that
proves the keys, and its stamp tells how long it took from the publisher. Each viewer sends a receiver report
a second (RFC 3550) and now and then asks for a packet again (RFC 4585), which a real one does after a loss.
"""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import numpy.typing as npt

from ..rtp import rtcp
from ..transport import srtp
from .drain import CHUNK, SHORT, SLOTS, Drain, Swept
from .link import Link
from .offers import PayloadTypes
from .shape import read_stamp

SAMPLE_S = 0.1
REPORT_S = 1.0
NACK_EVERY = 10  # reports
_SSRC = struct.Struct("!I")


class Audience:
    """All viewers of this process.

    Attributes
    ----------
    links : list of Link
        Their connections.
    received, repeated, audio, octets : numpy.ndarray
        For each viewer: video packets, retransmissions, audio packets and bytes on the wire so far.
    latencies_ns : list of int
        From the publisher's send to the arrival at the viewer's socket, of the packets sampled.
    undecryptable, unstamped, decrypted : int
        Of the packets sampled: not authentic; authentic without a stamp; authentic.
    reports : int
        Authentic sender reports.
    """

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.latencies_ns: list[int] = []
        self.undecryptable = self.unstamped = self.decrypted = self.reports = 0
        self._drain = Drain()
        self._unprotect = srtp.load().unprotect
        self._unprotect_rtcp = srtp.load().unprotect_rtcp
        self._protector = srtp.RtcpProtector()
        self._length = ctypes.c_int()
        self._memory = ctypes.create_string_buffer(SHORT)
        self._types = PayloadTypes()
        self._ssrc: dict[int, int] = {}  # of the video stream, by viewer
        self._last_report: dict[int, tuple[int, float]] = {}  # LSR and when it came, by viewer
        self.received = np.zeros(0, np.int64)
        self.repeated = np.zeros(0, np.int64)
        self.audio = np.zeros(0, np.int64)
        self.octets = np.zeros(0, np.int64)
        self._highest = np.zeros(0, np.int64)  # extended; -1 before the first packet
        self._next_sample = np.zeros(0)
        self._next_report = np.zeros(0)
        self._reported = np.zeros(0, np.int64)
        self._lowest = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.links)

    def add(self, link: Link, types: PayloadTypes, now: float) -> None:
        """Take in a connected viewer."""
        index = len(self.links)
        self.links.append(link)
        self._types = types
        for name in ("received", "repeated", "audio", "octets", "_reported", "_lowest"):
            setattr(self, name, np.append(getattr(self, name), 0))
        self._highest = np.append(self._highest, -1)
        self._next_sample = np.append(self._next_sample, now)
        # the reports of many viewers are spread over the second
        self._next_report = np.append(self._next_report, now + REPORT_S * (index * 0.618 % 1))

    def step(self, start: int, now: float) -> None:
        """Empty the sockets of `CHUNK` viewers from `start` on, and send what they owe."""
        end = min(start + CHUNK, len(self.links))
        fds = [link.fd for link in self.links[start:end]]
        while (swept := self._drain.sweep(fds)) is not None:
            self._count(start, end, swept, now)
            if not (swept.counts == SLOTS).any():
                break
        for index in (start + np.flatnonzero(self._next_report[start:end] <= now)).tolist():
            self._report(index, now)

    def turn(self) -> None:
        """Sample another packet of each picture from now on."""
        self._drain.turn()

    def forget_samples(self) -> None:
        """Begin to sample anew."""
        self.latencies_ns.clear()
        self.undecryptable = self.unstamped = self.decrypted = self.reports = 0

    def _count(self, start: int, end: int, swept: Swept, now: float) -> None:
        kind = swept.second & 0x7F
        media = swept.there & (swept.first >= 128) & (swept.first < 192)
        video = media & (kind == self._types.vp8)
        self.received[start:end] += video.sum(axis=1)
        self.repeated[start:end] += (media & (kind == self._types.rtx)).sum(axis=1)
        self.audio[start:end] += (media & (kind == self._types.opus)).sum(axis=1)
        self.octets[start:end] += (swept.lengths * swept.there).sum(axis=1, dtype=np.int64)
        self._follow(start, end, swept, video)
        slot = swept.full_slot
        due = video[:, slot] & (self._next_sample[start:end] <= now)
        for offset in np.flatnonzero(due).tolist():
            self._sample(start + offset, offset, int(swept.lengths[offset, slot]), now)
        others = swept.there & ((swept.first < 128) | ((swept.second >= 192) & (swept.second < 224)))
        for offset, place in zip(*np.nonzero(others), strict=True):
            packet = self._drain.packet(int(offset), int(place), int(swept.lengths[offset, place]))
            if packet[0] < 4:
                self.links[start + int(offset)].answer_check(packet)
            elif packet[0] >= 128:
                self._hear(start + int(offset), packet, now)

    def _follow(self, start: int, end: int, swept: Swept, video: npt.NDArray[np.bool_]) -> None:
        """Follow the highest sequence number of each viewer."""
        some = np.flatnonzero(video.any(axis=1))
        if not len(some):
            return
        viewers = start + some
        fresh = some[self._highest[viewers] < 0]
        for offset in fresh.tolist():
            slot = int(np.argmax(video[offset]))
            first = int(swept.sequence[offset, slot])
            self._highest[start + offset] = self._lowest[start + offset] = first
            head = self._drain.packet(offset, slot, 12)
            (self._ssrc[start + offset],) = _SSRC.unpack_from(head, 8)
        ahead = (swept.sequence[some] - self._highest[viewers].astype(np.uint16)[:, None]).astype(np.int16)
        self._highest[viewers] += np.where(video[some], ahead, 0).max(axis=1).clip(0)

    def _sample(self, viewer: int, offset: int, length: int, now: float) -> None:
        self._next_sample[viewer] = now + SAMPLE_S
        self._length.value = length
        pointer = self._drain.full_pointer(offset)
        context = self.links[viewer].receive_context
        if not context or self._unprotect(context, pointer, ctypes.addressof(self._length)):
            self.undecryptable += 1
            return
        self.decrypted += 1
        stamp = read_stamp(self._drain.full[offset, : self._length.value].data)
        if stamp is None:
            self.unstamped += 1
        else:
            self.latencies_ns.append(self._drain.arrival_ns(offset) - stamp.sent_ns)

    def _hear(self, viewer: int, packet: bytes, now: float) -> None:
        """A compound of the server's: its sender report is what the next receiver report refers to."""
        if len(packet) > SHORT - 32 or not self.links[viewer].receive_context:
            return
        ctypes.memmove(self._memory, packet, len(packet))
        self._length.value = len(packet)
        context = self.links[viewer].receive_context
        if self._unprotect_rtcp(context, self._memory, ctypes.addressof(self._length)):
            return
        for part in rtcp.parse_rtcp(self._memory.raw[: self._length.value]):
            if isinstance(part, rtcp.SenderReport) and part.ssrc == self._ssrc.get(viewer):
                self.reports += 1
                self._last_report[viewer] = rtcp.middle_32(part.ntp), now

    def _report(self, viewer: int, now: float) -> None:
        self._next_report[viewer] += REPORT_S
        ssrc = self._ssrc.get(viewer)
        link = self.links[viewer]
        if ssrc is None or not link.send_context:
            return
        highest = int(self._highest[viewer])
        lost = max(highest - int(self._lowest[viewer]) + 1 - int(self.received[viewer]), 0)
        middle, since = self._last_report.get(viewer, (0, now))
        block = rtcp.ReportBlock(ssrc, 0, lost, highest, 100, middle, int((now - since) * 65536))
        packet = rtcp.receiver_report(1, [block]) + rtcp.sdes(1, "bench")
        self._reported[viewer] += 1
        if (viewer + int(self._reported[viewer])) % NACK_EVERY == 0:
            packet += rtcp.nack(1, ssrc, (highest - 2 & 0xFFFF,))
        protected = self._protector.protect(link.send_context, packet)
        if protected is not None:
            link.send(protected)
