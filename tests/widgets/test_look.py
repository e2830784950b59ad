"""How the widgets look: nothing overflows from 320 to 1600 px, text has contrast, keys reach each control."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser_tools import LIVE
from rtclab.diagnosis.doctor import CHECKS

# the colours of JupyterLab's own themes
THEMES = {
    "light": {
        "layout-color1": "#fff",
        "layout-color2": "#eee",
        "border-color1": "#bdbdbd",
        "border-color2": "#e0e0e0",
        "ui-font-color1": "rgba(0,0,0,.87)",
        "ui-font-color2": "rgba(0,0,0,.54)",
        "ui-inverse-font-color0": "#fff",
        "brand-color1": "#1976d2",
        "error-color1": "#d32f2f",
        "warn-color1": "#f57c00",
        "success-color1": "#388e3c",
    },
    "dark": {
        "layout-color1": "#212121",
        "layout-color2": "#424242",
        "border-color1": "#616161",
        "border-color2": "#424242",
        "ui-font-color1": "rgba(255,255,255,.87)",
        "ui-font-color2": "rgba(255,255,255,.54)",
        "ui-inverse-font-color0": "rgba(0,0,0,1)",
        "brand-color1": "#2196f3",
        "error-color1": "#f44336",
        "warn-color1": "#ff9800",
        "success-color1": "#4caf50",
    },
    "none": {},
}

SHOW = """async (colours) => {
  for (const [name, value] of Object.entries(colours)) {
    document.documentElement.style.setProperty(`--jp-${name}`, value);
  }
  const dark = colours["layout-color1"] === "#212121";
  if (colours["layout-color1"]) document.body.setAttribute("data-jp-theme-light", String(!dark));
  document.body.style.margin = "0";
  const size = (rid, width, height) => ({ rid, width, height, bitrate_bps: null, active: true });
  room.layers = [size("q", 160, 90), size("h", 320, 180), size("f", 640, 360)];
  await display(Publisher, publisherModel({ name: "alice" }));
  await display(Viewer, viewerModel());
  room.add("bob", [picture(200)]);
  room.add("a person with a name that is far too long for any tile", [picture(300)]);
}"""

OVERFLOW = """() => [...document.querySelectorAll(".rtclab-root *")].filter((element) => {
  if (!element.offsetParent || element.closest("svg")) return false;
  const { left, right } = element.getBoundingClientRect();
  return left < -0.5 || right > innerWidth + 0.5;
}).map((element) => element.className)"""

# what stands in place of a picture, whether one is there by now or not
BLANK = """() => {
  for (const blank of document.querySelectorAll(".rtclab-blank")) blank.hidden = false;
}"""

# WCAG contrast of every text with what is behind it, as [ratio, text] of the worst
CONTRAST = """() => {
  const parse = (colour) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const luminance = (rgb) => {
    const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const skipped = !element.offsetParent || element.closest("style, option, :disabled");
    if (skipped || !walker.currentNode.data.trim()) continue;
    const back = behind(element);
    const front = over(parse(getComputedStyle(element).color), back);
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < worst[0]) worst = [ratio, walker.currentNode.data];
  }
  return worst;
}"""


@pytest.mark.parametrize("theme", THEMES)
def test_everything_fits_and_can_be_read(lab: Page, theme: str) -> None:
    lab.evaluate(SHOW, THEMES[theme])
    lab.get_by_role("button", name="Start").click()
    expect(lab.locator("[data-rtclab=publisher]")).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(lab.get_by_role("listitem", name="bob").locator(".rtclab-figures")).to_contain_text(
        "fps", timeout=LIVE
    )
    for width in (320, 480, 700, 1000, 1600):
        lab.set_viewport_size({"width": width, "height": 900})
        assert lab.evaluate(OVERFLOW) == [], width
    lab.evaluate(BLANK)
    ratio, text = lab.evaluate(CONTRAST)
    assert ratio >= 4.5, text


EXAMINED = """async ([checks, colours]) => {
  for (const [name, value] of Object.entries(colours)) {
    document.documentElement.style.setProperty(`--jp-${name}`, value);
  }
  const dark = colours["layout-color1"] === "#212121";
  if (colours["layout-color1"]) document.body.setAttribute("data-jp-theme-light", String(!dark));
  document.body.style.margin = "0";
  const { Examination } = await import("/js/doctor.js");
  const { renderDoctor } = await import("/js/doctor_view.js");
  const examination = new Examination(new FakeModel({ checks }, room));
  renderDoctor(examination, document.body);
  const states = ["running", "ok", "warn", "fail", "none", "waiting"];
  const address = "http://a-host-with-a-name-that-is-far-too-long.and-knows-no-end.example/user/x/";
  const detail = `${address} said so. `.repeat(3);
  const rows = checks.map(([check], i) => ({ check, state: states[i % states.length], detail }));
  examination.receive({ doctor: "", say: "rows", rows });
  examination.receive({ doctor: "", say: "verdict", tone: "error", sentence: detail });
}"""


@pytest.mark.parametrize("theme", THEMES)
def test_the_doctor_fits_and_can_be_read(lab: Page, theme: str) -> None:
    lab.evaluate(EXAMINED, [[[name, *rest] for name, rest in CHECKS.items()], THEMES[theme]])
    expect(lab.locator("[data-check=versions]")).to_have_attribute("data-state", "waiting")
    for width in (320, 480, 700, 1000, 1600):
        lab.set_viewport_size({"width": width, "height": 900})
        assert lab.evaluate(OVERFLOW) == [], width
    ratio, text = lab.evaluate(CONTRAST)
    assert ratio >= 4.5, text


def test_a_dark_system_gets_dark_colours_where_there_is_no_theme(lab: Page) -> None:
    lab.emulate_media(color_scheme="dark")
    lab.evaluate(SHOW, {})
    red = lab.locator(".rtclab-root").first.evaluate("(root) => getComputedStyle(root).backgroundColor")
    assert red == "rgb(22, 24, 27)"
    ratio, text = lab.evaluate(CONTRAST)
    assert ratio >= 4.5, text


def test_the_keyboard_reaches_every_control_in_order(lab: Page) -> None:
    lab.evaluate(SHOW, THEMES["light"])
    expect(lab.get_by_role("listitem", name="bob")).to_be_visible()
    reached = []
    for _ in range(7):
        lab.keyboard.press("Tab")
        reached.append(lab.evaluate("document.activeElement.ariaLabel ?? document.activeElement.innerText"))
        outline = lab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached[-1]
    assert reached[:4] == ["Start", "Picture", "Sound", "Layer"]
    assert set(reached[4:]) <= {"Picture in picture", "Full screen", "Layer"}


def test_nothing_moves_for_those_who_asked_for_that(lab: Page) -> None:
    lab.emulate_media(reduced_motion="reduce")
    lab.evaluate("room.silent.add('join')")
    lab.evaluate(SHOW, THEMES["light"])
    expect(lab.locator("[data-rtclab=viewer]")).to_have_attribute("data-status", "connecting")
    moving = lab.evaluate("document.getAnimations().length")
    assert moving == 0


def test_controls_are_large_enough_and_named(lab: Page) -> None:
    lab.evaluate(SHOW, THEMES["light"])
    expect(lab.get_by_role("listitem", name="bob")).to_be_visible()
    for control in lab.locator(".rtclab-root button:visible, .rtclab-root select:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["width"] >= 28
        assert box["height"] >= 28
        name = control.evaluate("(c) => c.ariaLabel ?? c.innerText")
        assert name.strip()
