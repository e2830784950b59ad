"""MCU: the room decodes everybody, mixes one picture for all and one sound for each, and encodes those.

A mixer by RFC 7667 section 3.6. However many take part, each client sends one encoding and receives one
picture and one sound, without its own voice; the room pays with processor time, a generation of quality and
some tens of milliseconds. Of simulcast the mixer takes the smallest layer that fills its rectangle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from ..mixing.pictures import PictureMixer
from ..mixing.sound import SoundMixer
from ..rtp.drops import Drop
from .architecture import Architecture, Output, Stage, architecture
from .consumer import Consumer
from .layers import Choice, Layer, Reason
from .mixed import Mixed, Source, fragments
from .producer import Producer, Upstream
from .store import Packet
from .stream import Stream

REPORT_S = 1.0


@architecture("mcu")
class Mcu(Architecture):
    """One picture for all, one sound for each.

    Attributes
    ----------
    pictures : rtclab.mixing.pictures.PictureMixer
        Mixes the picture; tells where everybody is in it.
    sound : rtclab.mixing.sound.SoundMixer
        Mixes the sound.
    """

    mixed: ClassVar[bool] = True
    prefers: ClassVar[tuple[str, ...]] = ("VP8", "H264")

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        options = stage.options
        self.pictures = PictureMixer(
            options.size,
            options.fps,
            options.bitrate,
            options.layout,
            self._on_loop(self._send_picture),
            self._on_loop(self._ask_keyframe),
        )
        self.sound = SoundMixer(self._on_loop(self._send_sound))
        self._layout = options.layout
        self._sources: dict[str, Source] = {}  # by track id
        self._cards: set[str] = set()  # clients whose tile has no picture
        self._video: Mixed | None = None
        self._audio: dict[str, Mixed] = {}  # by listener
        self._watched = False
        self._news = False
        self._next_report = 0.0
        self._closed = False

    def cpu_s(self) -> float:
        """CPU time of its two threads so far, in seconds."""
        return self.pictures.figures().cpu_s + self.sound.figures().cpu_s

    # -- what the room asks -----------------------------------------------------------------------------

    def choose(self, consumer: Consumer, layers: list[Layer]) -> Choice:
        """Nothing of what participants send: it is in the mix."""
        if consumer.producer is not None and consumer.producer.id in self.stage.router.outputs:
            return super().choose(consumer, layers)
        return Choice(None, Reason.MIXED, pause=True)

    def upstream(self, producer: Producer) -> Upstream:
        """All sound, and the layer of a picture that fills its rectangle; no picture if nobody watches."""
        source = self._sources.get(producer.id)
        if source is None or producer.kind == "audio":
            return super().upstream(producer)
        if not source.mixable:
            return Upstream(frozenset(), Reason.CODEC_NOT_SUPPORTED)
        if not self._watched:
            return Upstream(frozenset(), Reason.NOT_WATCHED)
        streams = {source.ideal}
        shown = self.pictures.shown(producer.id)
        if isinstance(shown, Stream):
            streams.add(shown.index)  # until the ideal one is there
        fewer = len(streams) < len(producer.streams)
        return Upstream(frozenset(streams), Reason.LAYER_NOT_NEEDED if fewer else None)

    def lists(self, client_id: str) -> tuple[Output, ...]:
        """The picture, and the sound of the others if they make any."""
        if self._video is None:
            return ()
        shown, heard = (
            frozenset(source.owner for source in self._sources.values() if source.producer.kind == kind)
            for kind in ("video", "audio")
        )
        others = heard - {client_id}
        if client_id not in self._audio and others:
            self._audio[client_id] = Mixed(self.stage.router, f"mix-audio-{client_id}", "audio", client_id)
        audio = self._audio.get(client_id)
        video = replace(self._video.output, of=shown)
        return (video,) if audio is None else (video, replace(audio.output, of=others))

    # -- who comes and goes -----------------------------------------------------------------------------

    def published(self, producer: Producer, client_id: str, now: float) -> None:
        """Mix a track in."""
        if self._video is None:
            self._video = Mixed(self.stage.router, "mix-video", "video")
            self._video.producer.on_keyframe_wanted = lambda now: self.pictures.want_keyframe()
            self.pictures.start()
            self.sound.start()
        source = self._sources[producer.id] = Source(producer, client_id)
        take = self._take_sound
        if producer.kind == "audio":
            self.sound.add(producer.id, client_id)
        else:
            self.pictures.add(producer.id, self.stage.name_of(client_id), producer.source, producer.codec)
            self._aim(source, source.choose(0, now), now)
            take = self._take_picture
        producer.tap = partial(take if source.mixable else self._refuse, source)
        self._review_card(client_id)
        self._news = True

    def unpublished(self, producer: Producer, now: float) -> None:
        """Take a track out of the mix."""
        source = self._sources.pop(producer.id, None)
        if source is None:
            return
        producer.tap = None
        (self.sound if producer.kind == "audio" else self.pictures).remove(producer.id)
        self._review_card(source.owner)
        self._news = True

    def left(self, client_id: str, now: float) -> None:
        """Nobody listens there any more."""
        audio = self._audio.pop(client_id, None)
        if audio is not None:
            audio.close()

    def close(self) -> None:
        """End both threads and what they made."""
        self._closed = True
        self.pictures.close()
        self.sound.close()
        for source in self._sources.values():
            source.producer.tap = None
        for mixed in [*self._audio.values(), *([self._video] if self._video is not None else [])]:
            mixed.close()

    def _is_here(self, client_id: str) -> bool:
        """Whether a client is connected, or may still be: one that never was does not leave either."""
        return client_id in self.stage.router.clients or self.stage.name_of(client_id) != client_id

    def _review_card(self, client_id: str) -> None:
        """Who is only heard has a tile with the name."""
        kinds = {source.producer.kind for source in self._sources.values() if source.owner == client_id}
        if kinds == {"audio"} and client_id not in self._cards:
            self._cards.add(client_id)
            self.pictures.add(client_id, self.stage.name_of(client_id))
        elif kinds != {"audio"} and client_id in self._cards:
            self._cards.remove(client_id)
            self.pictures.remove(client_id)

    # -- in ---------------------------------------------------------------------------------------------

    def _take_picture(self, source: Source, stream: Stream, packets: list[Packet], now: float) -> None:
        wanted = source.stream
        if wanted is not None and wanted is not stream and wanted.index == stream.index:
            self._aim(source, stream, now)  # it has begun anew
        self.pictures.push(source.producer.id, stream, fragments(stream, packets))

    def _take_sound(self, source: Source, stream: Stream, packets: list[Packet], now: float) -> None:
        self.sound.push(source.producer.id, fragments(stream, packets))

    def _refuse(self, source: Source, stream: Stream, packets: list[Packet], now: float) -> None:
        stream.drops.add(Drop.CODEC_NOT_SUPPORTED, len(packets))

    def _aim(self, source: Source, stream: Stream, now: float) -> None:
        """Take this stream of a track from its next keyframe on."""
        if source.stream is not stream:
            source.stream = stream
            self.pictures.want(source.producer.id, stream)
            if stream.alive(now):
                self._ask_keyframe(source.producer.id, stream)

    def _ask_keyframe(self, track: str, stream: Hashable) -> None:
        publisher = self.stage.router.publisher.get(track)
        if publisher is not None and isinstance(stream, Stream):
            publisher.ask_keyframe(stream, "mix", self.stage.loop.time())

    # -- out --------------------------------------------------------------------------------------------

    def _on_loop(self, function: Callable[..., None]) -> Callable[..., None]:
        """A way for the mixer's threads to call `function` on the engine's."""

        def unless_closed(*arguments: Any) -> None:
            if not self._closed:
                function(*arguments)

        def call(*arguments: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the interpreter ends
                self.stage.loop.call_soon_threadsafe(unless_closed, *arguments)

        return call

    def _send_picture(self, payloads: list[bytes], timestamp: int) -> None:
        if self._video is not None:
            self._video.emit(payloads, timestamp, self.stage.loop.time())

    def _send_sound(self, packets: list[tuple[tuple[str, ...], bytes]], timestamp: int) -> None:
        now = self.stage.loop.time()
        for listeners, payload in packets:
            for listener in listeners:
                if listener in self._audio:
                    self._audio[listener].emit([payload], timestamp, now)

    # -- in time ----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Follow layout, speaker and viewers; choose layers; report the time."""
        video = self._video
        if video is None:
            return
        if self._news:
            self._news = False
            self.stage.changed()
        if self._layout is not self.stage.options.layout:
            self._layout = self.stage.options.layout
            self.pictures.layout = self._layout
        speaker = self.stage.router.levels.loudest(now)
        if speaker is not None:
            self.pictures.speak(self.stage.name_of(str(speaker)))
        heights = {place.tile.id: (place.picture or place.rect).height for place in self.pictures.places}
        for source in self._sources.values():
            if source.producer.kind == "video" and source.mixable:
                self.pictures.mute(source.producer.id, source.producer.muted)
                self._aim(source, source.choose(heights.get(source.producer.id, 0), now), now)
        self.sound.listen(id for id, audio in self._audio.items() if audio.watched)
        if video.producer.streams[0].keyframes.due(now):
            self.pictures.want_keyframe()
        if video.watched != self._watched:
            self._watched = self.pictures.watched = video.watched
            for source in self._sources.values():
                self.stage.router.review(source.producer, now)
        if now >= self._next_report:
            self._next_report = now + REPORT_S
            for listener in [id for id in self._audio if not self._is_here(id)]:
                self.left(listener, now)
            video.report(self.pictures.time(now), now)
            for audio in self._audio.values():
                audio.report(self.sound.time(now), now)
