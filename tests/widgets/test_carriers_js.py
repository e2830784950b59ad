"""Which way a widget's signaling goes: the Jupyter server's WebSocket, the comm, and from one to the other.

The server is a real one with the room's own WebSocket, below a base URL as on a hub.
Only the comm is replaced.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tornado.netutil
from playwright.sync_api import Locator, Page, expect
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

import rtclab
from bridge import Bridge
from browser_tools import LIVE
from http_tools import LIMIT, on_engine, wait_until
from rtclab.signaling.carrier import Connect, MediaCarrier
from rtclab.signaling.web import Access
from rtclab.signaling.websocket import SignalingSocket, SocketHub

PATH = "rtclab/rooms/r1"

CONFIGURE = """(baseUrl) => {
  const script = document.createElement("script");
  Object.assign(script, { id: "jupyter-config-data", type: "application/json" });
  script.textContent = JSON.stringify({ baseUrl, wsUrl: "" });
  document.head.append(script);
}"""

# a client on a model whose comm is read by nobody; what it gets as media is kept in `got`
CLIENT = """async (server) => {
  const { clientOn } = await import("/js/comm.js");
  window.model = new FakeModel({ server }, { delay: 0, receive() {} });
  window.client = clientOn(model, "viewer").client;
  window.got = [];
  client.receiveMedia = (buffer) => got.push([...new Uint8Array(buffer)]);
}"""


class JupyterServer:
    """The WebSocket of one room, which may be told to `refuse` clients or to let them wait."""

    def __init__(self, connect: Connect) -> None:
        self.hub = SocketHub(connect)
        self.refuse = False
        self.let_in = asyncio.Event()
        self.asked = threading.Event()
        self.sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        self.base = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}/user/x/"

    def start(self) -> None:
        server = self

        class Door(SignalingSocket):
            async def prepare(self) -> None:  # type: ignore[override]
                server.asked.set()
                await server.let_in.wait()
                if server.refuse:
                    raise HTTPError(404)

        class List(RequestHandler):
            def get(self) -> None:
                self.set_header("Access-Control-Allow-Origin", "*")
                self.finish({"rooms": [] if server.refuse else [{"id": "r1"}]})

        rules: list[Any] = [
            (f"/user/x/{PATH}/signaling", Door, {"access": Access(), "hub": self.hub}),
            ("/user/x/rtclab/rooms", List),
        ]
        self.let_in.set()
        self.http = HTTPServer(Application(rules, log_function=lambda handler: None))
        self.http.add_sockets(self.sockets)

    def stop(self) -> None:
        self.let_in.set()
        self.http.stop()
        self.hub.close()

    def lose(self) -> None:
        """End every socket as a server does that goes away."""
        for carrier in list(self.hub.carriers):
            carrier.end(1001, "gone")


@pytest.fixture
def room() -> Iterator[rtclab.Room]:
    with rtclab.Room() as room:
        yield room


@pytest.fixture
def serve() -> Iterator[Callable[[Connect], JupyterServer]]:
    servers = []

    def start(connect: Connect) -> JupyterServer:
        server = on_engine(lambda: JupyterServer(connect))
        on_engine(server.start)
        servers.append(server)
        return server

    yield start
    for server in servers:
        on_engine(server.stop)


def viewer_of(lab: Page) -> Locator:
    return lab.locator("[data-rtclab=viewer]")


def carriers_of(room: rtclab.Room) -> dict[str, str]:
    return {one.id: one.carrier for one in room.participants if one.name != "bob"}


def more_frames(lab: Page, count: int = 5) -> None:
    """Wait for some more frames of the one video there is."""
    played = "document.querySelector('article video').getVideoPlaybackQuality().totalVideoFrames"
    goal = lab.evaluate(played) + count
    lab.wait_for_function(f"(goal) => {played} >= goal", arg=goal, timeout=LIVE, polling=50)


def test_the_picture_goes_on_from_carrier_to_carrier(
    lab: Page, room: rtclab.Room, serve: Callable[[Connect], JupyterServer]
) -> None:
    server = serve(room.connect)
    lab.evaluate(CONFIGURE, server.base)
    room.join("bob").publish(rtclab.TestPattern(320, 180, fps=15, sound=False))
    bridge = Bridge(lab)
    widget = room.viewer()
    widget.set_server(PATH)
    bridge.show(widget, "Viewer")
    viewer = viewer_of(lab)
    routes = viewer.get_by_role("status", name="Ways to the room")
    expect(viewer).to_have_attribute("data-status", "live", timeout=LIVE)
    expect(routes).to_have_text("Signaling: Jupyter server")
    (me,) = carriers_of(room)
    assert carriers_of(room) == {me: "websocket"}
    assert lab.evaluate("models[0].sent") == [], "nothing has gone by comm"
    lab.wait_for_function("() => document.querySelector('article video').videoWidth")
    wait_until(lambda: widget.phase == "first frame")
    media = "document.querySelector('article video').srcObject.getTracks()[0].id"
    track = lab.evaluate(media)

    on_engine(server.lose)
    wait_until(lambda: server.hub.carriers)
    more_frames(lab)
    assert carriers_of(room) == {me: "websocket"}, "the lost one was opened again"

    server.refuse = True
    on_engine(server.lose)
    expect(routes).to_have_text(
        "Signaling: comm, because the Jupyter server does not know this room", timeout=LIVE
    )
    wait_until(lambda: carriers_of(room) == {me: "comm"})
    more_frames(lab)

    server.refuse = False
    wait_until(lambda: carriers_of(room) == {me: "websocket"})
    expect(routes).to_have_text("Signaling: Jupyter server")
    more_frames(lab)
    assert lab.evaluate(media) == track, "it is the same media all along"
    expect(viewer).to_have_attribute("data-status", "live")


def test_a_server_that_does_not_answer_is_waited_for_two_seconds(
    lab: Page, room: rtclab.Room, serve: Callable[[Connect], JupyterServer]
) -> None:
    server = serve(room.connect)
    on_engine(server.let_in.clear)
    lab.evaluate(CONFIGURE, server.base)
    widget = room.viewer()
    widget.set_server(PATH)
    lab.clock.install()  # a busy machine must not spend the two seconds
    lab.clock.pause_at(lab.evaluate("Date.now() + 1000"))
    Bridge(lab).show(widget, "Viewer")
    assert server.asked.wait(LIMIT)
    assert carriers_of(room) == {}
    lab.clock.run_for(1800)
    assert carriers_of(room) == {}
    lab.clock.resume()
    expect(viewer_of(lab)).to_have_attribute("data-status", "waiting", timeout=LIVE)
    assert list(carriers_of(room).values()) == ["comm"]
    expect(viewer_of(lab)).to_contain_text("Signaling: comm, because the WebSocket")


def test_a_room_that_comes_to_the_server_later_is_met_there(
    lab: Page, room: rtclab.Room, serve: Callable[[Connect], JupyterServer]
) -> None:
    lab.evaluate(CONFIGURE, serve(room.connect).base)
    Bridge(lab).show(room.viewer(), "Viewer")
    expect(viewer_of(lab)).to_have_attribute("data-status", "waiting", timeout=LIVE)
    expect(viewer_of(lab)).to_contain_text("Signaling: comm, because the kernel has found no Jupyter server")
    (me,) = carriers_of(room)
    move = "(server) => { models[0].traits.server = server; models[0].emit('change:server'); }"
    lab.evaluate(move, PATH)
    wait_until(lambda: carriers_of(room) == {me: "websocket"})
    expect(viewer_of(lab)).to_contain_text("Signaling: Jupyter server")
    lab.evaluate(move, "")
    assert carriers_of(room) == {me: "websocket"}, "it serves as long as it is open"


def test_without_an_address_it_is_the_comm(lab: Page) -> None:
    lab.evaluate("(server) => display(Viewer, viewerModel({ server }))", PATH)
    expect(viewer_of(lab)).to_have_attribute("data-status", "waiting", timeout=LIVE)
    expect(viewer_of(lab)).to_contain_text("comm, because this page does not say where its Jupyter server is")


class Talk:
    """A room's side that keeps what it gets, welcomes everybody, and says media back."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.lost_reasons: list[str] = []

    def connect(self, carrier: Any) -> Talk:
        assert isinstance(carrier, MediaCarrier)
        self.carrier = carrier
        return self

    def receive(self, message: Any) -> None:
        self.got.append((message["type"], message.get("session")))
        if message["type"] == "join":
            who = {"id": "p1", "name": "viewer-1"}
            room = {"id": "r", "name": "room", "architecture": "sfu"}
            welcome = {"type": "welcome", "re": message["id"], "session": "token", "participant": who}
            self.carrier.send(
                {
                    **welcome,
                    "room": room,
                    "ice_servers": [],
                    "resumed": bool(message["session"]),
                    "tracks": [],
                }
            )

    def receive_media(self, data: bytes) -> None:
        self.got.append(data)
        self.carrier.send_media(data[::-1])

    def lost(self, reason: str) -> None:
        self.lost_reasons.append(reason)


def test_media_go_by_the_socket(lab: Page, serve: Callable[[Connect], JupyterServer]) -> None:
    talk = Talk()
    lab.evaluate(CONFIGURE, serve(talk.connect).base)
    lab.evaluate(CLIENT, PATH)
    early = lab.evaluate("client.transmitMedia(new Uint8Array([9]))")
    sent = lab.evaluate("""async () => {
      await client.start();
      const buffer = new Uint8Array([0, 1, 2, 3, 0]);
      return client.transmitMedia(buffer.subarray(1, 4));
    }""")
    lab.wait_for_function("got.length")
    assert (early, sent) == (False, True)
    assert lab.evaluate("got") == [[3, 2, 1]]
    assert lab.evaluate("client.carrier.unsent") == 0
    assert talk.got == [("join", None), b"\x01\x02\x03"]


def test_who_leaves_and_comes_back_at_once_is_let_in(
    lab: Page, serve: Callable[[Connect], JupyterServer]
) -> None:
    talk = Talk()
    lab.evaluate(CONFIGURE, serve(talk.connect).base)
    lab.evaluate(CLIENT, PATH)
    joined = lab.evaluate("""async () => {
      const first = await client.start();
      client.stop();
      return [first, await client.start()];
    }""")
    assert joined == [True, True]
    assert [kind for kind, _ in talk.got] == ["join", "phase", "leave", "join"]


def test_a_join_that_the_kernel_has_not_read_is_taken_back(
    lab: Page, serve: Callable[[Connect], JupyterServer]
) -> None:
    talk = Talk()
    lab.evaluate(CONFIGURE, serve(talk.connect).base)
    lab.evaluate(CLIENT, "")
    joined = lab.evaluate(
        """async (server) => {
          const joining = client.start();
          model.traits.server = server;
          model.emit("change:server");
          return joining;
        }""",
        PATH,
    )
    assert joined is True
    assert [one["type"] for one in lab.evaluate("model.sent")] == ["join", "leave"]
    assert talk.got == [("join", None)]


def test_a_socket_by_which_nothing_comes_is_replaced(
    lab: Page, serve: Callable[[Connect], JupyterServer]
) -> None:
    talk = Talk()  # answers no ping
    lab.evaluate(CONFIGURE, serve(talk.connect).base)
    lab.evaluate(CLIENT, PATH)
    lab.clock.install()
    assert lab.evaluate("client.start()") is True
    lab.clock.run_for(12_000)
    wait_until(lambda: ("join", "token") in talk.got)
    assert len(talk.lost_reasons) == 1
    lab.wait_for_function("client.status === 'joined'")
    assert lab.evaluate("[client.carrier.kind, model.sent.length]") == ["server", 0]


def test_media_go_by_comm_as_buffers(lab: Page) -> None:
    lab.evaluate(CLIENT, "")
    sent, got = lab.evaluate("""async () => {
      const sent = [];
      model.send = (content, callbacks, buffers) => {
        sent.push([content, callbacks ?? null, buffers.map((buffer) => [...new Uint8Array(buffer)])]);
      };
      client.transmitMedia(new Uint8Array([0, 1, 2, 3, 0]).subarray(1, 4));
      const [{ client: id }] = sent[0];
      const view = new DataView(new Uint8Array([7, 8, 9, 7]).buffer, 1, 2);
      model.emit("msg:custom", { client: "another", media: true }, [view]);
      model.emit("msg:custom", { client: id, media: true }, [view]);
      return [sent, got];
    }""")
    ((content, callbacks, buffers),) = sent
    assert content["media"] is True
    assert (callbacks, buffers) == (None, [[1, 2, 3]])
    assert got == [[8, 9]]


def test_media_do_not_go_where_nothing_is(lab: Page) -> None:
    lab.evaluate(CLIENT, "")
    assert lab.evaluate("model.dead = true, client.transmitMedia(new Uint8Array([1]))") is False
