// @ts-check
/** The head of the stand-alone page: what its address allows, and the publisher where one may publish. */

import { linkOf, untilText } from "./link.js";

const { role, until } = linkOf(location.hash);
const about = /** @type {HTMLElement} */ (document.getElementById("about"));
const what = role === "viewer" ? "You can watch" : "You can watch and publish";
about.textContent = until ? `${what} until ${untilText(until, new Date())}.` : "";
document.body.dataset.role = role;
if (role === "participant") import("./publisher.js");
// another link that is opened in this very tab changes nothing but what follows the #
addEventListener("hashchange", () => location.reload());
