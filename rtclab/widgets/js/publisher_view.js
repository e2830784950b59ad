// @ts-check
/** What a person sees of the publisher. */

import { wayText } from "./architecture.js";
import { sourceOf } from "./publisher.js";
import { clockNow } from "./requests.js";
import { Routes } from "./routes.js";
import { sendingLines, showLines } from "./sending_list.js";
import { button, describe, fillFigures, h, icon, Notice, PhaseRow, picker, press, setOptions, setText, StatusLine } from "./ui.js";

const IDLE_TEXT = {
  camera: "Press Start to use the camera. Nothing is captured before.",
  screen: "Press Start to choose what to share. Nothing is captured before.",
  pattern: "Press Start to send a test pattern. No camera is needed.",
};

/** @param {import("./publisher.js").Publisher} publisher @param {HTMLElement} el @returns {() => void} cleanup */
export function renderPublisher(publisher, el) {
  const { client } = publisher;
  const status = new StatusLine("Publisher");
  const video = h("video", { class: "rtclab-video", muted: true, playsinline: true, autoplay: true, "aria-label": "Preview" });
  video.muted = true;
  const blank = h("div", { class: "rtclab-blank" }, icon("camera"), h("p"));
  const notice = new Notice();
  const note = new Notice();
  const phases = new PhaseRow();
  const routes = new Routes();
  const start = button("Start", () => publisher.start(), { icons: ["start"], text: true, primary: true });
  const stop = button("Stop", () => publisher.stop(), { icons: ["stop"], text: true });
  const mute = button("Mute", () => publisher.toggleMute(), { icons: ["microphone", "off"], text: true, toggle: true });
  const off = button("Camera off", () => publisher.toggleVideo(), { icons: ["camera", "off"], text: true, toggle: true });
  const videoPicker = picker("Picture", (value) => publisher.chooseVideo(value));
  const audioPicker = picker("Sound", (value) => publisher.chooseAudio(value));
  const figureRow = h("dl", { class: "rtclab-figures" });
  const layerRow = h("ul", { class: "rtclab-layers", "aria-label": "What is sent" });
  const root = h(
    "section",
    { class: "rtclab-root rtclab-publisher", "aria-label": "Publisher", "data-rtclab": "publisher" },
    status.element,
    h(
      "div",
      { class: "rtclab-stage" },
      h("div", { class: "rtclab-frame" }, video, blank),
      h(
        "div",
        { class: "rtclab-side" },
        h("div", { class: "rtclab-row", role: "group", "aria-label": "Controls" }, start, stop, mute, off),
        h(
          "div",
          { class: "rtclab-sources" },
          h("label", { class: "rtclab-field" }, h("span", {}, "Picture"), videoPicker),
          h("label", { class: "rtclab-field" }, h("span", {}, "Sound"), audioPicker),
        ),
        notice.element,
        note.element,
        phases.element,
        routes.element,
        figureRow,
        layerRow,
      ),
    ),
  );

  const update = () => {
    const now = clockNow();
    const source = sourceOf(publisher.choice.video);
    const state = describe(client, now, source);
    const { running } = publisher;
    const way = wayText(client.architecture, client.mesh.connected);
    const who = client.participant ? `${client.participant.name} in ${client.room?.name ?? "the room"}, ${way}` : "";
    status.update(state.tone, running || client.status === "closed" ? state.word : "Off", running ? who : "");
    root.dataset.status = running ? state.word.toLowerCase() : client.status === "closed" ? "failed" : "off";
    notice.show(state.notice);
    const remark = publisher.note || client.refusals.get("video") || client.refusals.get("audio");
    note.show(remark ? { tone: "info", text: remark } : null);
    phases.update(client.phases, now);
    routes.update(client);

    const gone = client.link === "gone";
    const hadFocus = document.activeElement === start || document.activeElement === stop;
    start.hidden = running;
    stop.hidden = !running;
    start.disabled = gone;
    if (hadFocus) (running ? stop : start).focus();
    mute.hidden = off.hidden = !running;
    mute.disabled = !publisher.media.audio;
    off.disabled = !publisher.media.video && !publisher.videoOff;
    press(mute, publisher.muted);
    press(off, publisher.videoOff);
    setText(/** @type {Element} */ (off.lastElementChild), source === "camera" ? "Camera off" : "Picture off");

    const stream = publisher.media.video;
    if ((video.srcObject?.getVideoTracks()[0] ?? null) !== stream) {
      video.srcObject = stream ? new MediaStream([stream]) : null;
      if (stream) video.play().catch(() => {});
    }
    video.hidden = !stream || publisher.videoOff;
    video.classList.toggle("rtclab-mirrored", source === "camera");
    blank.hidden = !video.hidden;
    const waiting = running && client.phases.current === "permission";
    setText(
      /** @type {Element} */ (blank.lastElementChild),
      waiting ? "Waiting for your permission …" : publisher.videoOff && running ? "The picture is off." : gone ? "Nothing is captured." : IDLE_TEXT[source],
    );

    const { cameras, microphones } = publisher.devices;
    setOptions(videoPicker, choices("camera", "Camera", cameras, publisher.choice.video, [
      { value: "screen", text: "Screen" },
      { value: "pattern", text: "Test pattern" },
    ]), publisher.choice.video);
    setOptions(audioPicker, choices("microphone", "Microphone", microphones, publisher.choice.audio, [
      ...(source === "screen" ? [{ value: "screen-audio", text: "Sound of what is shared" }] : []),
      { value: "pattern-audio", text: "Test tone" },
      { value: "none", text: "No sound" },
    ]), publisher.choice.audio);
    videoPicker.disabled = audioPicker.disabled = waiting || gone;
    showFigures();
  };

  const showFigures = () => {
    const id = publisher.running ? client.peer?.sentTrack("video") : null;
    const row = id ? client.meter.summary?.rows.get(id) : undefined;
    figureRow.hidden = !row?.width;
    if (row) fillFigures(figureRow, row);
    showLines(layerRow, id ? sendingLines(client, id) : []);
  };

  const unobserve = client.observe(update);
  el.append(root);
  update();
  return () => {
    unobserve();
    video.srcObject = null;
    root.remove();
  };
}

/**
 * @param {string} source @param {string} name @param {{id: string, label: string}[]} devices
 * @param {string} chosen @param {{value: string, text: string}[]} others
 */
function choices(source, name, devices, chosen, others) {
  const known = devices.map(({ id, label }) => ({ value: `${source}:${id}`, text: label }));
  const unknown = chosen.startsWith(`${source}:`) && !known.some(({ value }) => value === chosen);
  return [
    { value: source, text: known.length ? `Default ${name.toLowerCase()}` : name },
    ...known,
    ...(unknown ? [{ value: chosen, text: `${name} used last time` }] : []),
    ...others,
  ];
}
