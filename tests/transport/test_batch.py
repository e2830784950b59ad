"""The way out: every packet reaches its client as it was written, in each mode, and every loss is counted."""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pylibsrtp
import pytest

from rtclab.rtp import rtcp
from rtclab.rtp.drops import Drop
from rtclab.transport import srtp
from rtclab.transport.addresses import pack_name
from rtclab.transport.batch import (
    MAX_RUN_BYTES,
    MAX_SEGMENTS,
    SLOTS,
    Clients,
    Lost,
    Mode,
    SendBatch,
    best_mode,
)
from rtclab.transport.paths import PathTable

GCM = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
CM80 = pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
KEY = {GCM: bytes(range(28)), CM80: bytes(range(30))}
HOSTS: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
SO_NO_CHECK = 11

MODES: list[Mode] = ["plain"] if best_mode() == "plain" else ["plain", "mmsg", "gso"]


def session(kind: int, profile: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(pylibsrtp.Policy(key=KEY[profile], ssrc_type=kind, srtp_profile=profile))


class Viewer:
    """A socket that decrypts what it is sent."""

    def __init__(self, rig: Rig, family: int, profile: int) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((HOSTS[family], 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.outbound = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND, profile)
        self.inbound = session(pylibsrtp.Policy.SSRC_ANY_INBOUND, profile)
        self.row = rig.paths.allocate()
        rig.paths.set_address(self.row, pack_name(*self.socket.getsockname()[:2]), rig.senders[family])
        rig.paths.set_context(self.row, srtp.context_pointer(self.outbound))

    def datagrams(self, count: int) -> list[bytes]:
        """The next `count` datagrams, and nothing after them."""
        found: list[bytes] = []
        for _ in range(count):
            assert select.select([self.socket], [], [], 5)[0], f"only {len(found)} of {count} came"
            found.append(self.socket.recv(4096))
        return found

    def packets(self, count: int) -> list[bytes]:
        return [self.inbound.unprotect(datagram) for datagram in self.datagrams(count)]

    def silent(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]


class Rig:
    """A path table with one socket of each family, viewers, and the packets written for them."""

    def __init__(self) -> None:
        self.paths = PathTable()
        self.senders = {family: socket.socket(family, socket.SOCK_DGRAM) for family in HOSTS}
        for family, sender in self.senders.items():
            sender.setblocking(False)
            sender.bind((HOSTS[family], 0))
        self.paths.sockets = {sender.fileno(): sender for sender in self.senders.values()}
        self.viewers: list[Viewer] = []
        self.clients = Clients(np.zeros(0, np.int64))
        self.sequence = 0

    def add(self, family: int = socket.AF_INET, profile: int = GCM) -> Viewer:
        viewer = Viewer(self, family, profile)
        self.viewers.append(viewer)
        return viewer

    def send(self, batch: SendBatch, lengths: list[int]) -> tuple[Lost, list[list[bytes]]]:
        """Write and send a packet of each length for each viewer; what was written, viewer by viewer."""
        written: list[list[bytes]] = []
        for index in range(len(self.viewers)):
            written.append([])
            for place, length in enumerate(lengths):
                number = self.sequence + place
                packet = struct.pack("!BBHII", 0x80, 96, number, number, index + 1)
                packet += bytes((index + place + i) & 0xFF for i in range(length - 12))
                batch.arena[index * len(lengths) + place, :length] = np.frombuffer(packet, np.uint8)
                written[-1].append(packet)
        self.sequence += len(lengths)
        rows = [viewer.row for viewer in self.viewers]
        if self.clients.rows.tolist() != rows:  # else what was made ready is used again
            self.clients = Clients(np.array(rows))
        return batch.send(self.clients, lengths), written

    def close(self) -> None:
        for viewer in self.viewers:
            viewer.socket.close()
        for sender in self.senders.values():
            sender.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "lengths", [[900], [1100, 1100, 1100, 400], [1100, 1099, 1100], [60] * 70, [1200, 80, 1200, 1200]]
)
def test_each_viewer_gets_its_own_packets(rig: Rig, mode: Mode, lengths: list[int]) -> None:
    for _ in range(3):
        rig.add()
    batch = SendBatch(rig.paths, mode)
    for turn in range(1, 3):
        lost, written = rig.send(batch, lengths)
        assert lost == {}
        for viewer, packets in zip(rig.viewers, written, strict=True):
            assert viewer.packets(len(packets)) == packets
            assert viewer.silent()
        assert batch.sent == turn * 3 * len(lengths)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("viewers", [1, 3])
def test_rtcp_is_protected_as_such(rig: Rig, mode: Mode, viewers: int) -> None:
    for _ in range(viewers):
        rig.add()
    batch = SendBatch(rig.paths, mode)
    handed: list[list[bytes]] = []
    row = rig.paths.open_tunnel(handed.append)
    report = rtcp.sender_report(7, 1 << 63, 1, 2, 3) + rtcp.sdes(7, "alice")
    batch.arena[: viewers + 1, : len(report)] = np.frombuffer(report, np.uint8)
    clients = Clients(np.array([*(viewer.row for viewer in rig.viewers), row]))
    assert batch.send(clients, [len(report)], rtcp=True) == {}
    assert handed == [[report]]
    for viewer in rig.viewers:
        (datagram,) = viewer.datagrams(1)
        assert viewer.inbound.unprotect_rtcp(datagram) == report
    batch.arena[0, : len(report)] = np.frombuffer(report, np.uint8)
    assert batch.send(Clients(clients.rows[:1]), [len(report)], rtcp=True) == {}
    (datagram,) = rig.viewers[0].datagrams(1)
    assert rig.viewers[0].inbound.unprotect_rtcp(datagram) == report


@pytest.mark.parametrize("mode", MODES)
def test_families_and_srtp_profiles_share_a_batch(rig: Rig, mode: Mode) -> None:
    for family, profile in [
        (socket.AF_INET, CM80),
        (socket.AF_INET6, GCM),
        (socket.AF_INET, GCM),
        (socket.AF_INET6, CM80),
    ]:
        rig.add(family, profile)
    lost, written = rig.send(SendBatch(rig.paths, mode), [700, 700, 700, 100])
    assert lost == {}
    for viewer, packets in zip(rig.viewers, written, strict=True):
        assert viewer.packets(4) == packets
        assert viewer.silent()


def test_all_modes_send_the_same_bytes(rig: Rig) -> None:
    seen = []
    for mode in MODES:
        rig.viewers.clear()
        rig.sequence = 0
        viewer = rig.add()
        rig.send(SendBatch(rig.paths, mode), [500, 500, 30])
        seen.append(viewer.datagrams(3))
        viewer.socket.close()
    assert all(datagrams == seen[0] for datagrams in seen)


@pytest.mark.skipif(best_mode() != "gso", reason="the platform has no UDP GSO")
def test_a_run_is_one_message_and_stays_within_what_the_kernel_takes(rig: Rig) -> None:
    rig.add()
    batch = SendBatch(rig.paths, "gso")
    for lengths, runs in [
        ([1000] * 4, 1),
        ([1000, 1000, 1001, 1001], 2),
        ([1000, 900, 900], 2),
        ([100] * (MAX_SEGMENTS + 1), 2),
        ([1400] * 50, 2),
    ]:
        rig.send(batch, lengths)
        sizes = batch._runs(lengths)
        assert len(sizes) == runs
        assert sum(sizes) == len(lengths)
        assert all(size * 1416 <= MAX_RUN_BYTES or lengths[0] != 1400 for size in sizes)
        assert len(rig.viewers[0].datagrams(len(lengths))) == len(lengths)


@pytest.mark.skipif(best_mode() != "gso", reason="the platform has no UDP GSO")
def test_a_path_that_takes_no_runs_gets_single_packets(rig: Rig) -> None:
    # the kernel refuses segmentation without checksums with EINVAL, as it does beyond the path's MTU
    rig.senders[socket.AF_INET].setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    rig.add()
    rig.add(socket.AF_INET6)
    rig.add()
    lost, written = rig.send(SendBatch(rig.paths, "gso"), [800, 800, 100])
    assert lost == {}
    for viewer, packets in zip(rig.viewers, written, strict=True):
        assert viewer.packets(3) == packets


@pytest.mark.skipif(best_mode() != "gso", reason="the platform has no UDP GSO")
def test_without_checksum_offload_runs_are_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = rig.add()
    batch = SendBatch(rig.paths, "gso")
    real = batch._sendmmsg

    def no_offload(fd: int, pointer: int, count: int, flags: int) -> int:
        if ctypes.c_uint64.from_address(pointer + 40).value:  # msg_controllen: a run
            return -1
        return int(real(fd, pointer, count, flags))

    monkeypatch.setattr(batch, "_sendmmsg", no_offload)
    monkeypatch.setattr("rtclab.transport.batch.ctypes.get_errno", lambda: errno.EIO)
    for _ in range(2):
        lost, written = rig.send(batch, [300, 300])
        assert lost == {}
        assert viewer.packets(2) == written[0]
    assert batch.mode == "mmsg"
    assert not batch.pads


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_one_packet_for_one_client(rig: Rig, mode: Mode, family: int) -> None:
    viewer = rig.add(family)
    batch = SendBatch(rig.paths, mode)
    lost, written = rig.send(batch, [300])
    assert lost == {}
    assert viewer.packets(1) == written[0]
    assert (batch.sent, batch.system_calls) == (1, 1)
    rig.paths.set_context(viewer.row, 0)
    assert rig.send(batch, [300])[0] == {Drop.SEND_ERROR: [0]}
    assert batch.sent == 1
    assert viewer.silent()


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_moves_between_batches_is_followed(rig: Rig, mode: Mode) -> None:
    first, second = rig.add(), rig.add()
    batch = SendBatch(rig.paths, mode)
    for _ in range(2):
        assert rig.send(batch, [200, 200])[0] == {}
        for viewer in (first, second):
            viewer.datagrams(2)
    name = rig.paths.name[first.row].tobytes()
    rig.paths.set_address(first.row, rig.paths.name[second.row].tobytes(), rig.senders[socket.AF_INET])
    assert rig.send(batch, [200, 200])[0] == {}
    assert len(second.datagrams(4)) == 4
    assert first.silent()
    rig.paths.set_address(first.row, name, rig.senders[socket.AF_INET])
    assert rig.send(batch, [200, 200])[0] == {}
    first.datagrams(2)
    second.datagrams(2)


@pytest.mark.skipif(best_mode() == "plain", reason="the platform has no sendmmsg")
def test_plans_are_kept_and_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = rig.add()
    batch = SendBatch(rig.paths)
    monkeypatch.setattr("rtclab.transport.batch.MAX_PLANS", 3)
    for count in range(1, 9):
        rig.send(batch, [100 + size for size in range(count)])
        assert len(viewer.datagrams(count)) == count
        assert len(rig.clients.plans) <= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_full_socket_loses_packets_and_counts_each_of_them(
    rig: Rig, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = rig.senders[socket.AF_INET]
    for _ in range(4):
        rig.add()
    batch = SendBatch(rig.paths, mode)
    filled = Full(sender, after=2)
    if mode == "plain":
        rig.paths.sockets[sender.fileno()] = filled  # type: ignore[assignment]
    else:
        monkeypatch.setattr(batch, "_sendmmsg", filled.sendmmsg(batch._sendmmsg))
    lost, written = rig.send(batch, [600, 600, 600])
    assert list(lost) == [Drop.SOCKET_FULL]
    missing = Counter(lost[Drop.SOCKET_FULL])
    arrived = 0
    for index, (viewer, packets) in enumerate(zip(rig.viewers, written, strict=True)):
        count = 3 - missing[index]
        assert viewer.packets(count) == packets[:count]
        assert viewer.silent()
        arrived += count
    assert batch.sent == arrived == 12 - sum(missing.values())
    assert 0 < arrived < 12


class Full:
    """A socket whose buffer takes two more sends: sockets to loopback never fill up by themselves."""

    def __init__(self, sender: socket.socket, after: int) -> None:
        self.sender = sender
        self.left = after

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        if not self.left:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.left -= 1
        return self.sender.sendto(data, address)

    def sendmmsg(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(fd: int, pointer: int, count: int, flags: int) -> int:
            if not self.left:
                ctypes.set_errno(errno.EAGAIN)
                return -1
            sent = int(real(fd, pointer, min(count, self.left), flags))
            self.left -= sent
            return sent

        return call


@pytest.mark.parametrize("mode", MODES)
def test_a_tiny_send_buffer_never_blocks_or_raises(rig: Rig, mode: Mode) -> None:
    rig.senders[socket.AF_INET].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for _ in range(SLOTS // 4):
        rig.add()
    batch = SendBatch(rig.paths, mode)
    lost, written = rig.send(batch, [1200] * 4)
    assert set(lost) <= {Drop.SOCKET_FULL}
    missing = Counter(lost.get(Drop.SOCKET_FULL, ()))
    for index, (viewer, packets) in enumerate(zip(rig.viewers, written, strict=True)):
        came = viewer.packets(4 - missing[index])
        assert [packet for packet in packets if packet in came] == came


@pytest.mark.parametrize("mode", MODES)
def test_clients_that_cannot_be_sent_to_cost_the_others_nothing(rig: Rig, mode: Mode) -> None:
    closed, fine, nowhere, other = rig.add(), rig.add(), rig.add(), rig.add(socket.AF_INET6)
    rig.paths.set_context(closed.row, 0)
    rig.paths.clear_address(nowhere.row)
    batch = SendBatch(rig.paths, mode)
    lost, written = rig.send(batch, [400, 400])
    assert list(lost) == [Drop.SEND_ERROR]
    assert Counter(lost[Drop.SEND_ERROR]) == {0: 2, 2: 2}
    assert fine.packets(2) == written[1]
    assert other.packets(2) == written[3]
    assert closed.silent()
    assert batch.sent == 4


@pytest.mark.parametrize("mode", MODES)
def test_a_number_sent_before_is_refused_by_srtp_and_counted(rig: Rig, mode: Mode) -> None:
    first, second = rig.add(), rig.add()
    batch = SendBatch(rig.paths, mode)
    rig.send(batch, [200, 200])
    first.packets(2)
    second.packets(2)
    fresh = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND, GCM)
    rig.paths.set_context(second.row, srtp.context_pointer(fresh))
    rig.sequence -= 1
    lost, written = rig.send(batch, [200])
    assert lost == {Drop.SEND_ERROR: [0]}
    assert second.datagrams(1) == [session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND, GCM).protect(written[1][0])]
    assert first.silent()


def test_rows_follow_the_path_table_when_it_grows(rig: Rig) -> None:
    viewer = rig.add()
    batch = SendBatch(rig.paths)
    for _ in range(100):
        rig.paths.allocate()
    lost, written = rig.send(batch, [300])
    assert lost == {}
    assert viewer.packets(1) == written[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lengths", [[200], [300, 300, 120], [200, 260]])
def test_tunnels_get_theirs_unprotected_and_the_others_as_ever(
    rig: Rig, mode: Mode, lengths: list[int]
) -> None:
    """Tunnels at the beginning, in the middle and at the end of a batch, with clients between them."""
    batch = SendBatch(rig.paths, mode)
    for _ in range(2):
        rig.add()
    rig.add(socket.AF_INET6 if mode != "plain" else socket.AF_INET)
    handed: dict[int, list[list[bytes]]] = {}
    rows = [viewer.row for viewer in rig.viewers]
    for place in (0, 2, 5):
        handed[place] = []
        rows.insert(place, rig.paths.open_tunnel(handed[place].append))
    clients = Clients(np.array(rows))
    for _ in range(2):
        written: list[list[bytes]] = []
        for index in range(len(rows)):
            written.append([])
            for place, length in enumerate(lengths):
                head = struct.pack("!BBHII", 0x80, 96, rig.sequence + place, 7, index + 1)
                packet = head + bytes([index]) * (length - 12)
                batch.arena[index * len(lengths) + place, :length] = np.frombuffer(packet, np.uint8)
                written[-1].append(packet)
        rig.sequence += len(lengths)
        for packets in handed.values():
            packets.clear()
        assert batch.send(clients, lengths) == {}
        assert handed == {place: [written[place]] for place in (0, 2, 5)}
        for viewer, place in zip(rig.viewers, (1, 3, 4), strict=True):
            assert viewer.packets(len(lengths)) == written[place]
    assert batch.sent == 2 * 3 * len(lengths)
    rig.viewers[1].outbound = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND, GCM)
    rig.paths.set_context(rig.viewers[1].row, 0)
    lost = batch.send(clients, lengths)
    # the numbers were sent before, so that SRTP refuses them all: places are those of the whole batch
    assert sorted(lost[Drop.SEND_ERROR]) == sorted([1, 3, 4] * len(lengths))


def test_a_batch_of_tunnels_only(rig: Rig) -> None:
    batch = SendBatch(rig.paths)
    handed: list[list[bytes]] = []
    row = rig.paths.open_tunnel(handed.append)
    batch.arena[:2, :20] = 9
    assert batch.send(Clients(np.array([row])), [20, 10]) == {}
    assert batch.send(Clients(np.array([row])), [20]) == {}
    assert handed == [[bytes([9] * 20), bytes([9] * 10)], [bytes([9] * 20)]]
    assert (batch.sent, batch.system_calls) == (0, 0)
    rig.paths.close_tunnel(row)
    assert not rig.paths.tunnels
