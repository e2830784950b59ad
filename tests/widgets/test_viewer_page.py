"""What a person sees in the viewer: tiles that come and go, their controls, why there is nothing to see."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from browser_tools import LIVE

SHOW = """async ([traits, count]) => {
  window.view = viewerModel(traits);
  window.views = await display(Viewer, view, count);
  window.sent = (type) => view.sent.filter((message) => message.type === type);
  window.seat = () => room.clients.values().next().value;
  const size = (rid, width, height) => ({ rid, width, height, bitrate_bps: null, active: true });
  window.simulcast = [size("q", 160, 90), size("h", 320, 180), size("f", 640, 360)];
  window.tone = () => {
    const audio = new AudioContext();
    const out = audio.createMediaStreamDestination();
    const sound = audio.createOscillator();
    sound.connect(out);
    sound.start();
    return out.stream.getAudioTracks()[0];
  };
}"""


def show(page: Page, count: int = 1, **traits: object) -> Locator:
    page.evaluate(SHOW, [traits, count])
    return page.locator("[data-rtclab=viewer]").first


def tile(widget: Locator, name: str) -> Locator:
    return widget.get_by_role("listitem", name=name, exact=True)


def test_an_empty_room_is_connected_and_says_what_it_waits_for(lab: Page) -> None:
    widget = show(lab)
    expect(widget).to_contain_text("Waiting for someone to publish")
    expect(widget).to_have_attribute("data-status", "waiting", timeout=LIVE)
    expect(widget.locator("[data-phase=DTLS]")).to_have_attribute("data-state", "done", timeout=LIVE)
    assert lab.evaluate("sent('offer').length") == 1


def test_tiles_come_and_go_with_moving_pictures(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)
    video = tile(widget, "bob").locator("video")
    expect(video).to_be_visible()
    lab.wait_for_function("document.querySelector('article video').videoWidth > 0")
    before = video.evaluate("(video) => video.getVideoPlaybackQuality().totalVideoFrames")
    lab.wait_for_function(
        "(n) => document.querySelector('article video').getVideoPlaybackQuality().totalVideoFrames > n",
        arg=before,
    )
    expect(tile(widget, "bob").locator(".rtclab-figures")).to_contain_text("fps", timeout=LIVE)
    for label in ("kbit/s", "loss", "RTT", "jitter"):
        expect(tile(widget, "bob").locator(".rtclab-figures")).to_contain_text(label)
    lab.evaluate("room.add('carol', [picture(300)], { source: 'screen' })")
    expect(widget.get_by_role("listitem", name="carol, screen")).to_be_visible()
    lab.evaluate("room.remove('bob')")
    expect(tile(widget, "bob")).to_have_count(0)
    lab.evaluate("room.remove('carol')")
    expect(widget).to_contain_text("Waiting for someone to publish")
    expect(widget).to_have_attribute("data-status", "waiting")


def test_one_participant_may_be_chosen(lab: Page) -> None:
    widget = show(lab, of="bob")
    expect(widget).to_contain_text("Waiting for bob to publish")
    lab.evaluate("room.add('carol', [picture(300)]); room.add('bob', [picture(200)])")
    expect(tile(widget, "bob")).to_be_visible()
    expect(tile(widget, "carol")).to_have_count(0)
    lab.wait_for_function("sent('offer').length === 2")
    assert lab.evaluate("sent('offer')[1].tracks.map(({ track }) => track)") == ["t2", None]


def test_a_layer_is_picked_by_name_and_size(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.layers = simulcast; room.add('bob', [picture(200)])")
    layer = tile(widget, "bob").get_by_role("combobox", name="Layer")
    expect(layer.get_by_role("option")).to_have_text(
        ["Auto", "f 640\u00d7360", "h 320\u00d7180", "q 160\u00d790"]
    )
    layer.select_option("h")
    lab.wait_for_function("sent('layer').length === 1")
    assert lab.evaluate("sent('layer').map(({ track, rid }) => [track, rid])") == [["t1", "h"]]
    layer.select_option("auto")
    expect(layer.get_by_role("option").first).to_have_text("Auto (f)")
    lab.evaluate("room.refuse.set('layer', 'unknown_layer')")
    layer.select_option("q")
    expect(tile(widget, "bob")).to_contain_text("refused: unknown_layer")
    expect(layer).to_have_value("auto")


def test_a_single_layer_offers_no_choice(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(tile(widget, "bob")).to_be_visible()
    expect(tile(widget, "bob").get_by_role("combobox")).to_be_hidden()


def test_the_room_hears_how_large_each_view_is(lab: Page) -> None:
    show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    lab.wait_for_function("sent('view').some(({ visible, width }) => visible && width > 300)")
    view = lab.evaluate("sent('view').at(-1)")
    assert 1.7 < view["width"] / view["height"] < 1.8
    lab.set_viewport_size({"width": 340, "height": 700})
    lab.wait_for_function("sent('view').at(-1).width < 340")
    lab.evaluate("document.body.style.paddingTop = '3000px'")
    lab.wait_for_function("sent('view').at(-1).visible === false")


def test_why_nothing_comes_is_said_on_the_tile(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)
    say = """(fields) => {
      const nothing = { rid: null, target: null, temporal: null };
      room.say(seat(), { type: "consumer", track: "t1", ...nothing, ...fields });
    }"""
    lab.evaluate(say, {"reason": "publisher_sends_nothing"})
    expect(tile(widget, "bob")).to_contain_text("Paused: nothing is being sent")
    lab.evaluate(say, {"reason": "a_new_reason"})
    expect(tile(widget, "bob")).to_contain_text("Paused: a new reason")
    lab.evaluate(say, {"reason": "view_size", "rid": "h", "target": "f"})
    expect(tile(widget, "bob").get_by_text("Paused")).to_be_hidden()
    expect(tile(widget, "bob").locator(".rtclab-figures")).to_contain_text("layer h to f: fits this view")
    lab.evaluate("room.tracks.get('t1').info.muted = true; room.tellTracks()")
    expect(tile(widget, "bob")).to_contain_text("The picture is off.")


def test_a_gap_after_a_switch_is_explained_until_the_next_frame(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)
    video, reason = (tile(widget, "bob").locator(which) for which in ("video", ".rtclab-reason"))
    expect(reason).to_be_hidden()
    hold = "(media) => Promise.all(seat().pc.getSenders().map((sender) => sender.replaceTrack(media)))"
    take_up = """(name) => room.say(
      seat(), { type: "architecture", name, direct: name === "mesh", mixed: false, peers: [] }
    )"""
    # asked for after the tile has asked, so called after the tile has seen the frame
    explained_after_next_frame = f"""(video) => new Promise((done) => {{
      const reason = video.parentElement.querySelector(".rtclab-reason");
      video.requestVideoFrameCallback(() => done(!reason.hidden));
      ({hold})(room.tracks.get("t1").media);
    }})"""
    lab.evaluate(hold)
    lab.evaluate(take_up, "relay")
    expect(reason).to_have_text("Switching to relay \u2026", timeout=LIVE)
    assert not video.evaluate(explained_after_next_frame)
    lab.evaluate(take_up, "mesh")
    # what is shown so long after a switch came by the new way
    video.evaluate("""(video) => new Promise((done) => {
      const begin = performance.now();
      const next = () => performance.now() > begin + 1500 ? done() : video.requestVideoFrameCallback(next);
      next();
    })""")
    expect(reason).to_be_hidden(timeout=LIVE)
    lab.evaluate(hold)
    expect(reason).to_have_text("No direct connection to bob yet: trying \u2026", timeout=LIVE)
    assert not video.evaluate(explained_after_next_frame)


def test_sound_is_played_once_for_all_views_and_muted_by_person(lab: Page) -> None:
    widget = show(lab, count=2)
    lab.evaluate("room.add('bob', [picture(200), tone()])")
    mute = tile(widget, "bob").get_by_role("button", name="Mute")
    expect(mute).to_be_enabled()
    expect(mute).to_have_attribute("aria-pressed", "false")
    mute.click()
    for button in lab.get_by_role("button", name="Mute").all():
        expect(button).to_have_attribute("aria-pressed", "true")
    assert lab.evaluate("[...document.querySelectorAll('video')].every(({ muted }) => muted)")
    assert lab.evaluate("[sent('join').length, room.clients.size]") == [1, 1]


def test_a_person_speaking_is_outlined(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200), tone()])")
    expect(tile(widget, "bob")).to_be_visible()
    outlined = tile(widget, "bob").and_(lab.locator(".rtclab-speaking.rtclab-active"))
    lab.evaluate("room.say(seat(), { type: 'levels', levels: { 'p-bob': -22 }, active: 'p-bob' })")
    expect(outlined).to_be_visible()
    lab.evaluate("room.say(seat(), { type: 'levels', levels: { 'p-bob': -90 }, active: null })")
    expect(outlined).to_have_count(0)


def test_what_this_page_publishes_is_marked_and_starts_muted(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("async () => { await display(Publisher, publisherModel({ name: 'alice' })); }")
    lab.get_by_role("button", name="Start").click()
    expect(tile(widget, "alice")).to_contain_text("this page", timeout=LIVE)
    expect(tile(widget, "alice").get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")


def test_sound_that_the_browser_blocks_takes_a_click(lab: Page) -> None:
    lab.evaluate("""() => {
      const original = HTMLAudioElement.prototype.play;
      HTMLAudioElement.prototype.play = function () {
        return window.clicked ? original.call(this) : Promise.reject(new DOMException("", "NotAllowedError"));
      };
      addEventListener("click", () => { window.clicked = true; }, true);
    }""")
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200), tone()])")
    hear = widget.get_by_role("button", name="Turn the sound on")
    hear.click()
    expect(hear).to_be_hidden()


def test_full_screen_is_a_toggle(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    full = tile(widget, "bob").get_by_role("button", name="Full screen")
    full.click()
    expect(full).to_have_attribute("aria-pressed", "true")
    assert lab.evaluate("document.fullscreenElement.dataset.participant") == "bob"
    full.click()
    expect(full).to_have_attribute("aria-pressed", "false")


def test_a_kernel_that_does_not_answer_is_named_soon(lab: Page) -> None:
    lab.clock.install()
    lab.evaluate("room.silent.add('join')")
    widget = show(lab)
    notice = widget.locator(".rtclab-notice:visible")
    expect(widget).to_contain_text("Connecting to the room")
    expect(notice).to_have_count(0)
    lab.clock.run_for(3500)
    expect(notice).to_contain_text(
        "The kernel has not answered. By comm it hears of this page only between cells"
    )
    expect(notice).to_have_attribute("data-tone", "info")
    lab.clock.run_for(8000)
    expect(notice).to_have_attribute("data-tone", "warn")
    assert widget.locator("[data-phase=signaling]").get_attribute("data-state") == "now"


def test_a_room_without_a_path_is_named_after_ten_seconds(lab: Page) -> None:
    lab.clock.install()
    lab.evaluate("room.blackhole = true")
    widget = show(lab)
    lab.wait_for_function("sent('phase').some(({ phase }) => phase === 'signaling')")
    lab.clock.run_for(11_000)
    expect(widget.locator(".rtclab-notice:visible")).to_contain_text(
        "No UDP path between this browser and the room."
    )


def test_a_busy_kernel_is_said_as_such(lab: Page) -> None:
    lab.clock.install()
    widget = show(lab)
    expect(widget).to_contain_text("Waiting for someone")
    lab.evaluate("room.silent.add('ping')")
    lab.clock.run_for(13_000)
    expect(widget).to_contain_text("The kernel is busy.")
    lab.evaluate("room.silent.delete('ping')")
    lab.clock.run_for(4000)
    expect(widget.get_by_text("The kernel is busy.")).to_be_hidden()


def test_a_dead_kernel_ends_with_a_sentence(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(tile(widget, "bob")).to_be_visible()
    lab.evaluate("view.dead = true; view.emit('comm_live_update')")
    expect(widget).to_contain_text("The kernel is gone or was restarted.")
    expect(widget).to_have_attribute("data-status", "kernel gone")
    expect(tile(widget, "bob")).to_have_count(0)


def test_a_closed_room_is_no_error(lab: Page) -> None:
    widget = show(lab)
    expect(widget).to_contain_text("Waiting for someone")
    lab.evaluate("room.say(seat(), { type: 'bye', code: 'room_closed', message: 'The room was closed.' })")
    expect(widget).to_contain_text("The room was closed.")
    expect(widget).to_have_attribute("data-status", "closed")
    expect(widget.get_by_role("button", name="Connect again")).to_be_hidden()


def test_a_viewer_that_was_turned_away_can_connect_again(lab: Page) -> None:
    lab.evaluate("room.refuse.set('offer', 'not_allowed')")
    widget = show(lab)
    expect(widget).to_contain_text("refused: not_allowed")
    lab.evaluate("room.refuse.clear()")
    widget.get_by_role("button", name="Connect again").click()
    expect(widget).to_have_attribute("data-status", "waiting", timeout=LIVE)


def test_a_broken_network_is_healed_by_an_ice_restart(lab: Page) -> None:
    widget = show(lab)
    lab.evaluate("room.add('bob', [picture(200)])")
    expect(widget).to_have_attribute("data-status", "live", timeout=LIVE)
    ufrag = lab.evaluate("sent('offer').at(-1).sdp.match(/ice-ufrag:(.*)/)[1]")
    lab.evaluate("seat().pc.close(); seat().pc = null")
    expect(widget).to_have_attribute("data-status", "reconnecting", timeout=LIVE)
    lab.wait_for_function(
        "(old) => sent('offer').at(-1).sdp.match(/ice-ufrag:(.*)/)[1] !== old", arg=ufrag, timeout=LIVE
    )
