// @ts-check
/** A share link as an anywidget module. The page knows by which address people reach this Jupyter server; the kernel does not. */

/** Where the Jupyter server of this page is; a page that shows notebooks of another host's has that one's address. @returns {string | null} */
function serverOrigin() {
  try {
    const { baseUrl } = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
    return baseUrl ? new URL(baseUrl, location.href).origin : null;
  } catch {
    return null;
  }
}

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    const origin = serverOrigin();
    if (origin) model.send({ origin });
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
