"""A camera whose pictures are numbered and whose sound beeps, and a meter for what a page shows of it.

The picture is the browser's (fake) camera, 640x480 at 30 fps, with a frame number drawn into it
(`rtclab.measure.frame_code`); the microphone beeps with each frame whose number is a multiple of `FPS`.
Capturing and watching happen in one page, so one clock times both: latency is from the drawing of a number to
its display, skew from the display of a beep's frame to the beep. ``rtclabCoded.rich = true`` adds noise to
the picture, which then costs as many bits as that of a real camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page

from rtclab.widgets import bundle

FPS = 30

_MODULES = {path.name: path.read_text("utf-8") for path in (bundle.HERE / "js").glob("frame_*.js")}
_CODE = bundle.join("frame_reader.js", _MODULES)

# to be run before the page's own scripts
CODED_CAMERA = (
    "(() => {\n"
    + _CODE
    + """
const WIDTH = 640, HEIGHT = 480, FPS = 30;
const coded = window.rtclabCoded = { drawn: {}, sounds: [], read: readVideoCode, rich: false, beeps: true };

// what costs an encoder many bits: noise that is another one in each picture
function noise() {
  const canvas = new OffscreenCanvas(2 * WIDTH, 2 * HEIGHT);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < image.data.length; i += 1) image.data[i] = i % 4 === 3 ? 60 : 256 * Math.random();
  context.putImageData(image, 0, 0);
  return canvas;
}

function numbered(camera) {
  const video = Object.assign(document.createElement("video"), { srcObject: camera, muted: true });
  video.play();
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d", { alpha: false });
  const grain = noise();
  const begun = performance.now();
  const [track] = canvas.captureStream().getVideoTracks();
  let last = -1;
  const tick = () => {
    if (track.readyState === "ended") return;
    const number = Math.floor((performance.now() - begun) * FPS / 1000);
    if (number !== last) {
      context.drawImage(video, 0, 0, WIDTH, HEIGHT);
      if (coded.rich) context.drawImage(grain, -WIDTH * Math.random(), -HEIGHT * Math.random());
      drawFrameCode(context, WIDTH, HEIGHT, number, 7);
      coded.drawn[number] = performance.now();
      last = number;
    }
    setTimeout(tick, Math.max(1, begun + (number + 1) * 1000 / FPS - performance.now()));
  };
  tick();
  return { track, begun };
}

function beeping(begun) {
  const audio = new AudioContext();
  const buffer = audio.createBuffer(1, audio.sampleRate, audio.sampleRate);
  const wave = buffer.getChannelData(0);
  for (let i = 0; i < 0.05 * audio.sampleRate; i += 1) {
    wave[i] = 0.5 * Math.sin(2 * Math.PI * 1000 * i / audio.sampleRate);
  }
  const sound = new AudioBufferSourceNode(audio, { buffer, loop: true });
  const out = audio.createMediaStreamDestination();
  sound.connect(out);
  sound.start(0, ((performance.now() - begun) / 1000) % 1);
  return out.stream.getAudioTracks()[0];
}

const capture = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  const given = await capture.call(this, {
    ...constraints, video: constraints.video && { width: WIDTH, height: HEIGHT, frameRate: FPS } });
  if (!constraints.video) return given;
  const { track, begun } = numbered(given);
  const sound = coded.beeps && constraints.audio ? [beeping(begun)] : given.getAudioTracks();
  return new MediaStream([track, ...sound]);
};

// what is played outside the document, too
const { set, get } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
  get, set(stream) {
    set.call(this, stream);
    if (this instanceof HTMLAudioElement && stream) coded.sounds.push(this);
  },
});
})();
"""
)

# for tests that need no more than numbers
SMALL_CODED_CAMERA = CODED_CAMERA.replace(
    "WIDTH = 640, HEIGHT = 480, FPS = 30", "WIDTH = 320, HEIGHT = 240, FPS = 15"
)

_RECORD = """(video) => {
  const shown = rtclabCoded.shown = [];
  const dot = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const next = () => video.requestVideoFrameCallback((now) => {
    if (shown !== rtclabCoded.shown) return;
    dot.drawImage(video, 0, 0, 1, 1);
    const light = Math.max(...dot.getImageData(0, 0, 1, 1).data.slice(0, 3));
    shown.push([rtclabCoded.read(video)?.frame ?? null, light, now]);
    next();
  });
  next();
}"""

_MEASURE = """async (video, seconds) => {
  const { drawn, sounds, read } = window.rtclabCoded;
  const shown = [], heard = [];
  const begun = performance.now();
  let open = true;
  const next = () => video.requestVideoFrameCallback((now, { expectedDisplayTime }) => {
    const code = read(video);
    if (code && drawn[code.frame]) shown.push([code.frame, drawn[code.frame], expectedDisplayTime]);
    if (open) next();
  });
  next();
  const context = new AudioContext();
  const playing = sounds.filter((element) => element.srcObject?.getAudioTracks().length).at(-1);
  if (playing) {
    const text = `registerProcessor("onsets", class extends AudioWorkletProcessor {
      constructor() { super(); this.quiet = 0; }
      process([[samples]]) {
        for (let i = 0; i < (samples?.length ?? 0); i += 1) {
          if (Math.abs(samples[i]) < 0.1) this.quiet += 1;
          else {
            if (this.quiet > sampleRate / 4) this.port.postMessage(currentTime + i / sampleRate);
            this.quiet = 0;
          }
        }
        return true;
      }
    });`;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    const tap = new AudioWorkletNode(context, "onsets");
    tap.port.onmessage = ({ data }) => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      heard.push(performanceTime + 1000 * (data - contextTime));
    };
    context.createMediaStreamSource(playing.srcObject).connect(tap).connect(context.destination);
  }
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  open = false;
  await context.close();
  const { videoWidth, videoHeight } = video;
  const ticks = Object.values(drawn).filter((time) => time >= begun);
  const held = Math.max(0, ...ticks.slice(1).map((time, i) => time - ticks[i]));
  return { shown, heard, size: [videoWidth, videoHeight], span: [begun, performance.now()], held };
}"""


@dataclass(frozen=True)
class Shown:
    """What was shown of a coded camera.

    Attributes
    ----------
    numbers : list of int
        Frame numbers in the order of display.
    fps : float
        Different frames a second.
    latency_s : numpy.ndarray
        From drawing to display, of each frame shown.
    skew_s : list of float
        Of each beep that was heard: how long after its frame was shown.
    beeps : int
        How many were heard, their frames shown or not.
    size : tuple of int
        Width and height of the picture.
    gap_s : float
        Longest time without a new frame.
    held_s : float
        Longest time in which the page itself drew none.
    """

    numbers: list[int]
    fps: float
    latency_s: np.ndarray
    skew_s: list[float]
    beeps: int
    size: tuple[int, int]
    gap_s: float
    held_s: float

    def percentile(self, share: float) -> float:
        """Latency that this share (0 to 100) of the frames stays below; infinite if none was shown."""
        return float(np.percentile(self.latency_s, share)) if len(self.latency_s) else math.inf


def record(video: Locator) -> None:
    """Note what a ``<video>`` shows from now on, for `recorded`."""
    video.evaluate(_RECORD)


@dataclass(frozen=True)
class Picture:
    """A picture that was shown.

    Attributes
    ----------
    number : int or None
        Its number; None if that cannot be read, as in a very small layer.
    light : int
        How bright it is on the whole, 0 to 255.
    time : float
        When it was shown, in seconds.
    """

    number: int | None
    light: int
    time: float


def recorded(page: Page) -> list[Picture]:
    """Every picture since `record`."""
    shown = page.evaluate("rtclabCoded.shown")
    return [Picture(number, light, time / 1000) for number, light, time in shown]


def in_order(pictures: Sequence[Picture]) -> bool:
    """Whether there are numbers to be read, none is less than one before it, and no picture is black."""
    numbers = [one.number for one in pictures if one.number is not None]
    return numbers != [] and numbers == sorted(numbers) and all(one.light > 16 for one in pictures)


def watch(video: Locator, seconds: float) -> Shown:
    """Watch a ``<video>`` of the page that captures for so long."""
    got: dict[str, Any] = video.evaluate(_MEASURE, seconds)
    first: dict[int, tuple[float, float]] = {}
    for number, drawn, shown in got["shown"]:
        first.setdefault(number, (drawn, shown))
    beeps = {shown for number, (_, shown) in first.items() if number % FPS == 0}
    skew = [
        min((heard - shown for shown in beeps), key=abs) / 1000
        for heard in got["heard"]
        if beeps and min(abs(heard - shown) for shown in beeps) < 500
    ]
    times = sorted(shown for _, shown in first.values())
    begun, ended = got["span"]
    span = (times[-1] - times[0]) / 1000 if len(times) > 1 else 0.0
    return Shown(
        numbers=[number for number, *_ in got["shown"]],
        fps=(len(times) - 1) / span if span else 0.0,
        latency_s=np.array([(shown - drawn) / 1000 for drawn, shown in first.values()]),
        skew_s=skew,
        beeps=len(got["heard"]),
        size=(got["size"][0], got["size"][1]),
        gap_s=max(later - sooner for sooner, later in pairwise([begun, *times, ended])) / 1000,
        held_s=got["held"] / 1000,
    )
