// @ts-check
/** The publisher of the stand-alone page. In the address: `?name=alice&source=camera`, `screen` or `pattern`. */

import { Publisher } from "./publisher.js";
import { renderPublisher } from "./publisher_view.js";
import { clientOfServer } from "./socket.js";

const asked = new URLSearchParams(location.search);
const source = asked.get("source") ?? "";
const publisher = new Publisher(clientOfServer("participant", asked.get("name")), {
  source: ["camera", "screen", "pattern"].includes(source) ? source : "camera",
  simulcast: true,
  name: asked.get("name") ?? "",
});
const nameField = /** @type {HTMLInputElement} */ (document.getElementById("name"));
nameField.value = publisher.client.name ?? "";
nameField.addEventListener("input", () => {
  publisher.client.name = nameField.value.trim() || null;
});
publisher.client.observe(() => {
  nameField.disabled = publisher.running;
});
renderPublisher(publisher, /** @type {HTMLElement} */ (document.getElementById("publisher")));
