// @ts-check
/** The viewer of the stand-alone page. In the address: `?of=alice` shows only that participant. */

import { clientOfServer } from "./page_client.js";
import { Viewer } from "./viewer.js";
import { renderViewer } from "./viewer_view.js";

const viewer = new Viewer(clientOfServer("viewer", null), new URLSearchParams(location.search).get("of"));
renderViewer(viewer, /** @type {HTMLElement} */ (document.getElementById("viewer")));
const about = /** @type {HTMLElement} */ (document.getElementById("about"));
viewer.client.observe(() => {
  about.hidden = viewer.client.status === "closed"; // it says until when one can watch
});
viewer.start();
