// @ts-check
/** The publisher as an anywidget module. The model's `key` ties its views to it: anywidget gives each a model object of its own. */

import { clientOn, ViewCount } from "./comm.js";
import { Publisher } from "./publisher.js";
import { renderPublisher } from "./publisher_view.js";

/** @type {Map<string, {publisher: Publisher, views: ViewCount}>} */
const publishers = new Map();

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    const { client, close } = clientOn(model, "participant");
    const options = { source: model.get("source"), simulcast: model.get("simulcast"), name: model.get("name") };
    const publisher = new Publisher(client, options);
    publishers.set(model.get("key"), { publisher, views: new ViewCount(() => publisher.stop()) });
    return () => {
      publishers.delete(model.get("key"));
      publisher.close();
      close();
    };
  },

  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    const { publisher, views } = publishers.get(model.get("key")) ?? {};
    if (!publisher || !views) return undefined;
    const release = views.add();
    const cleanup = renderPublisher(publisher, el);
    return () => {
      cleanup();
      release();
    };
  },
};
