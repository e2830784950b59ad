"""What a person does with the publisher: nothing is captured before Start, every state says what it is."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browser_tools import LIVE

SHOW = """async ([traits, count]) => {
  window.asked = [];
  window.opened = [];
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    asked.push(constraints);
    if (window.refusal) throw new DOMException("", window.refusal);
    if (window.noMicrophone && constraints.audio) throw new DOMException("", "NotFoundError");
    const stream = await original(constraints);
    opened.push(...stream.getTracks());
    return stream;
  };
  window.pub = publisherModel(traits);
  window.views = await display(Publisher, pub, count);
  window.sent = (type) => pub.sent.filter((message) => message.type === type);
}"""


def show(page: Page, count: int = 1, **traits: object) -> Locator:
    page.evaluate(SHOW, [traits, count])
    return page.locator("[data-rtclab=publisher]").first


def press(widget: Locator, name: str) -> None:
    widget.get_by_role("button", name=name, exact=True).click()


def start(widget: Locator) -> None:
    press(widget, "Start")
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)


def test_nothing_is_captured_or_sent_before_start(lab: Page) -> None:
    widget = show(lab, source="camera")
    expect(widget.get_by_role("button", name="Start")).to_be_enabled()
    expect(widget).to_contain_text("Nothing is captured before")
    for name in ("Stop", "Mute", "Camera off"):
        expect(widget.get_by_role("button", name=name)).to_be_hidden()
    assert lab.evaluate("[asked.length, pub.sent.length]") == [0, 0]


def test_a_camera_goes_live_with_its_phases_and_stops(lab: Page) -> None:
    widget = show(lab, source="camera", name="alice")
    start(widget)
    steps = widget.get_by_role("list", name="Phases").get_by_role("listitem")
    expect(steps).to_have_text(
        [re.compile(rf"^{name}\d") for name in ("permission", "signaling", "ICE", "DTLS", "first frame")]
    )
    phases = lab.evaluate("sent('phase').map(({ phase, elapsed_s }) => [phase, elapsed_s])")
    assert [phase for phase, _ in phases] == ["permission", "signaling", "ICE", "DTLS", "first frame"]
    assert [time for _, time in phases] == sorted(time for _, time in phases)
    expect(widget).to_contain_text("alice in room")
    expect(widget.locator(".rtclab-figures")).to_contain_text("fps", timeout=LIVE)
    assert lab.evaluate("opened.map(({ kind, readyState }) => `${kind} ${readyState}`).sort()") == [
        "audio live",
        "video live",
    ]
    mirrored = widget.locator("video").evaluate("(video) => getComputedStyle(video).transform")
    assert mirrored == "matrix(-1, 0, 0, 1, 0, 0)"
    press(widget, "Stop")
    expect(widget.get_by_role("button", name="Start")).to_be_focused()
    assert lab.evaluate("opened.every(({ readyState }) => readyState === 'ended')")
    assert lab.evaluate("pub.sent.slice(-2).map(({ type, phase }) => phase ?? type)") == ["stopped", "leave"]
    expect(widget).to_have_attribute("data-status", "off")
    start(widget)


def test_mute_and_picture_off_are_toggles_that_the_room_hears_of(lab: Page) -> None:
    widget = show(lab, source="pattern")
    start(widget)
    mute, off = (widget.get_by_role("button", name=name) for name in ("Mute", "Picture off"))
    for toggle in (mute, off):
        expect(toggle).to_have_attribute("aria-pressed", "false")
        toggle.click()
        expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(widget).to_contain_text("The picture is off.")
    assert sorted(lab.evaluate("sent('mute').map(({ muted, track }) => `${track} ${muted}`)")) == [
        "t1 true",
        "t2 true",
    ]
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "false")
    lab.wait_for_function("[...room.tracks.values()].map(({ info }) => info.muted).join() === 'true,false'")


def test_camera_off_lets_the_camera_go_and_on_opens_it_again(lab: Page) -> None:
    widget = show(lab, source="camera")
    start(widget)
    off = widget.get_by_role("button", name="Camera off")
    off.click()
    lab.wait_for_function("opened.find(({ kind }) => kind === 'video').readyState === 'ended'")
    expect(widget).to_have_attribute("data-status", "live")
    off.click()
    expect(widget.locator("video")).to_be_visible()
    expect(off).to_have_attribute("aria-pressed", "false")
    assert lab.evaluate("opened.filter(({ readyState }) => readyState === 'live').length") == 2
    assert lab.evaluate("sent('offer').at(-1).tracks.map(({ mid }) => mid)") == ["0", "1"]


def test_the_source_changes_while_it_is_live(lab: Page) -> None:
    widget = show(lab, source="camera")
    start(widget)
    widget.get_by_label("Picture", exact=True).select_option(label="Test pattern")
    lab.wait_for_function("sent('offer').length === 2")
    entries = lab.evaluate("sent('offer')[1].tracks.map(({ mid, source }) => `${mid} ${source}`)")
    assert entries[0] == "0 pattern", "simulcast like the camera: the m-line is kept"
    lab.wait_for_function("opened.find(({ kind }) => kind === 'video').readyState === 'ended'")
    expect(widget).to_have_attribute("data-status", "live")


def test_a_source_that_fails_leaves_the_old_one_on(lab: Page) -> None:
    widget = show(lab, source="pattern")
    start(widget)
    lab.evaluate("window.refusal = 'NotReadableError'")
    widget.get_by_label("Picture", exact=True).select_option("camera")
    expect(widget).to_contain_text("another program may hold it")
    expect(widget.get_by_label("Picture", exact=True)).to_have_value("pattern")
    expect(widget).to_have_attribute("data-status", "live")


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        ("NotAllowedError", "was refused"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "another program may hold it"),
    ],
)
def test_a_refused_camera_says_why_and_start_works_again(lab: Page, refusal: str, says: str) -> None:
    widget = show(lab, source="camera")
    lab.evaluate("(name) => { window.refusal = name; }", refusal)
    press(widget, "Start")
    expect(widget.get_by_role("status").filter(has_text=says)).to_be_visible()
    expect(widget).to_have_attribute("data-status", "failed")
    lab.wait_for_function("sent('phase').at(-1)?.phase === 'failed'")
    assert says in lab.evaluate("sent('phase').at(-1).detail")
    lab.evaluate("delete window.refusal")
    start(widget)
    expect(widget.get_by_text(says)).to_be_hidden()


def test_a_missing_microphone_does_not_keep_the_camera_from_working(lab: Page) -> None:
    widget = show(lab, source="camera")
    lab.evaluate("window.noMicrophone = true")
    start(widget)
    expect(widget).to_contain_text("No microphone can be used")
    expect(widget.get_by_role("button", name="Mute")).to_be_disabled()


def test_an_insecure_page_is_named_as_the_reason(lab: Page) -> None:
    widget = show(lab, source="camera")
    lab.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    press(widget, "Start")
    expect(widget).to_contain_text("secure pages")
    widget.get_by_label("Picture", exact=True).select_option("pattern")
    start(widget)


def test_a_question_that_nobody_answers_is_named_after_ten_seconds(lab: Page) -> None:
    lab.clock.install()
    widget = show(lab, source="camera")
    lab.evaluate("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    press(widget, "Start")
    expect(widget).to_contain_text("Waiting for your permission")
    lab.clock.run_for(9000)
    expect(widget.locator(".rtclab-notice:visible")).to_have_count(0)
    lab.clock.run_for(2000)
    expect(widget.locator(".rtclab-notice:visible")).to_contain_text("Waiting for permission to capture.")
    press(widget, "Stop")
    expect(widget.get_by_role("button", name="Start")).to_be_enabled()


def test_a_name_that_is_taken_is_said_and_the_camera_let_go(lab: Page) -> None:
    widget = show(lab, source="camera", name="alice")
    lab.evaluate("room.refuse.set('join', 'name_taken')")
    press(widget, "Start")
    expect(widget).to_contain_text("refused: name_taken")
    lab.wait_for_function("opened.every(({ readyState }) => readyState === 'ended')")


def test_a_dead_kernel_is_said_and_the_camera_let_go(lab: Page) -> None:
    widget = show(lab, source="camera")
    start(widget)
    lab.evaluate("pub.dead = true; pub.emit('comm_live_update')")
    expect(widget).to_contain_text("The kernel is gone or was restarted.")
    expect(widget.get_by_role("button", name="Start")).to_be_disabled()
    assert lab.evaluate("opened.every(({ readyState }) => readyState === 'ended')")


def test_two_views_are_one_connection(lab: Page) -> None:
    first = show(lab, count=2)
    second = lab.locator("[data-rtclab=publisher]").nth(1)
    start(first)
    expect(second).to_have_attribute("data-status", "live")
    expect(second.locator("video")).to_be_visible()
    assert lab.evaluate("[sent('join').length, sent('offer').length, room.clients.size]") == [1, 1, 1]
    lab.evaluate("views[0].close()")
    press(first, "Mute")  # the one that is left
    lab.wait_for_function("sent('mute').length === 1")


def test_the_camera_stops_some_time_after_the_last_view_is_gone(lab: Page) -> None:
    lab.clock.install()
    widget = show(lab, source="camera")
    press(widget, "Start")
    lab.wait_for_function("opened.length === 2")
    lab.evaluate("async () => { views[0].close(); views = await display(Publisher, pub); }")
    lab.clock.run_for(8000)
    assert lab.evaluate("opened.every(({ readyState }) => readyState === 'live')"), "a cell that is run again"
    lab.evaluate("views[0].close()")
    lab.clock.run_for(8000)
    assert lab.evaluate("opened.every(({ readyState }) => readyState === 'ended')")


def test_a_shared_screen_that_the_browser_stops_ends_the_session(lab: Page) -> None:
    widget = show(lab, source="screen")
    lab.evaluate("""() => {
      window.shared = new MediaStream([picture(200, 1280, 720)]);
      navigator.mediaDevices.getDisplayMedia = async () => shared;
    }""")
    start(widget)
    expect(widget).to_contain_text("has no sound")
    assert lab.evaluate("sent('offer')[0].tracks[0].source") == "screen"
    assert "simulcast" not in lab.evaluate("sent('offer')[0].sdp")
    lab.evaluate("shared.getVideoTracks()[0].onended()")
    expect(widget).to_contain_text("Sharing was stopped in the browser.")
    expect(widget).to_have_attribute("data-status", "off")
