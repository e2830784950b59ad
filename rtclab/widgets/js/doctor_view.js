// @ts-check
/** What a person sees of the doctor: a row for each check, and the sentence. */

import { button, h, Notice, setText, StatusLine } from "./ui.js";

const WORDS = { waiting: "waits", running: "checking", ok: "ok", warn: "limited", fail: "fails", none: "not tried" };
const SLOW_MS = 6000;

/** @param {import("./doctor.js").Row[]} rows @returns {string} */
function summary(rows) {
  const count = (/** @type {string} */ state) => rows.filter((row) => row.state === state).length;
  const parts = [[count("fail"), "fail"], [count("warn"), "limited"], [count("ok"), "ok"]];
  return parts.flatMap(([number, word]) => (number ? [`${number} ${word}`] : [])).join(", ");
}

/** @param {import("./doctor.js").Examination} examination @param {HTMLElement} el @returns {() => void} cleanup */
export function renderDoctor(examination, el) {
  const status = new StatusLine("Doctor");
  const verdict = new Notice();
  const again = button("Examine again", () => examination.again(), { text: true });
  const camera = button("Try the camera", () => examination.tryCamera(), { text: true });
  const lines = new Map(
    examination.rows.map(({ check, title }) => {
      const word = h("span", { class: "rtclab-check-state" });
      const detail = h("span", { class: "rtclab-check-detail" });
      const item = h("li", { class: "rtclab-check", "data-check": check }, h("span", { class: "rtclab-check-title" }, title), word, detail);
      return [check, { item, word, detail }];
    }),
  );
  const root = h(
    "section",
    { class: "rtclab-root rtclab-doctor", "aria-label": "Doctor", "data-rtclab": "doctor" },
    status.element,
    verdict.element,
    h("ul", { class: "rtclab-checks", "aria-label": "Checks" }, ...[...lines.values()].map(({ item }) => item)),
    h("div", { class: "rtclab-row", role: "group", "aria-label": "Controls" }, again, camera),
  );

  /** @type {any} */
  let slow = 0;
  const update = () => {
    const { rows, running, done } = examination;
    for (const { check, state, detail } of rows) {
      const line = lines.get(check);
      if (!line) continue;
      line.item.dataset.state = state;
      setText(line.word, WORDS[state] ?? state);
      setText(line.detail, detail);
    }
    clearTimeout(slow);
    const { tone, sentence } = examination.verdict ?? {};
    const asking = running || !examination.verdict;
    status.update(
      running ? "busy" : tone === "info" ? "live" : tone ?? "idle",
      running ? "Examining" : tone ? "Done" : "Waiting",
      running ? `${done} of ${rows.length}` : tone ? summary(rows) : "",
    );
    root.dataset.status = asking ? "examining" : "done";
    if (sentence) verdict.show({ tone: /** @type {any} */ (tone), text: sentence });
    else if (running) verdict.show(null);
    else slow = setTimeout(() => verdict.show({ tone: "warn", text: "The kernel has not summed up yet: a cell is running, or the kernel is gone." }), SLOW_MS);
    again.disabled = running;
    camera.hidden = !rows.some(({ check, state }) => check === "camera" && state !== "ok");
    camera.disabled = running;
  };

  const unobserve = examination.observe(update);
  el.append(root);
  update();
  return () => {
    clearTimeout(slow);
    unobserve();
    root.remove();
  };
}
