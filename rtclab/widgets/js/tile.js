// @ts-check
/** One tile of the viewer: a picture, who it is of, what can be done with it, and its figures. */

import { reasonText, titleOf } from "./architecture.js";
import { readVideoCode } from "./frame_reader.js";
import { isLocal } from "./local.js";
import { clockNow } from "./requests.js";
import { button, fillFigures, h, picker, press, setOptions, setText } from "./ui.js";
import { isMix } from "./viewer.js";

const SPEAKING_DBOV = -50;

/** A picture that has stood still for longer than this after a switch is explained. */
const GAP_S = 0.5;
const OVERLAP_S = 1;
const EXPLAINED_FOR_S = 10;
/** Reasons that any switch brings for a moment. */
const PASSING_REASONS = ["publisher_sends_nothing", "waiting_for_keyframe", "direct", "mixed"];
const READ_EVERY_S = 1;

export class Tile {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.client = viewer.client;
    /** @type {import("./viewer.js").Scene | null} */
    this.scene = null;
    /** Stays when the track in it changes, so that the last picture stays until the next. */
    this.stream = new MediaStream();
    this.shownAt = -Infinity;
    this.readAt = -Infinity;
    this.video = h("video", { class: "rtclab-video", playsinline: true, autoplay: true });
    this.video.muted = true; // the sound has an element of its own, shared by all views
    this.initial = h("span", { class: "rtclab-initial", "aria-hidden": "true" });
    this.blankText = h("p");
    this.blank = h("div", { class: "rtclab-blank" }, this.initial, this.blankText);
    this.play = button("Play", () => this.#play(), { icons: ["start"], text: true, primary: true });
    this.play.hidden = true;
    this.reason = h("div", { class: "rtclab-reason", role: "status" });
    this.frame = h("div", { class: "rtclab-frame" }, this.video, this.blank, this.reason, this.play);
    this.name = h("span", { class: "rtclab-name" });
    this.tags = h("span", { class: "rtclab-tags" });
    this.layer = picker("Layer", (rid) => this.scene?.video && this.client.pickLayer(this.scene.video.id, rid));
    this.mute = button("Mute", () => this.scene && viewer.toggleMute(this.scene.participant.id), { icons: ["sound", "off"], toggle: true });
    this.pip = button("Picture in picture", () => this.#togglePip(), { icons: ["pip"], toggle: true });
    this.full = button("Full screen", () => this.#toggleFull(), { icons: ["full"], toggle: true });
    this.figures = h("dl", { class: "rtclab-figures" });
    this.element = h(
      "article",
      { class: "rtclab-tile", role: "listitem" },
      this.frame,
      h(
        "div",
        { class: "rtclab-bar" },
        this.name,
        this.tags,
        h("div", { class: "rtclab-row", role: "group", "aria-label": "Controls" }, this.layer, this.mute, this.pip, this.full),
      ),
      this.figures,
    );
    this.pip.hidden = !document.pictureInPictureEnabled;
    this.full.hidden = !document.fullscreenEnabled;
    const told = () => this.#tellView();
    this.resized = new ResizeObserver(told);
    this.resized.observe(this.video);
    this.onScreen = true;
    this.seen = new IntersectionObserver(([entry]) => {
      this.onScreen = entry.isIntersecting;
      told();
    });
    this.seen.observe(this.frame);
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    document.addEventListener("visibilitychange", told, { signal });
    document.addEventListener("fullscreenchange", () => press(this.full, document.fullscreenElement === this.element), { signal });
    for (const type of ["enterpictureinpicture", "leavepictureinpicture"]) {
      this.video.addEventListener(type, () => {
        press(this.pip, this.#inPip);
        told();
      });
    }
    this.video.addEventListener("resize", () => this.updateState());
    this.video.addEventListener("loadeddata", () => this.updateState());
    this.#watchFrames();
  }

  #watchFrames() {
    this.video.requestVideoFrameCallback?.((_now, { presentationTime }) => {
      const now = clockNow();
      const gap = now - this.shownAt;
      this.shownAt = now;
      if (gap > GAP_S) this.updateState();
      const track = this.scene?.video?.id;
      if (track && now - this.readAt > READ_EVERY_S) {
        this.readAt = now;
        const time = (performance.timeOrigin + presentationTime) / 1000;
        this.client.meter.pictures.set(track, { number: readVideoCode(this.video)?.frame ?? null, time });
      }
      if (!this.listeners.signal.aborted) this.#watchFrames();
    });
  }

  /** @param {import("./viewer.js").Scene} scene */
  update(scene) {
    if (this.scene?.video && this.scene.video.id !== scene.video?.id) this.client.views.set(this.scene.video.id, this, null);
    this.scene = scene;
    const { participant, video, audio } = scene;
    Object.assign(this.element.dataset, { participant: participant.name, source: video?.source ?? "", track: video?.id ?? "" });
    const screen = video?.source === "screen";
    const mixed = isMix(scene);
    const name = mixed ? "Everyone" : participant.name;
    this.element.setAttribute("aria-label", screen ? `${name}, screen` : name);
    setText(this.name, name);
    this.name.title = name;
    const tags = [
      ...(screen ? ["screen"] : []),
      ...(mixed ? [`mixed by the room${this.viewer.of ? `, with ${this.viewer.of}` : ""}`] : []),
      ...(mixed && audio && this.viewer.hearsItself && this.viewer.muted(participant.id) ? ["muted: your own sound is in it"] : []),
      ...(isLocal(this.client, participant.id) ? ["this page"] : []),
      ...(audio?.muted ? ["muted"] : []),
    ];
    setText(this.tags, tags.join(", "));
    setText(this.initial, [...name][0]?.toUpperCase() ?? "");

    const media = video ? (this.client.remote.get(video.id) ?? null) : null;
    if ((this.video.srcObject?.getVideoTracks()[0] ?? null) !== media) {
      const former = this.stream.getTracks();
      if (media) this.stream.addTrack(media);
      for (const track of former) this.stream.removeTrack(track);
      this.video.srcObject = media ? this.stream : null;
      this.#tellView();
      if (media) this.#play();
    }
    this.mute.disabled = !audio;
    press(this.mute, this.viewer.muted(participant.id));
    this.#updateLayers();
    this.updateState();
    this.updateLevel();
    this.updateFigures();
  }

  #updateLayers() {
    const video = this.scene?.video;
    const { direct, name } = this.client.architecture;
    const layers = direct || name === "relay" ? [] : (video?.layers.filter(({ rid }) => rid) ?? []);
    this.layer.hidden = layers.length < 2;
    if (!video || layers.length < 2) return;
    const now = this.client.consumers.get(video.id)?.rid;
    const picked = this.client.picked.get(video.id) ?? "auto";
    const size = (/** @type {any} */ layer) => (layer.width ? `${layer.width}×${layer.height}` : "");
    setOptions(
      this.layer,
      [
        { value: "auto", text: now && picked === "auto" ? `Auto (${now})` : "Auto" },
        ...[...layers]
          .sort((a, b) => (b.width ?? 0) - (a.width ?? 0))
          .map((layer) => ({ value: layer.rid, text: `${layer.rid} ${layer.active === false ? "(not sent)" : size(layer)}`.trim() })),
      ],
      picked,
    );
  }

  /** What is said in place of a picture, or on it. */
  updateState() {
    if (!this.scene) return;
    const { video } = this.scene;
    const refused = video && (this.client.refusals.get(video.id) ?? this.client.refusals.get(`layer ${video.id}`));
    // a change of the track in the stream takes the size away for a moment
    const pictured = (this.video.videoWidth > 0 || this.shownAt > 0) && this.video.srcObject !== null;
    const off = !video || video.muted;
    this.blank.hidden = pictured && !off;
    this.video.hidden = off;
    const text = refused || (off ? "" : this.#gapText());
    const waiting = text ? "" : "Waiting for the first frame …";
    setText(this.blankText, !video ? "Sound only" : video.muted ? "The picture is off." : waiting);
    this.reason.hidden = !text;
    setText(this.reason, text);
  }

  /** Why nothing comes. */
  #gapText() {
    const { architecture, consumers, switchedAt } = this.client;
    const now = clockNow();
    const still = now - this.shownAt > GAP_S;
    const consumer = consumers.get(this.scene?.video?.id ?? "");
    const paused = consumer && consumer.rid === null && consumer.target === null ? consumer.reason : null;
    if (paused && !PASSING_REASONS.includes(paused)) return `Paused: ${reasonText(paused)}`;
    // what the former way has brought along may still be shown after the switch
    const switching = now - switchedAt < EXPLAINED_FOR_S && this.shownAt < switchedAt + OVERLAP_S;
    if (switching) return still ? `Switching to ${titleOf(architecture.name)} …` : "";
    if (architecture.direct) return still ? `No direct connection to ${this.scene?.participant.name} yet: trying …` : "";
    // the room's word on a switch comes a moment later
    return paused && paused !== "direct" && paused !== "mixed" ? `Paused: ${reasonText(paused)}` : "";
  }

  updateLevel() {
    if (!this.scene) return;
    const { id } = this.scene.participant;
    const level = this.client.levels[id];
    const speaking = this.scene.audio !== null && level !== undefined && level > SPEAKING_DBOV;
    this.element.classList.toggle("rtclab-speaking", speaking);
    this.element.classList.toggle("rtclab-active", speaking && this.client.active === id);
  }

  /** Which layer comes, and why not a better one; or that it comes directly. */
  #layerText() {
    const video = this.scene?.video;
    if (video && this.client.ways.taken.get(video.id) === "direct") return "direct";
    const consumer = video ? this.client.consumers.get(video.id) : undefined;
    if (!consumer?.rid) return "";
    const switching = consumer.target && consumer.target !== consumer.rid ? ` to ${consumer.target}` : "";
    return `layer ${consumer.rid}${switching}${consumer.reason ? `: ${reasonText(consumer.reason)}` : ""}`;
  }

  updateFigures() {
    const track = this.scene?.video ?? this.scene?.audio;
    const row = track ? this.client.meter.summary?.rows.get(track.id) : undefined;
    this.figures.hidden = !row;
    if (row) fillFigures(this.figures, row, this.#layerText());
  }

  async #play() {
    try {
      await this.video.play();
      this.play.hidden = true;
    } catch (error) {
      // a new source aborts an earlier play(); only a browser that forbids it needs a click
      if (error instanceof Error && error.name === "NotAllowedError") this.play.hidden = false;
    }
  }

  get #inPip() {
    return document.pictureInPictureElement === this.video;
  }

  async #togglePip() {
    try {
      if (this.#inPip) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      press(this.pip, false); // no picture yet
    }
  }

  async #toggleFull() {
    try {
      if (document.fullscreenElement === this.element) await document.exitFullscreen();
      else await this.element.requestFullscreen();
    } catch {
      press(this.full, false);
    }
  }

  #tellView() {
    const track = this.scene?.video?.id;
    if (!track) return;
    const { width, height } = this.video.getBoundingClientRect();
    const shown = this.#inPip || (this.onScreen && document.visibilityState === "visible" && width > 0);
    this.client.views.set(track, this, { width: width * devicePixelRatio, height: height * devicePixelRatio, visible: shown });
  }

  close() {
    if (this.scene?.video) this.client.views.set(this.scene.video.id, this, null);
    this.resized.disconnect();
    this.seen.disconnect();
    this.listeners.abort();
    this.video.srcObject = null;
    this.element.remove();
  }
}
