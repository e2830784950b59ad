"""A page without WebRTC, for tests of the tunnel: it joins a real room over an in-process carrier, offers SDP
whose ICE never connects, and its media is frames that PyAV encodes and decodes, each with a number in it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

import rtclab
from rtclab.engine import get_engine
from rtclab.errors import Closed
from rtclab.measure import read_frame_code
from rtclab.measure.frame_code import draw_frame_code
from rtclab.signaling import inprocess
from rtclab.transport.tunnel_format import Ack, Frame, KeyframeRequest, parse

T = TypeVar("T")
LIMIT = 30.0

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n"
TRANSPORT = (
    "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:N0AP4Z1Y+jMJkvC5XHNq8NeV\r\n"
    "a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=rtcp-mux\r\n"
)
EXTENSIONS = (
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
)
CODECS = {
    "opus": (111, "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"),
    "VP8": (96, "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n"),
    "H264": (
        102,
        "a=rtpmap:102 H264/90000\r\n"
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n",
    ),
    "VP9": (98, "a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n"),
}


class MLine(NamedTuple):
    """One m-line of the page's offers; of one that receives `track` says what."""

    mid: str
    kind: str
    codecs: tuple[str, ...]
    sends: bool
    rids: tuple[str, ...] = ()
    track: str | None = None

    def sdp(self, fingerprint: str) -> str:
        """As it stands in the SDP."""
        numbers = " ".join(str(CODECS[codec][0]) for codec in self.codecs)
        text = (
            f"m={self.kind} 9 UDP/TLS/RTP/SAVPF {numbers}\r\n"
            + TRANSPORT.format(ufrag=fingerprint * 2, fingerprint=":".join([fingerprint] * 32))
            + EXTENSIONS
        )
        text += f"a=mid:{self.mid}\r\na={'sendonly' if self.sends else 'recvonly'}\r\n"
        text += "".join(CODECS[codec][1] for codec in self.codecs)
        if self.rids:
            text += "".join(f"a=rid:{rid} send\r\n" for rid in self.rids)
            text += f"a=simulcast:send {';'.join(self.rids)}\r\n"
        return text

    def entry(self) -> dict[str, Any]:
        """As it stands in `tracks` of the offer."""
        if self.sends:
            source = "microphone" if self.kind == "audio" else "camera"
            return {"mid": self.mid, "direction": "send", "source": source}
        return {"mid": self.mid, "direction": "receive", "track": self.track}


class TunnelPage:
    """One client; its methods may be called on any thread but the engine's.

    Attributes
    ----------
    messages : list of dict
        All that the room said.
    frames : dict of str to list of Frame
        Frames that came, by mid.
    asked : list of KeyframeRequest
        Keyframes that the room asked for.
    acks : list of Ack
        What the room took in.
    acknowledges : bool
        Whether frames are acknowledged.
    """

    def __init__(self, room: rtclab.Room, name: str) -> None:
        self.room = room
        self.name = name
        self.messages: list[dict[str, Any]] = []
        self.frames: dict[str, list[Frame]] = defaultdict(list)
        self.asked: list[KeyframeRequest] = []
        self.acks: list[Ack] = []
        self.acknowledges = True
        self.lines: list[MLine] = []
        self.session: str | None = None
        self.fingerprint = "B3"  # of each byte of it: another is a new peer connection
        self._ids = itertools.count(1)
        self._mids = itertools.count()
        self._number = 0
        self._losing = False
        self._changed = threading.Condition()
        self.connect()

    def connect(self) -> None:
        """A carrier, over which nothing was said yet."""

        async def connect() -> inprocess.InProcessCarrier:
            carrier = inprocess.open(self.room._server.connect)
            self._reading = [
                asyncio.ensure_future(self._read(carrier)),
                asyncio.ensure_future(self._read_media(carrier)),
            ]
            return carrier

        self.carrier = run(connect())

    async def _read(self, carrier: inprocess.InProcessCarrier) -> None:
        try:
            while True:
                message = await carrier.receive()
                with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
        except Closed:
            return

    async def _read_media(self, carrier: inprocess.InProcessCarrier) -> None:
        try:
            while True:
                message = parse(await carrier.receive_media())
                if isinstance(message, Frame) and self.acknowledges:
                    carrier.send_media_to_room(Ack(message.number).encode())
                with self._changed:
                    if isinstance(message, Frame):
                        self.frames[message.mid].append(message)
                    elif isinstance(message, Ack):
                        self.acks.append(message)
                    else:
                        self.asked.append(message)
                    self._changed.notify_all()
        except Closed:
            return

    def until(self, found: Callable[[], T], timeout: float = LIMIT) -> T:
        """What `found` gives, once that is true."""
        with self._changed:
            assert self._changed.wait_for(found, timeout), "nothing like that came"
            return found()

    # -- signaling --------------------------------------------------------------------------------------

    def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a request; returns the reply."""
        number = next(self._ids)

        async def send() -> None:
            self.carrier.send_to_room({"type": type, "id": number, **fields})

        run(send())
        replies: list[dict[str, Any]] = []

        def found() -> bool:
            replies[:] = [message for message in self.messages if message.get("re") == number]
            return bool(replies)

        self.until(found)
        return replies[0]

    def join(self) -> dict[str, Any]:
        """Join, or come back."""
        reply = self.ask(
            "join", version=1, name=self.name, role="participant", session=self.session, agent="test"
        )
        self.session = reply.get("session", self.session)
        return reply

    def offer(self) -> dict[str, Any]:
        """Offer all m-lines; returns the reply."""
        mids = " ".join(line.mid for line in self.lines)
        sdp = HEAD.format(mids=mids) + "".join(line.sdp(self.fingerprint) for line in self.lines)
        return self.ask("offer", sdp=sdp, tracks=[line.entry() for line in self.lines])

    def publish(
        self, kind: str = "video", codecs: tuple[str, ...] = ("VP8",), rids: tuple[str, ...] = ()
    ) -> tuple[str, dict[str, Any]]:
        """Offer a track; returns the mid, and what the answer says of it."""
        mid = str(next(self._mids))
        self.lines.append(MLine(mid, kind, codecs, True, rids))
        answer = self.offer()
        assert answer["type"] == "answer", answer
        return mid, next((track for track in answer["tracks"] if track["mid"] == mid), {})

    def watch(self, track: str, kind: str = "video") -> str:
        """Ask for a track; returns the mid."""
        mid = str(next(self._mids))
        codecs = ("opus",) if kind == "audio" else ("VP8", "H264", "VP9")
        self.lines.append(MLine(mid, kind, codecs, False, (), track))
        answer = self.offer()
        assert answer["type"] == "answer", answer
        return mid

    def track_of(self, name: str, kind: str = "video") -> str:
        """The id of somebody's track, once the room lists it."""

        def found() -> str | None:
            lists = [message["tracks"] for message in self.messages if message["type"] in LISTS]
            listed = lists[-1] if lists else []
            return next(
                (t["id"] for t in listed if t["participant"]["name"] == name and t["kind"] == kind), None
            )

        track = self.until(found)
        assert track is not None
        return track

    def open(self, reason: str = "UDP did not get through within 2 s", decode: str = "webcodecs") -> Any:
        """Open the tunnel, or open it again; returns the reply."""
        self._number = 0
        return self.ask("tunnel", open=True, reason=reason, decode=decode)

    def close(self) -> Any:
        """Close the tunnel; returns the reply."""
        return self.ask("tunnel", open=False, reason="")

    def lose(self) -> None:
        """Lose the carrier."""

        async def lose() -> None:
            self.carrier.lose("the test cut it")

        run(lose())

    # -- media ------------------------------------------------------------------------------------------

    def send(self, mid: str, payload: bytes, time_us: int | None = None, **fields: Any) -> Frame:
        """Send a frame."""
        with self._changed:  # cameras have threads of their own
            number = self._number = self._number + 1
            lost, self._losing = self._losing, False
            self._changed.notify_all()
        time_us = time.time_ns() // 1000 if time_us is None else time_us
        frame = Frame(number, time_us, mid, fields.pop("rid", ""), payload, **fields)
        if not lost:
            self.send_media(frame.encode())
        return frame

    def lose_frame(self) -> None:
        """Let the next frame be lost on its way, and wait until it is."""
        self._losing = True
        self.until(lambda: not self._losing)

    def send_media(self, *messages: bytes) -> None:
        """Send binary messages."""

        async def send() -> None:
            for message in messages:
                self.carrier.send_media_to_room(message)

        run(send())


LISTS = ("welcome", "tracks")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do something on the engine's thread."""
    return get_engine().run(asyncio.wait_for(work, LIMIT))


class Camera(threading.Thread):
    """Sends numbered pictures of an m-line until it is stopped; a keyframe first, and whenever asked.

    Attributes
    ----------
    sent : int
        How many pictures.
    """

    def __init__(
        self,
        page: TunnelPage,
        mid: str,
        codec: str = "VP8",
        width: int = 160,
        fps: int = 25,
        rid: str = "",
        grain: int = 0,
    ) -> None:
        super().__init__(daemon=True)
        self.page, self.mid, self.rid, self.fps = page, mid, rid, fps
        self.encoder = PictureEncoder(codec, width, grain=grain)
        self.sent = 0
        self.ended = threading.Event()
        self.start()

    def run(self) -> None:
        asked = 0
        while not self.ended.wait(1 / self.fps):
            wanted = [one for one in self.page.asked if (one.mid, one.rid) == (self.mid, self.rid)]
            payload, keyframe = self.encoder.encode(self.sent, len(wanted) > asked or not self.sent)
            asked = len(wanted)
            size = {"width": self.encoder.width, "height": self.encoder.height}
            self.page.send(self.mid, payload, rid=self.rid, keyframe=keyframe, **size)
            self.sent += 1

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def page(room: rtclab.Room, name: str) -> TunnelPage:
    """A page that has joined."""
    page = TunnelPage(room, name)
    assert page.join()["type"] == "welcome"
    return page


@contextlib.contextmanager
def call(
    room: rtclab.Room, watched: str = "alice"
) -> Iterator[tuple[TunnelPage, TunnelPage, dict[str, Any], str]]:
    """Alice publishes and bob watches, both through tunnels: the pages, her track, and bob's m-line."""
    alice, bob = page(room, "alice"), page(room, "bob")
    for one in (alice, bob):
        one.open()
    mid, published = alice.publish()
    with Camera(alice, mid):
        yield alice, bob, published, bob.watch(bob.track_of(watched))


class PictureEncoder:
    """Numbered pictures in VP8 or H264; with grain, levels of noise, they cost many bits."""

    def __init__(self, codec: str, width: int = 160, bitrate: int = 300_000, grain: int = 0) -> None:
        context = av.CodecContext.create({"VP8": "libvpx", "H264": "libx264"}[codec], "w")
        assert isinstance(context, VideoCodecContext)
        self.width, self.height = width, width * 9 // 16 // 2 * 2
        context.width, context.height, context.pix_fmt = self.width, self.height, "yuv420p"
        context.time_base, context.framerate, context.bit_rate = Fraction(1, 25), Fraction(25), bitrate
        context.gop_size, context.thread_count = 100_000, 1
        vp8 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        h264 = {"tune": "zerolatency", "preset": "ultrafast", "profile": "baseline"}
        context.options = vp8 if codec == "VP8" else h264
        self._context = context
        self._grain, self._generator = grain, np.random.default_rng(3)

    def encode(self, number: int, keyframe: bool = False) -> tuple[bytes, bool]:
        """One picture, and whether it is a keyframe."""
        noise = self._generator.integers(0, self._grain + 1, (self.height, self.width, 1), np.uint8)
        pixels = np.full((self.height, self.width, 3), 90, np.uint8) + noise
        draw_frame_code(pixels, number & 0xFFFF, 1)
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        (packet,) = self._context.encode(picture)
        return bytes(packet), packet.is_keyframe


class PictureDecoder:
    """Reads the numbers of pictures."""

    def __init__(self, codec: str) -> None:
        context = av.CodecContext.create(codec.lower(), "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        self._context = context

    def numbers(self, *payloads: bytes) -> list[int]:
        """The numbers of the pictures in these frames; -1 where there is none to be read."""
        numbers = []
        for payload in payloads:
            for picture in self._context.decode(av.Packet(payload)):
                code = read_frame_code(picture.to_ndarray(format="rgb24"))
                numbers.append(-1 if code is None else code.frame)
        return numbers


def tone(count: int, hertz: float = 1000.0) -> list[bytes]:
    """Opus packets of 20 ms."""
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, AudioCodecContext)
    context.format, context.layout, context.sample_rate = "s16", "stereo", 48_000
    context.time_base = Fraction(1, 48_000)
    packets: list[bytes] = []
    for number in range(count):
        at = (np.arange(960) + 960 * number) / 48_000
        wave = (8000 * np.sin(2 * np.pi * hertz * at)).astype(np.int16)
        block = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
        block.sample_rate, block.pts = 48_000, 960 * number
        packets += [bytes(packet) for packet in context.encode(block)]
    return packets
