// @ts-check
/** Small pieces of interface that the widgets share: elements, icons, buttons, the row of phases, notices. */

import { stuckAdvice } from "./phases.js";
import { figures } from "./stats.js";

/**
 * @param {string} tag @param {Record<string, any>} [attributes] attributes; functions become listeners
 * @param {...(Node | string | null)} children @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Changes the text only when it differs, so that a selection and a screen reader are left alone. */
export function setText(/** @type {Element} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Strokes on a 16 x 16 grid. */
const ICONS = {
  start: "M5 3.2v9.6l7.6-4.8z",
  stop: "M4 4h8v8H4z",
  microphone: "M8 1.8a2 2 0 0 1 2 2v4a2 2 0 0 1-4 0v-4a2 2 0 0 1 2-2zM3.8 7.6a4.2 4.2 0 0 0 8.4 0M8 11.8v2.6",
  camera: "M1.8 4.2h8.4v7.6H1.8zM10.2 7l4-2.2v6.4l-4-2.2",
  sound: "M2 6v4h2.4L8 13V3L4.400 6zM10.4 5.8a3 3 0 0 1 0 4.400M12.300 3.8a6 6 0 0 1 0 8.4",
  full: "M2.200 6V2.200H6M10 2.200h3.800V6M13.800 10v3.800H10M6 13.800H2.200V10",
  pip: "M1.800 3h12.400v10H1.800zM8 8h4.200v3.200H8z",
  off: "M2 2l12 12",
};

/** @param {...string} names drawn over each other @returns {SVGElement} */
export function icon(...names) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("rtclab-icon");
  for (const name of names) {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", ICONS[name]);
    path.classList.add(`rtclab-icon-${name}`);
    svg.append(path);
  }
  return /** @type {SVGElement} */ (svg);
}

/**
 * @param {string} name the accessible name, which never changes; `aria-pressed` says the state
 * @param {() => void} onClick
 * @param {{icons?: string[], text?: boolean, toggle?: boolean, primary?: boolean}} [look]
 * @returns {HTMLButtonElement}
 */
export function button(name, onClick, { icons = [], text = false, toggle = false, primary = false } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: `rtclab-button${text ? "" : " rtclab-button-icon"}${primary ? " rtclab-button-primary" : ""}`,
      "aria-label": text ? null : name,
      "aria-pressed": toggle ? "false" : null,
      title: text ? null : name,
      click: onClick,
    },
    icons.length ? icon(...icons) : null,
    text ? h("span", {}, name) : null,
  );
}

/** @param {Element} toggle @param {boolean} on */
export function press(toggle, on) {
  toggle.setAttribute("aria-pressed", String(on));
}

/** @param {string} label @param {(value: string) => void} onChange @returns {HTMLSelectElement} */
export function picker(label, onChange) {
  const select = h("select", { class: "rtclab-select", "aria-label": label, title: label });
  select.addEventListener("change", () => onChange(select.value));
  return select;
}

/** @param {HTMLSelectElement} select @param {{value: string, text: string}[]} options @param {string} value */
export function setOptions(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(...options.map((option) => h("option", { value: option.value }, option.text)));
  }
  if (select.value !== value) select.value = value;
}

/** @param {number} seconds */
export function secondsText(seconds) {
  return seconds < 10 ? `${seconds.toFixed(2)} s` : `${Math.round(seconds)} s`;
}

/** The phases to the first frame, with their times. */
export class PhaseRow {
  constructor() {
    this.element = h("ol", { class: "rtclab-phases", "aria-label": "Phases" });
    this.shown = "";
  }

  /** @param {import("./phases.js").PhaseClock} clock @param {number} now */
  update(clock, now) {
    this.element.hidden = clock.startedAt === null;
    const steps = clock.steps.map((step) => ({
      ...step,
      time: step.elapsed !== null ? secondsText(step.elapsed) : step.state === "skipped" ? "not reached" : step.state === "now" ? `${Math.floor(clock.elapsed(now))} s` : "",
    }));
    const shown = JSON.stringify(steps.map(({ name, state, time }) => [name, state, time]));
    if (shown === this.shown) return;
    this.shown = shown;
    this.element.replaceChildren(
      ...steps.map(({ name, state, time }) =>
        h(
          "li",
          { class: `rtclab-phase rtclab-phase-${state}`, "data-phase": name, "data-state": state, "aria-current": state === "now" ? "step" : null },
          h("span", { class: "rtclab-phase-name" }, name),
          time ? h("span", { class: "rtclab-phase-time" }, time) : null,
        ),
      ),
    );
  }
}

/** How long the kernel may take to answer a request, in seconds, before people are told what it waits for. */
const UNHEARD_AFTER_S = 2;

/** @typedef {{tone: "info" | "warn" | "error", title?: string, text?: string}} NoticeContent */

/** A sentence or two that a person should read; announced when it appears. */
export class Notice {
  constructor() {
    this.element = h("div", { class: "rtclab-notice", role: "status", "aria-live": "polite" });
    this.element.hidden = true;
  }

  /** @param {NoticeContent | null} content */
  show(content) {
    this.element.hidden = content === null;
    const key = JSON.stringify(content);
    if (content === null || this.element.dataset.shown === key) return;
    this.element.dataset.shown = key;
    this.element.dataset.tone = content.tone;
    this.element.replaceChildren(
      ...(content.title ? [h("strong", {}, content.title), " "] : []),
      ...(content.text ? [h("span", {}, content.text)] : []),
    );
  }
}

/** The dot and the word that say how things stand. */
export class StatusLine {
  /** @param {string} title */
  constructor(title) {
    this.word = h("span", { class: "rtclab-status-word" });
    this.detail = h("span", { class: "rtclab-status-detail" });
    this.element = h(
      "div",
      { class: "rtclab-status" },
      h("span", { class: "rtclab-title" }, title),
      this.detail,
      h("span", { class: "rtclab-status-state", role: "status" }, h("span", { class: "rtclab-dot" }), this.word),
    );
  }

  /** @param {"idle" | "busy" | "live" | "warn" | "error"} tone @param {string} word @param {string} detail */
  update(tone, word, detail) {
    this.element.dataset.tone = tone;
    setText(this.word, word);
    setText(this.detail, detail);
    this.detail.title = detail;
  }
}

/** Codes of what ends a visit and is no fault, in a word. @type {Record<string, string>} */
const ENDS = { room_closed: "Closed", share_ended: "Ended", share_expired: "Ended", share_revoked: "Ended" };

/**
 * How a client stands, in the words both widgets use.
 * @param {import("./client.js").RoomClient} client @param {number} now
 * @param {string} source @returns {{tone: "idle" | "busy" | "live" | "warn" | "error", word: string, notice: NoticeContent | null}}
 */
export function describe(client, now, source) {
  const { phases, home } = client;
  if (client.link === "gone") {
    const again = home === "kernel" ? "Run the cells that make the room and this widget again." : "Start it again and reload this page.";
    return {
      tone: "error",
      word: home === "kernel" ? "Kernel gone" : "Server gone",
      notice: { tone: "error", title: `The ${home} is gone or was restarted.`, text: `The connection has been closed. ${again}` },
    };
  }
  if (client.failure) {
    const ended = client.failure.code in ENDS;
    return { tone: ended ? "idle" : "error", word: ENDS[client.failure.code] ?? "Failed", notice: { tone: ended ? "info" : "error", text: client.failure.message } };
  }
  if (client.status === "idle") return { tone: "idle", word: "Off", notice: null };
  const stuck = phases.stuck(now);
  const waiting = phases.current !== null && phases.pausedAt === null;
  const unheard = client.carrier.kind === "comm" && client.requests.waited(now) > UNHEARD_AFTER_S;
  /** @type {NoticeContent | null} */
  let notice = null;
  const noWay = (phases.current === "ICE" ? client.peer?.gathering.problem : null) ?? client.mesh.problem(now);
  if (noWay) {
    notice = { tone: "warn", ...noWay };
  } else if (stuck || unheard) {
    const [title, text] = stuckAdvice(unheard ? "signaling" : stuck, client.role, source, home);
    notice = { tone: stuck ? "warn" : "info", title, text };
  } else if (client.link === "busy") {
    const whenFree = `when ${home === "kernel" ? "the running cell" : "it"} lets them through.`;
    notice = {
      tone: "info",
      title: `The ${home} is busy.`,
      text: client.tunnel ? `Media go by it, too, and go on ${whenFree}` : `Media go on; changes made here reach the room ${whenFree}`,
    };
  } else if (client.link === "reconnecting") {
    notice = { tone: "warn", title: "The connection was lost.", text: "Trying to find another way to the room …" };
  }
  if (client.link === "reconnecting") return { tone: "warn", word: "Reconnecting", notice };
  if (waiting) return { tone: stuck ? "warn" : "busy", word: phases.current === "permission" ? "Asking" : "Connecting", notice };
  if (phases.current === "first frame") return { tone: "idle", word: "Waiting", notice };
  return { tone: "live", word: "Live", notice };
}

/** @param {HTMLElement} list a <dl> @param {any} row @param {string} [layer] what to say of the layer */
export function fillFigures(list, row, layer = "") {
  const items = [...figures(row), ...(layer ? [{ label: "Layer", text: layer }] : [])];
  if (list.children.length !== items.length) {
    list.replaceChildren(
      ...items.map(({ label }) => h("div", { class: "rtclab-figure", title: label }, h("dt", {}, label), h("dd"))),
    );
  }
  items.forEach(({ text }, i) => setText(/** @type {Element} */ (list.children[i].lastElementChild), text));
}
