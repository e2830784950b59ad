"""Strangers by WHIP and WHEP: FFmpeg publishes, a stock aiortc connection publishes and watches."""

from __future__ import annotations

import asyncio
import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiortc
import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import rtclab
from http_tools import LIMIT, SDP, Reply, ask, on_engine, serving, wait_until
from room_tools import frame_number, frame_numbers
from rtclab.engine import get_engine
from rtclab.measure import read_frame_code
from rtclab.peers import rtc
from rtclab.serve import RoomServer
from rtclab.transport import ice

TOKEN = "only-for-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room, token=TOKEN) as server:
        yield server


# -- FFmpeg -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate on P-256 and its key: the one that FFmpeg makes itself is on a curve nobody takes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whip")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    encoded = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    paths[1].write_bytes(encoded)
    return paths


class FFmpeg:
    """``ffmpeg_publisher.py`` as a process."""

    def __init__(self, url: str, certificate: tuple[Path, Path]) -> None:
        program = Path(__file__).parent.parent / "ffmpeg_publisher.py"
        command = [sys.executable, str(program), url, TOKEN, *map(str, certificate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def stop(self) -> int:
        """End the session, of which FFmpeg tells with a DELETE; returns the exit code."""
        self._process.communicate(timeout=LIMIT)
        return self._process.returncode

    def kill(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait(LIMIT)


@pytest.fixture
def ffmpeg(server: RoomServer, certificate: tuple[Path, Path]) -> Iterator[FFmpeg]:
    ffmpeg = FFmpeg(f"{server.base}/whip/ffmpeg", certificate)
    yield ffmpeg
    ffmpeg.kill()


@pytest.mark.timeout(60)
def test_ffmpeg_publishes_and_a_headless_peer_sees_the_pictures(
    room: rtclab.Room, server: RoomServer, ffmpeg: FFmpeg
) -> None:
    bob = room.join("bob")
    video = bob.watch("ffmpeg", timeout=LIMIT)
    numbers = frame_numbers(video, 20)
    assert numbers == sorted(set(numbers))
    sound = bob.watch("ffmpeg", kind="audio", timeout=LIMIT)
    assert max(int(np.abs(sound.next_frame(LIMIT)).max()) for _ in range(20)) > 1000, "the tone is heard"
    assert {(track.kind, track.codec) for track in room.tracks} == {("video", "H264"), ("audio", "opus")}
    assert ffmpeg.stop() == 0
    assert [one.name for one in room.participants] == ["bob"]
    assert server.desk.sessions == {}


# -- aiortc -------------------------------------------------------------------------------------------------


class Pattern(VideoStreamTrack):
    """The numbered test pattern as a stock track."""

    def __init__(self) -> None:
        super().__init__()
        self._pattern = rtclab.TestPattern(320, 180, fps=30)
        self._number = 0

    async def recv(self) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(self._pattern.frame(self._number), format="rgb24")
        frame.pts, frame.time_base = await self.next_timestamp()
        self._number += 1
        return frame


class Stranger:
    """A stock aiortc connection that does WHIP or WHEP by plain requests."""

    def __init__(self, server: RoomServer) -> None:
        self._server = server
        self.pc: RTCPeerConnection = on_engine(rtc.new_connection)
        self.location = ""

    def connect(self, path: str) -> Reply:
        """Offer what the connection has, and take the answer."""
        offer = get_engine().run(rtc.make_offer(self.pc), LIMIT)
        reply = ask(self._server, "POST", path, offer, SDP | BEARER)
        assert reply.status == 201, reply.body
        self.location = reply.headers["Location"]
        get_engine().run(self.pc.setRemoteDescription(RTCSessionDescription(reply.body, "answer")), LIMIT)
        return reply

    def publish(self, name: str) -> Reply:
        """Send the pattern."""
        on_engine(lambda: self.pc.addTransceiver(Pattern(), "sendonly"))
        return self.connect(f"/whip/{name}")

    def watch(self, path: str) -> aiortc.MediaStreamTrack:
        """Receive video; returns the track."""
        transceiver = on_engine(lambda: self.pc.addTransceiver("video", "recvonly"))
        self.connect(path)
        return transceiver.receiver.track

    def next_number(self, track: aiortc.MediaStreamTrack) -> int:
        """The number in the next picture that can be read."""

        async def read() -> int:
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.VideoFrame)
                code = read_frame_code(frame.to_ndarray(format="rgb24"))
                if code is not None:
                    return code.frame

        return get_engine().run(asyncio.wait_for(read(), LIMIT))

    def close(self) -> None:
        """Close the connection, without a DELETE."""
        get_engine().run(self.pc.close(), LIMIT)


@pytest.fixture
def strangers(server: RoomServer) -> Iterator[list[Stranger]]:
    made = [Stranger(server), Stranger(server)]
    yield made
    for stranger in made:
        stranger.close()


def wait_for_end(server: RoomServer, location: str) -> None:
    """Wait until a session is over."""

    wait_until(lambda: location.rsplit("/", 1)[1] not in server.desk.sessions)
    assert ask(server, "GET", location, headers=BEARER).status == 404


def test_a_stock_connection_publishes_by_whip(
    room: rtclab.Room, server: RoomServer, strangers: list[Stranger]
) -> None:
    publisher, _ = strangers
    publisher.publish("alice")
    video = room.join("bob").watch("alice", timeout=LIMIT)
    numbers = frame_numbers(video, 10)
    assert numbers == sorted(set(numbers))
    assert ask(server, "DELETE", publisher.location, headers=BEARER).status == 200
    assert [one.name for one in room.participants] == ["bob"]


def test_a_stock_connection_watches_by_whep(
    room: rtclab.Room, server: RoomServer, strangers: list[Stranger]
) -> None:
    publisher, viewer = strangers
    publisher.publish("alice")
    track = viewer.watch("/whep/alice")
    numbers = [viewer.next_number(track) for _ in range(10)]
    assert numbers == sorted(set(numbers))


def test_a_viewer_follows_the_participant_into_its_next_session(
    room: rtclab.Room, server: RoomServer, strangers: list[Stranger]
) -> None:
    _, viewer = strangers
    alice = room.join("alice")
    alice.publish(rtclab.TestPattern(320, 180, fps=30, stream=1))
    track = viewer.watch("/whep")
    viewer.next_number(track)
    alice.leave()
    again = room.join("alice")
    again.publish(rtclab.TestPattern(320, 180, fps=30, stream=2))

    async def second_stream() -> None:
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.VideoFrame)
            code = read_frame_code(frame.to_ndarray(format="rgb24"))
            if code is not None and code.stream == 2:
                return

    get_engine().run(asyncio.wait_for(second_stream(), LIMIT))


def test_a_closed_connection_ends_its_session(server: RoomServer, strangers: list[Stranger]) -> None:
    publisher, _ = strangers
    publisher.publish("alice")
    on_connected(publisher)
    publisher.close()  # DTLS says good-bye
    wait_for_end(server, publisher.location)


def test_a_silent_connection_ends_its_session(
    room: rtclab.Room, server: RoomServer, strangers: list[Stranger], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, viewer = strangers
    publisher.publish("alice")
    viewer.watch("/whep/alice")
    on_connected(publisher)
    on_connected(viewer)
    monkeypatch.setattr(ice, "EXPIRED_AFTER", -1.0)
    wait_for_end(server, publisher.location)
    wait_for_end(server, viewer.location)
    assert room.participants == []


def on_connected(stranger: Stranger) -> None:
    """Wait until a connection is up."""

    wait_until(lambda: stranger.pc.connectionState == "connected")


def test_what_a_whip_publisher_sends_reaches_every_kind_of_viewer(
    room: rtclab.Room, server: RoomServer, strangers: list[Stranger]
) -> None:
    publisher, viewer = strangers
    publisher.publish("alice")
    track = viewer.watch("/whep")
    peer = room.join("bob").watch("alice", timeout=LIMIT)
    assert abs(viewer.next_number(track) - frame_number(peer)) < 300
    kinds = {one.carrier for one in room.participants}
    assert kinds == {"http", "in-process"}
