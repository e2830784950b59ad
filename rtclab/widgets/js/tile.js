// @ts-check
/** One tile of the viewer: a picture, who it is of, what can be done with it, and its figures. */

import { isLocal } from "./local.js";
import { button, fillFigures, h, icon, picker, press, setOptions, setText } from "./ui.js";

const SPEAKING_DBOV = -50;

/** Why the room sends what it sends, or nothing: the codes of rtclab/forwarding/layers.py in words. */
const REASONS = {
  publisher_sends_nothing: "nothing is being sent",
  muted: "switched off by the publisher",
  hidden: "not in view",
  codec_not_supported: "this browser cannot play the codec",
  waiting_for_keyframe: "waiting for a keyframe",
  layer_not_sent: "what was picked is not being sent",
  view_size: "fits this view",
  loss: "packets are lost",
  picked: "as picked",
};

export class Tile {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.client = viewer.client;
    /** @type {import("./viewer.js").Scene | null} */
    this.scene = null;
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
    this.video.addEventListener("resize", () => this.#updateBlank());
    this.video.addEventListener("loadeddata", () => this.#updateBlank());
  }

  /** @param {import("./viewer.js").Scene} scene */
  update(scene) {
    if (this.scene?.video && this.scene.video.id !== scene.video?.id) this.client.views.set(this.scene.video.id, this, null);
    this.scene = scene;
    const { participant, video, audio } = scene;
    Object.assign(this.element.dataset, { participant: participant.name, source: video?.source ?? "", track: video?.id ?? "" });
    const screen = video?.source === "screen";
    this.element.setAttribute("aria-label", screen ? `${participant.name}, screen` : participant.name);
    setText(this.name, participant.name);
    this.name.title = participant.name;
    const tags = [
      ...(screen ? ["screen"] : []),
      ...(isLocal(this.client, participant.id) ? ["this page"] : []),
      ...(audio?.muted ? ["muted"] : []),
    ];
    setText(this.tags, tags.join(", "));
    setText(this.initial, [...participant.name][0]?.toUpperCase() ?? "");

    const media = video ? (this.client.remote.get(video.id) ?? null) : null;
    if ((this.video.srcObject?.getVideoTracks()[0] ?? null) !== media) {
      this.video.srcObject = media ? new MediaStream([media]) : null;
      this.#tellView();
      if (media) this.#play();
    }
    this.mute.disabled = !audio;
    press(this.mute, this.viewer.muted(participant.id));
    this.#updateLayers();
    this.#updateBlank();
    this.updateLevel();
    this.updateFigures();
  }

  #updateLayers() {
    const video = this.scene?.video;
    const layers = video?.layers.filter(({ rid }) => rid) ?? [];
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

  #updateBlank() {
    if (!this.scene) return;
    const { video } = this.scene;
    const refused = video && (this.client.refusals.get(video.id) ?? this.client.refusals.get(`layer ${video.id}`));
    const consumer = video ? this.client.consumers.get(video.id) : undefined;
    const pictured = this.video.videoWidth > 0 && this.video.srcObject !== null;
    const off = !video || video.muted;
    this.blank.hidden = pictured && !off;
    this.video.hidden = off;
    setText(this.blankText, !video ? "Sound only" : video.muted ? "The picture is off." : refused ? "" : "Waiting for the first frame …");
    const paused = consumer && consumer.rid === null && consumer.target === null ? consumer.reason : null;
    const text = refused || (paused && !off ? `Paused: ${reasonText(paused)}` : "");
    this.reason.hidden = !text;
    setText(this.reason, text || "");
  }

  updateLevel() {
    if (!this.scene) return;
    const { id } = this.scene.participant;
    const level = this.client.levels[id];
    const speaking = this.scene.audio !== null && level !== undefined && level > SPEAKING_DBOV;
    this.element.classList.toggle("rtclab-speaking", speaking);
    this.element.classList.toggle("rtclab-active", speaking && this.client.active === id);
  }

  /** Which layer comes, and why not a better one. */
  #layerText() {
    const video = this.scene?.video;
    const consumer = video ? this.client.consumers.get(video.id) : undefined;
    if (!consumer?.rid) return "";
    const switching = consumer.target && consumer.target !== consumer.rid ? ` to ${consumer.target}` : "";
    return `layer ${consumer.rid}${switching}${consumer.reason ? `: ${reasonText(consumer.reason)}` : ""}`;
  }

  updateFigures() {
    const track = this.scene?.video ?? this.scene?.audio;
    const row = track ? this.client.summary?.rows.get(track.id) : undefined;
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

/** @param {string} code */
function reasonText(code) {
  return REASONS[code] ?? code.replaceAll("_", " ");
}
