"""The page of ``rtclab serve``, and WHIP and WHEP from a page of somebody else's, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Page, Route, expect

import rtclab
from browser_tools import LIVE, OVERFLOW, grab
from http_tools import serving
from room_tools import frame_numbers
from rtclab.serve import RoomServer

TOKEN = "only-for-tests"


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room("studio") as room:
        yield room


@pytest.fixture
def server(room: rtclab.Room) -> Iterator[RoomServer]:
    with serving(room, token=TOKEN) as server:
        yield server


@pytest.fixture
def complaints(empty_page: Page) -> list[str]:
    """What the page writes to its console, for instance when its content policy is broken."""
    written: list[str] = []

    def write(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            written.append(message.text)

    empty_page.on("console", write)
    empty_page.on("pageerror", lambda error: written.append(error.message))
    return written


def publish(page: Page, source: str = "pattern") -> None:
    page.get_by_label("Picture", exact=True).select_option(source)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("[data-rtclab=publisher]")).to_have_attribute("data-status", "live", timeout=LIVE)


def test_a_person_publishes_and_sees_everybody(
    empty_page: Page, server: RoomServer, room: rtclab.Room, complaints: list[str]
) -> None:
    page = empty_page
    page.goto(server.description["url"])
    viewer = page.locator("[data-rtclab=viewer]")
    expect(viewer).to_have_attribute("data-status", "waiting", timeout=LIVE)
    expect(viewer).not_to_contain_text("room.publisher")
    page.get_by_label("Your name").fill("alice")
    publish(page)
    expect(page.get_by_label("Your name")).to_be_disabled()
    tile = viewer.get_by_role("listitem", name="alice")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(tile).to_contain_text("this page")
    assert grab(tile.locator("video"), 1)[0].std() > 10

    bob = room.join("bob")
    numbers = frame_numbers(bob.watch("alice", timeout=20), 5)
    assert numbers == sorted(set(numbers))
    bob.publish(rtclab.TestPattern(320, 180, fps=15))
    expect(viewer.get_by_role("listitem", name="bob")).to_be_visible(timeout=LIVE)
    assert {one.carrier for one in room.participants} == {"websocket", "in-process"}

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(viewer.get_by_role("listitem", name="alice")).to_have_count(0, timeout=LIVE)
    publish(page)
    expect(viewer.get_by_role("listitem", name="alice")).to_be_visible(timeout=LIVE)
    assert complaints == []


def test_a_name_typed_while_the_page_loads_is_kept(
    empty_page: Page, server: RoomServer, room: rtclab.Room
) -> None:
    page = empty_page
    held: list[Route] = []
    page.route("**/page.js", lambda route: held.append(route))
    with page.expect_request("**/page.js"):
        page.goto(server.description["url"], wait_until="commit")
    page.locator("#name").evaluate("(field) => { field.value = 'alice'; }")
    for route in held:
        route.continue_()
    publish(page)
    assert "alice" in {participant.name for participant in room.participants}


def test_the_camera_is_published_in_layers(empty_page: Page, server: RoomServer, room: rtclab.Room) -> None:
    empty_page.goto(f"{server.base}/?name=alice&of=alice#token={TOKEN}")
    publish(empty_page, "camera")
    layer = empty_page.get_by_role("combobox", name="Layer")
    for rid in ("q", "f"):
        expect(layer.get_by_role("option", name=re.compile(f"^{rid}"))).to_have_count(1, timeout=LIVE)


def test_without_the_token_the_page_says_so(empty_page: Page, server: RoomServer) -> None:
    empty_page.goto(f"{server.base}/#token=wrong")
    notice = empty_page.locator("[data-rtclab=viewer] .rtclab-notice")
    expect(notice).to_contain_text("not the token of this room", timeout=LIVE)
    expect(notice).to_contain_text("Open the address that it printed")


def test_a_lost_socket_is_opened_again_and_media_go_on(
    empty_page: Page, server: RoomServer, room: rtclab.Room
) -> None:
    empty_page.add_init_script("""
      window.sockets = [];
      window.WebSocket = class extends window.WebSocket {
        constructor(...given) {
          super(...given);
          window.sockets.push(this);
        }
      };""")
    empty_page.goto(f"{server.description['url']}")
    publish(empty_page)
    viewer = empty_page.locator("[data-rtclab=viewer]")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    before = {one.name: one.id for one in room.participants}
    assert empty_page.evaluate("sockets.length") == 2
    empty_page.evaluate("for (const socket of sockets) socket.close(3000)")
    empty_page.evaluate("""async () => {
      while (sockets.filter((one) => one.readyState === 1).length < 2) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }""")
    bob = room.join("bob")
    bob.publish(rtclab.TestPattern(320, 180, fps=15))
    tile = viewer.get_by_role("listitem", name="bob")
    expect(tile.locator(".rtclab-figures")).to_contain_text("fps", timeout=LIVE)
    after = {one.name: one.id for one in room.participants if one.name != "bob"}
    assert after == before, "each has its place again"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits(empty_page: Page, server: RoomServer, room: rtclab.Room, scheme: str) -> None:
    page = empty_page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    room.join("bob").publish(rtclab.TestPattern(640, 360, fps=15))
    page.goto(server.description["url"])
    publish(page)
    expect(page.get_by_role("listitem", name="bob").locator(".rtclab-figures")).to_contain_text(
        "fps", timeout=LIVE
    )
    for width in (320, 700, 1000, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) == [], width
    left, right = (page.locator(f"#{name}").bounding_box() for name in ("publisher", "viewer"))
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"], "side by side"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(14, 16, 18)" if scheme == "dark" else "rgb(255, 255, 255)")


# A page of another origin, with nothing of ours.
HELPERS = """
window.post = async (url, token, pc) => {
  await pc.setLocalDescription();
  const headers = {"Content-Type": "application/sdp", Authorization: `Bearer ${token}`};
  const reply = await fetch(url, {method: "POST", headers, body: pc.localDescription.sdp});
  if (reply.status !== 201) throw new Error(`${reply.status} ${await reply.text()}`);
  const sdp = await reply.text();
  await pc.setRemoteDescription({type: "answer", sdp});
  const session = new URL(reply.headers.get("Location"), url).href;
  return {pc, sdp, headers, session, etag: reply.headers.get("ETag"), link: reply.headers.get("Link")};
};
window.publish = async (url, token) => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 360}});
  const pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  for (const track of stream.getTracks()) pc.addTransceiver(track, {direction: "sendonly"});
  return window.publisher = await post(url, token, pc);
};
window.watch = async (url, token) => {
  const pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const video = document.createElement("video");
  Object.assign(video, {muted: true, autoplay: true, srcObject: new MediaStream()});
  document.body.append(video);
  pc.ontrack = ({track}) => video.srcObject.addTrack(track);
  for (const kind of ["audio", "video"]) pc.addTransceiver(kind, {direction: "recvonly"});
  return window.viewer = await post(url, token, pc);
};
window.restart = async (one) => {
  one.pc.restartIce();
  await one.pc.setLocalDescription();
  const value = (name, sdp) => sdp.match(new RegExp(`a=${name}:(.*)`))[1].trim();
  const offer = one.pc.localDescription.sdp;
  const body = ["ice-ufrag", "ice-pwd"].map((name) => `a=${name}:${value(name, offer)}\\r\\n`);
  const headers = {...one.headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"};
  const reply = await fetch(one.session, {method: "PATCH", headers, body: body.join("")});
  const fragment = await reply.text();
  let sdp = one.sdp;
  for (const name of ["ice-ufrag", "ice-pwd"]) {
    sdp = sdp.replaceAll(`a=${name}:${value(name, one.sdp)}`, `a=${name}:${value(name, fragment)}`);
  }
  await one.pc.setRemoteDescription({type: "answer", sdp});
  return [reply.status, reply.headers.get("ETag") !== one.etag, sdp !== one.sdp];
};
"""


@pytest.fixture
def foreign(page: Page) -> Page:
    """A page of another origin, with `publish`, `watch` and `restart`."""
    page.add_script_tag(content=HELPERS)
    page.context.grant_permissions(["camera", "microphone"])
    return page


def test_chromium_publishes_and_watches_from_another_origin(
    foreign: Page, server: RoomServer, room: rtclab.Room
) -> None:
    foreign.evaluate(
        "([url, token]) => publish(url, token).then(() => 0)", [f"{server.base}/whip/alice", TOKEN]
    )
    foreign.evaluate(
        "([url, token]) => watch(url, token).then(() => 0)", [f"{server.base}/whep/alice", TOKEN]
    )
    video = foreign.locator("video")
    pictures = grab(video, 10)
    assert pictures[-1].std() > 10
    assert any((one != pictures[0]).any() for one in pictures), "the picture moves"
    assert room.join("bob").watch("alice", timeout=20).next_frame(10).std() > 10
    assert re.fullmatch(r'"\w+"', foreign.evaluate("viewer.etag")), "a page can read what it needs"

    for who in ("publisher", "viewer"):
        assert foreign.evaluate(f"restart({who})") == [200, True, True]
        pair = """async (one) => {
          const reports = [...(await one.pc.getStats()).values()];
          const local = one.pc.localDescription.sdp.match(/a=ice-ufrag:(.*)/)[1].trim();
          return reports.some((report) => report.type === "transport" && report.dtlsState === "connected" &&
            report.iceLocalUsernameFragment === local && report.iceState === "connected");
        }"""
        foreign.wait_for_function(f"({pair})({who})", timeout=LIVE, polling=200)
    pictures = grab(video, 30)
    assert any((one != pictures[0]).any() for one in pictures), "it still moves"

    end = "(one) => fetch(one.session, {method: 'DELETE', headers: one.headers}).then(({status}) => status)"
    assert foreign.evaluate(f"({end})(viewer)") == 200
    assert foreign.evaluate(f"({end})(publisher)") == 200
    assert [one.name for one in room.participants] == ["bob"]


def test_without_the_token_another_origin_learns_why(foreign: Page, server: RoomServer) -> None:
    reply = foreign.evaluate(
        """async (url) => {
          const headers = {"Content-Type": "application/sdp", Authorization: "Bearer wrong"};
          const reply = await fetch(url, {method: "POST", headers, body: "v=0"});
          return [reply.status, reply.headers.get("WWW-Authenticate"), (await reply.json()).detail];
        }""",
        f"{server.base}/whip/alice",
    )
    assert reply[0] == 401
    assert reply[1].startswith("Bearer")
    assert "token" in reply[2]
