// @ts-check
/** A share link as an anywidget module. The page knows by which address people reach this Jupyter server; the kernel does not. */

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    if (document.getElementById("jupyter-config-data")) model.send({ origin: location.origin });
  },

  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    const card = document.createElement("div");
    const draw = () => {
      card.innerHTML = model.get("html");
    };
    model.on("change:html", draw);
    draw();
    el.append(card);
    return () => {
      model.off("change:html", draw);
      card.remove();
    };
  },
};
