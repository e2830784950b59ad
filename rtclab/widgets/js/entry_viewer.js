// @ts-check
/** The viewer as an anywidget module. The model's `key` ties its views to it: anywidget gives each a model object of its own. */

import { clientOn, ViewCount } from "./comm.js";
import { Viewer } from "./viewer.js";
import { renderViewer } from "./viewer_view.js";

/** @type {Map<string, {viewer: Viewer, views: ViewCount}>} */
const viewers = new Map();

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    const { client, close } = clientOn(model, "viewer");
    const viewer = new Viewer(client, model.get("of") || null);
    viewers.set(model.get("key"), { viewer, views: new ViewCount(() => viewer.stop()) });
    return () => {
      viewers.delete(model.get("key"));
      close();
    };
  },

  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    const { viewer, views } = viewers.get(model.get("key")) ?? {};
    if (!viewer || !views) return undefined;
    const release = views.add();
    const cleanup = renderViewer(viewer, el);
    viewer.start();
    return () => {
      cleanup();
      release();
    };
  },
};
