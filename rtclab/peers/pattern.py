"""A test pattern that is pleasant to look at and can be read by a machine.

Frame `n` is a pure function of `n`: the still parts are painted once, and each frame copies them and
patches the clock, the frame number, the dial and the code strip (see `rtclab.measure.frame_code`). The
dial turns once a second; when it passes the top, which is when ``n % fps == 0``, it flashes and the sound
beeps, so that eye, ear and a matched filter can compare picture and sound.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..measure.frame_code import BLACK, CELLS_ACROSS, SMALLEST_DRAWN_WIDTH, draw_frame_code

SAMPLE_RATE = 48_000
BEEP_HZ, BEEP_SECONDS, BEEP_LEVEL = 1000.0, 0.020, 0.5
TONE_LEVEL = 0.03
KEPT_SENT = 2048

_PAPER = (245, 247, 250)
_RIBBON = ("#f2f2f2", "#f0d54a", "#3fd0d4", "#55c46a", "#d45fc0", "#e2574c", "#4a6fe3", "#3a3f4a")
_ROUND = 1024  # steps of the dial in one turn
_HUES = (0.78, 0.58, 0.94, 0.46, 0.04, 0.66, 0.36, 0.11)  # one for each stream, neighbours far apart

_streams = itertools.count(1)


class TestPattern:
    """A moving test pattern with a quiet tone.

    Parameters
    ----------
    width, height : int
        Size in pixels; even, at least 160 px wide and between 3:1 and 1:2.
    fps : int
        Frames per second, 1 to 120.
    label : str, optional
        Text shown in the upper left corner.
    tone : float
        Frequency of the quiet tone in Hz.
    stream : int, optional
        Stream id of the frame code (0 to 255), which also picks the colour; by default the next unused one.
    sound : bool
        Whether publishing the pattern publishes its sound too.

    Attributes
    ----------
    sent : dict of int to float
        When each of the latest frames was handed to the encoders: frame number to `time.monotonic`.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    __test__ = False  # its name makes pytest look inside

    def __init__(
        self,
        width: int = 640,
        height: int = 360,
        fps: int = 30,
        *,
        label: str | None = None,
        tone: float = 440.0,
        stream: int | None = None,
        sound: bool = True,
    ) -> None:
        if width % 2 or height % 2 or width < SMALLEST_DRAWN_WIDTH or not width / 3 <= height <= width * 2:
            allowed = "even sides, at least 160 px of width and a shape from 3:1 to 1:2"
            raise ValueError(f"a test pattern has {allowed}, not {width}x{height}")
        if not (isinstance(fps, int) and 1 <= fps <= 120):
            raise ValueError(f"fps must be a whole number from 1 to 120, not {fps}")
        if stream is not None and not 0 <= stream <= 255:
            raise ValueError(f"stream must be 0 to 255, not {stream}")
        self.width, self.height, self.fps = width, height, fps
        self.label = label
        self.tone = tone
        self.stream = next(_streams) % 256 if stream is None else stream
        self.sound = sound
        self.sent: dict[int, float] = {}
        self._art: _Art | None = None

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"<TestPattern{label} {self.width}x{self.height}, {self.fps} fps, stream {self.stream}>"

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Frame `number`, counted from 0, as a new (height, width, 3) uint8 RGB array."""
        if self._art is None:
            self._art = _Art(self.width, self.height, self.fps, self.label, self.stream)
        return self._art.paint(number)

    def note_sent(self, number: int, now: float) -> None:
        """Note that frame `number` goes out now; the oldest note makes room."""
        self.sent.pop(number, None)  # published anew, a pattern begins again with frame 0
        self.sent[number] = now
        if len(self.sent) > KEPT_SENT:
            del self.sent[next(iter(self.sent))]

    def samples(self, start: int, count: int, channels: int = 1) -> NDArray[np.int16]:
        """Sound from sample `start` on (48 kHz, frame 0 at sample 0) as a (count, channels) int16 array."""
        at = np.arange(start, start + count, dtype=np.float64)
        wave = TONE_LEVEL * np.sin(2 * math.pi * self.tone * (at / SAMPLE_RATE))
        into = at % SAMPLE_RATE / SAMPLE_RATE
        window = np.where(into < BEEP_SECONDS, 0.5 - 0.5 * np.cos(2 * math.pi * into / BEEP_SECONDS), 0.0)
        wave += BEEP_LEVEL * window * np.sin(2 * math.pi * BEEP_HZ * into)
        mono = np.rint(wave * 32767).astype(np.int16)
        return np.repeat(mono[:, None], channels, axis=1)


# Grain of up to 4 levels on the band of the code, moving from frame to frame: libvpx as aiortc sets it up
# (denoiser, static threshold) takes a clean cell that flips for noise and leaves half of it standing.
_GRAIN_SHIFTS = 64


class _Art:
    """The painted still parts of a pattern, and what it takes to make a frame of them."""

    def __init__(self, width: int, height: int, fps: int, label: str | None, stream: int) -> None:
        self.fps, self.stream = fps, stream
        unit = width / CELLS_ACROSS
        self._sky = height - 4.5 * unit  # above the band that holds the code
        tall = min(self._sky, 6.75 * unit)  # what the figures may fill
        top = (self._sky - tall) / 2
        left = 1.5 * unit

        self._radius = 0.36 * tall
        self._centre = (width - left - self._radius, top + 0.5 * tall)
        self._still = self._background(width, height, unit)
        words = Image.fromarray(self._still)
        draw = ImageDraw.Draw(words)
        name = label or "Test pattern"
        room = self._centre[0] - self._radius - left - unit
        size = 0.2 * tall
        while size > 6 and _font(size).getlength(name) > room:
            size *= 0.94
        draw.text(
            (left, top + 0.29 * tall),
            name,
            _PAPER,
            _font(size),
            anchor="ls",
            stroke_width=int(size / 40 + 0.3),
        )
        small = max(0.092 * tall, 7.0)
        note = f"{width} x {height}   {fps} fps   stream {stream}"
        draw.text((left, top + 0.86 * tall), note, _faded(0.72), _font(small), anchor="ls")
        self._still = np.asarray(words).copy()
        self._still.setflags(write=False)

        self._clock = _Digits(_font(0.25 * tall), round(0.004 * tall))
        self._clock_at = (round(left), round(top + 0.60 * tall))
        self._count = _Digits(_font(0.27 * self._radius * 2), 0)
        self._dial()

    def paint(self, number: int) -> NDArray[np.uint8]:
        picture = self._still.copy()
        beat = number % self.fps
        self._turn(picture, beat / self.fps)
        seconds = number // self.fps
        clock = f"{seconds // 60 % 100:02}:{seconds % 60:02}.{beat * 1000 // self.fps:03}"
        self._clock.write(picture, clock, *self._clock_at)
        frame = f"{beat:02}"
        x, y = self._centre
        self._count.write(
            picture, frame, round(x - self._count.width(frame) / 2), round(y + self._count.height / 2)
        )
        draw_frame_code(picture, number, self.stream)
        band = picture[-len(self._grain) :]
        shift = number * 7 % _GRAIN_SHIFTS
        band += self._grain[:, shift : shift + picture.shape[1]]
        return picture

    def _background(self, width: int, height: int, unit: float) -> NDArray[np.uint8]:
        """A soft gradient with a glow behind the dial, the ribbon of colours, and the band for the code."""
        hue = _HUES[self.stream % len(_HUES)]
        dark, light, glow = (
            np.array(colorsys.hsv_to_rgb(h % 1, s, v)) * 255
            for h, s, v in ((hue + 0.06, 0.72, 0.24), (hue, 0.62, 0.52), (hue - 0.07, 0.45, 0.86))
        )
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        slope = np.clip(0.55 * x / width + 0.45 * y / max(self._sky, 1), 0, 1)[:, :, None]
        away = np.hypot(x - self._centre[0], y - self._centre[1]) / (3.4 * self._radius)
        shine = (0.75 * np.exp(-3 * away**2))[:, :, None]
        sky = dark + (light - dark) * slope**1.3
        sky += (glow - sky) * shine
        picture = np.clip(sky + 0.5, 0, 255).astype(np.uint8)

        ribbon = round(self._sky)
        thick = max(2, round(0.16 * unit))
        picture[ribbon:] = BLACK
        below = ribbon + thick
        grain = np.random.default_rng(self.stream).integers(0, 5, (height - below, width + _GRAIN_SHIFTS, 1))
        self._grain = grain.astype(np.uint8)
        edges = [round(width * i / len(_RIBBON)) for i in range(len(_RIBBON) + 1)]
        for colour, start, end in zip(_RIBBON, edges, edges[1:], strict=False):
            picture[ribbon : ribbon + thick, start:end] = tuple(bytes.fromhex(colour[1:]))
        return picture

    def _dial(self) -> None:
        """Bake the track and the ticks into the still picture; keep the masks of the comet and the flash."""
        x, y, radius = *self._centre, self._radius
        left, top = math.floor(x - radius - 2), math.floor(y - radius - 2)
        side = math.ceil(2 * radius + 4)
        self._window = (slice(max(top, 0), top + side), slice(left, left + side))
        rows, columns = np.mgrid[max(top, 0) : top + side, left : left + side].astype(np.float32) + 0.5
        away = np.hypot(columns - x, rows - y)
        turn = (np.arctan2(columns - x, y - rows) / (2 * math.pi)) % 1
        thick = 0.15 * radius
        ring = _smooth(thick / 2 - np.abs(away - (radius - thick / 2)))
        disc = _smooth(0.68 * radius - away)
        ticks = np.abs((turn * 12 + 0.5) % 1 - 0.5) / 12 * 2 * math.pi * away
        marks = _smooth(0.012 * radius + 0.4 - ticks) * _smooth(0.03 * radius - np.abs(away - 0.77 * radius))

        still = self._still.copy()
        patch = still[self._window].astype(np.float32)
        for mask, strength in ((disc, 0.10), (ring, 0.20), (marks, 0.55)):
            patch += (np.array(_PAPER) - patch) * (mask * strength)[:, :, None]
        still[self._window] = np.rint(patch)
        still.setflags(write=False)
        self._still = still

        # seven-bit opacities: the product with a colour difference then fits 16 bits
        self._lift = np.array(_PAPER, np.int16) - still[self._window]
        self._ring = np.rint(ring * 127).astype(np.int16)
        self._disc = np.rint(disc * 64).astype(np.int16)
        self._angle = np.rint(turn * _ROUND).astype(np.int16) % _ROUND
        behind = np.arange(_ROUND) / _ROUND  # part of a turn behind the head
        tail = np.maximum(1 - behind / 0.62, 0) ** 1.6
        head = np.clip(1 - (1 - behind) * _ROUND / 6, 0, 1)
        self._comet = np.rint(np.maximum(tail, head) * 127).astype(np.int16)

    def _turn(self, picture: NDArray[np.uint8], phase: float) -> None:
        behind = (round(phase * _ROUND) - self._angle) & (_ROUND - 1)
        opacity = self._ring * self._comet[behind] >> 7
        flash = max(0.0, 1 - 4 * phase) ** 2
        if flash:
            opacity += self._disc * round(flash * 127) >> 7
        patch = picture[self._window]
        patch += (self._lift * opacity[:, :, None] >> 7).astype(np.uint8)  # modulo 256, so darker works too


class _Digits:
    """Digits of equal width, drawn once, blended into pictures."""

    def __init__(self, font: ImageFont.FreeTypeFont, stroke: int) -> None:
        self._glyphs: dict[str, NDArray[np.uint16]] = {}
        wide = math.ceil(max(font.getlength(digit) for digit in "0123456789"))
        self.height = -font.getbbox("0", anchor="ls")[1]
        self._ascent = math.ceil(self.height * 1.1)
        for character in "0123456789:.":
            advance = wide if character.isdigit() else math.ceil(font.getlength(character) * 1.1)
            image = Image.new("L", (advance, math.ceil(self._ascent * 1.25)))
            draw = ImageDraw.Draw(image)
            draw.text((advance / 2, self._ascent), character, 255, font, anchor="ms", stroke_width=stroke)
            self._glyphs[character] = np.asarray(image).astype(np.uint16)[:, :, None]

    def width(self, text: str) -> int:
        return sum(self._glyphs[character].shape[1] for character in text)

    def write(self, picture: NDArray[np.uint8], text: str, x: int, baseline: int) -> None:
        top = baseline - self._ascent
        mask = np.concatenate([self._glyphs[character] for character in text], axis=1)
        patch = picture[top : top + mask.shape[0], x : x + mask.shape[1]]
        patch[:] = (patch * (255 - mask) + np.array(_PAPER, np.uint16) * mask) // 255


def _smooth(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coverage of a pixel whose centre is `distance` pixels inside an edge."""
    return np.clip(distance + 0.5, 0, 1)


def _faded(strength: float) -> tuple[int, int, int]:
    red, green, blue = (round(channel * strength + 40 * (1 - strength)) for channel in _PAPER)
    return red, green, blue


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(max(round(size), 6))
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font
