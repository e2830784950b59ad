"""Whatever arrives, by UDP or signaling: nothing breaks, the others' video goes on, drops are counted."""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rtclab
from room_tools import frame_numbers, ice_connection
from rtclab.engine import get_engine
from rtclab.rtp import rtcp
from rtclab.rtp.packet import build_rtp
from rtclab.signaling import inprocess
from rtclab.signaling.messages import ERROR_CODES

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Call:
    """A room in which bob watches alice, and mallory has joined, too."""

    def __init__(self) -> None:
        self.room = rtclab.Room(host_candidates=["127.0.0.1"])
        self.alice = self.room.join("alice")
        self.alice.publish(rtclab.TestPattern(160, 90, fps=15, sound=False))
        self.video = self.room.join("bob").watch("alice", queue=100)
        self.mallory = self.room.join("mallory")
        self.mallory.publish(rtclab.TestPattern(160, 90, fps=5, sound=False))
        self.mallory.watch("alice")
        frame_numbers(self.video, 3)

    def drops(self, place: str) -> dict[str, int]:
        return self.room.drops[place]

    def still_works(self) -> None:
        for _ in range(self.video.received - self.video.dropped):
            self.video.next_frame(1)
            if self.video.latest() is None:
                break
        numbers = frame_numbers(self.video, 10)
        assert all(later > earlier for earlier, later in itertools.pairwise(numbers))
        assert self.room.participants[0].state == "connected"


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    call = Call()
    yield call
    call.room.close()


def mutated(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid packets with some bytes changed, cut short or made longer."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(samples)))
        for _ in range(draw(st.integers(0, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        end = draw(st.integers(0, len(data)))
        return bytes(data[:end]) + draw(st.binary(max_size=40))

    return mutate()


BINDING = bytes.fromhex("000100002112a442") + os.urandom(12)
CLIENT_HELLO = bytes.fromhex("16fefd000000000000000000360100002a000000000000002afefd") + bytes(46)
DATAGRAMS = [BINDING, CLIENT_HELLO, build_rtp(96, 1, 2, 3, b"x" * 100), rtcp.receiver_report(1), bytes(20)]


def test_datagrams_of_strangers(call: Call) -> None:
    before = sum(call.drops("port").values())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        @FUZZ
        @given(st.one_of(st.binary(max_size=1500), mutated(DATAGRAMS)))
        def throw(datagram: bytes) -> None:
            stranger.sendto(datagram, ("127.0.0.1", call.room.udp_port))

        throw()
        stranger.sendto(b"", ("127.0.0.1", call.room.udp_port))
        stranger.sendto(b"\x80" * 9000, ("127.0.0.1", call.room.udp_port))
    call.still_works()
    drops = call.drops("port")
    assert sum(drops.values()) >= before + 100
    assert drops["empty"] >= 1
    assert drops["unknown_source"] >= 1
    assert drops["too_long"] >= 1


def test_datagrams_with_the_address_of_a_client(call: Call) -> None:
    """Mallory's own socket throws: records that are no DTLS, packets that no key has protected."""
    connection = ice_connection(call.mallory)
    datagrams: list[bytes] = []

    @FUZZ
    @given(st.one_of(st.binary(max_size=1500), mutated(DATAGRAMS)))
    def collect(datagram: bytes) -> None:
        if not 20 <= (datagram or b"\0")[0] <= 22:  # an alert in the clear may end a handshake, nothing else
            datagrams.append(datagram)

    collect()

    async def throw() -> None:
        for datagram in datagrams:
            await connection.send(datagram)

    get_engine().run(throw(), 10)
    call.still_works()
    assert call.drops("mallory")["srtp_auth"] >= 1


def test_protected_rubbish_of_a_client(call: Call) -> None:
    """Packets that decrypt well and hold nonsense."""
    client = call.mallory._client
    assert client is not None
    dtls: Any = client._connection.getTransceivers()[0].receiver.transport
    (own,) = [track for track in call.room.tracks if track.participant == "mallory"]
    member = next(member for member in call.room._server.members.values() if member.name == "mallory")
    producer = next(iter(member.publications.values())).producer
    media = producer.streams[0].ssrc
    assert media is not None
    samples = [
        build_rtp(producer.payload_type, 5, 6, media, b"\x90\x80\x80\x01" + bytes(50)),
        build_rtp(producer.payload_type, 5, 6, 77, b"", extensions=[(1, b"0"), (2, b"q")]),
        build_rtp(producer.rtx_payload_type or 0, 5, 6, 78, b"\0"),
    ]
    reports = [
        rtcp.receiver_report(1, [rtcp.ReportBlock(media, 255, -5, 7, 8, 9, 10)]),
        rtcp.sender_report(media, 1 << 63, 5, 6, 7),
        rtcp.nack(1, media, range(0, 4000, 17)),
        rtcp.fir(1, [(media, 3)]),
        rtcp.remb(1, 10**9, [media]),
        rtcp.bye([media]),
    ]
    packets: list[bytes] = []

    @FUZZ
    @given(st.one_of(mutated(samples), mutated(reports), st.binary(min_size=12, max_size=1200)))
    def collect(packet: bytes) -> None:
        if len(packet) >= 12:
            packets.append(bytes([packet[0] & 0x3F | 0x80]) + packet[1:])

    collect()

    async def throw() -> None:
        for packet in packets:
            try:
                await dtls._send_rtp(packet)
            except Exception:  # libsrtp refuses to protect some of it
                continue

    get_engine().run(throw(), 20)
    assert own.participant == "mallory"
    call.still_works()
    drops = call.drops("mallory")
    assert drops.get("bad_rtp", 0) + drops.get("unknown_ssrc", 0) + drops.get("unknown_payload_type", 0) >= 1
    assert drops["bad_rtcp"] >= 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=10,
)
MESSAGES: list[dict[str, Any]] = [
    {"type": "join", "id": 1, "version": 1, "name": "x", "role": "viewer", "session": None, "agent": "test"},
    {
        "type": "offer",
        "id": 2,
        "sdp": "v=0\r\n",
        "tracks": [{"mid": "0", "direction": "receive", "track": "t1"}],
    },
    {"type": "layer", "id": 3, "track": "t1", "rid": "auto", "temporal": None},
    {"type": "view", "track": "t1", "width": 10, "height": 10, "visible": True},
    {"type": "mute", "track": "t1", "muted": True},
    {"type": "phase", "phase": "ICE", "elapsed_s": 1.5, "detail": None},
    {"type": "stats", "time": 1.0, "tracks": [{"track": "t1", "fps": 30}]},
    {"type": "candidate", "mid": "0", "candidate": "candidate:1"},
    {"type": "ping", "id": 9},
]


@st.composite
def messages(draw: st.DrawFn) -> object:
    message: dict[str, object] = dict(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 2))):
        message[draw(st.sampled_from([*message, "extra"]))] = draw(JSON)
    return draw(st.one_of(st.just(message), JSON))


def test_messages_that_make_no_sense(call: Call) -> None:
    thrown: list[Any] = []

    @FUZZ
    @given(messages())
    def collect(message: object) -> None:
        thrown.append(message)

    collect()

    async def throw() -> list[dict[str, Any]]:
        carrier = inprocess.open(call.room._server.connect)
        carrier.send_to_room(MESSAGES[0] | {"name": "fuzzer"})
        replies: list[dict[str, Any]] = []
        for message in thrown:
            if isinstance(message, dict) and message.get("type") == "leave":
                continue
            carrier.send_to_room(message)
        carrier.send_to_room({"type": "ping", "id": 4711})
        while not (replies and replies[-1].get("re") == 4711):
            replies.append(await carrier.receive())
        carrier.send_to_room({"type": "leave"})
        return replies

    replies = get_engine().run(throw(), 20)
    errors = [reply for reply in replies if reply["type"] == "error"]
    assert errors
    assert all(reply["code"] in ERROR_CODES and reply["message"] for reply in errors)
    assert json.dumps(replies)
    call.still_works()
