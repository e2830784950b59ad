// @ts-check
/** The publisher of the stand-alone page. In the address: `?name=alice&source=camera`, `screen` or `pattern`. */

import { clientOfServer } from "./page_client.js";
import { Publisher } from "./publisher.js";
import { renderPublisher } from "./publisher_view.js";
import { Notice } from "./ui.js";

const PLAIN = {
  tone: /** @type {"warn"} */ ("warn"),
  title: "This page may use no camera, microphone or screen.",
  text:
    "It came over plain http from another machine, and browsers capture only on secure pages: https, or localhost. " +
    "You can watch, and send the test pattern.",
};

const asked = new URLSearchParams(location.search);
const source = asked.get("source") ?? (isSecureContext ? "camera" : "pattern");
const publisher = new Publisher(clientOfServer("participant", asked.get("name")), {
  source: ["camera", "screen", "pattern"].includes(source) ? source : "camera",
  simulcast: true,
  name: asked.get("name") ?? "",
});
const nameField = /** @type {HTMLInputElement} */ (document.getElementById("name"));
nameField.value ||= publisher.client.name ?? ""; // somebody may have typed before this ran
const rename = () => {
  publisher.client.name = nameField.value.trim() || null;
};
rename();
nameField.addEventListener("input", rename);
publisher.client.observe(() => {
  nameField.disabled = publisher.running;
});
const card = /** @type {HTMLElement} */ (document.getElementById("publisher"));
const remark = new Notice();
remark.show(isSecureContext ? null : PLAIN);
remark.element.classList.add("rtclab-page-notice");
renderPublisher(publisher, card);
card.querySelector(".rtclab-status")?.after(remark.element);
