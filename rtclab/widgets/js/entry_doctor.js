// @ts-check
/** The doctor as an anywidget module. The model's `key` ties its views to it: anywidget gives each a model object of its own. */

import { Examination } from "./doctor.js";
import { renderDoctor } from "./doctor_view.js";

/** @type {Map<string, Examination>} */
const examinations = new Map();

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    const key = model.get("key");
    const examination = new Examination(model);
    examinations.set(key, examination);
    return () => {
      examinations.delete(key);
      examination.close();
    };
  },

  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    const examination = examinations.get(model.get("key"));
    if (!examination) return undefined;
    const cleanup = renderDoctor(examination, el);
    examination.start();
    return cleanup;
  },
};
