"""The Python side of the widgets: envelopes to the room, waiting for the first frame, posters, closing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rtclab.engine import get_engine
from rtclab.errors import Closed, RtclabError, Timeout
from rtclab.signaling.carrier import Carrier
from rtclab.widgets import PublisherWidget, ViewerWidget
from rtclab.widgets.base import SignalingWidget


class Side:
    """A room's side that notes what arrives and answers every message with a pong."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.lost_reasons: list[str] = []
        self.arrived = threading.Event()
        self.gone = threading.Event()

    def connect(self, carrier: Carrier) -> Side:
        self.carrier = carrier
        return self

    def receive(self, message: object) -> None:
        self.received.append(message)
        self.carrier.send({"type": "pong", "re": 1})
        self.arrived.set()

    def receive_media(self, data: bytes) -> None:
        self.received.append(data)
        self.arrived.set()

    def lost(self, reason: str) -> None:
        self.lost_reasons.append(reason)
        self.gone.set()


@pytest.fixture
def side() -> Side:
    return Side()


@pytest.fixture
def viewer(side: Side) -> Iterator[ViewerWidget]:
    widget = ViewerWidget(side.connect)
    yield widget
    widget.close()


def say(widget: SignalingWidget, **message: object) -> None:
    widget._handle_custom_msg({"client": "page-1", "message": message}, [])


def test_a_message_reaches_the_room_and_the_reply_the_page(
    side: Side, viewer: ViewerWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(viewer._hub, "_widget_send", lambda *given: sent.append(given))
    say(viewer, type="ping", id=1)
    assert side.arrived.wait(5)
    assert side.received == [{"type": "ping", "id": 1}]
    assert sent == [({"client": "page-1", "message": {"type": "pong", "re": 1}}, None)]
    side.arrived.clear()
    viewer._handle_custom_msg({"client": "page-1", "media": True}, [memoryview(b"bytes")])
    assert side.arrived.wait(5)
    assert side.received[1:] == [b"bytes"]


def test_a_page_whose_signaling_goes_elsewhere_notes_its_phases_here(
    side: Side, viewer: ViewerWidget
) -> None:
    note = {"type": "phase", "phase": "first frame", "elapsed_s": 0.1}
    viewer._handle_custom_msg({"client": "page-1", "note": note}, [])
    viewer._handle_custom_msg({"client": "page-1", "note": None}, [])
    get_engine().run(viewer.connected(5))
    assert side.received == []
    assert viewer._hub.dropped == 0


def test_connected_waits_for_the_first_frame(viewer: ViewerWidget) -> None:
    assert viewer.phase is None
    waiting = get_engine().submit(viewer.connected(10))
    for phase in ("signaling", "ICE", "DTLS"):
        say(viewer, type="phase", phase=phase, elapsed_s=0.1)
        assert viewer.phase == phase
    assert not waiting.done()
    say(viewer, type="phase", phase="first frame", elapsed_s=0.5)
    waiting.result(5)
    get_engine().run(viewer.connected(1))


@pytest.mark.parametrize(
    ("reached", "hung"),
    [
        (None, "signaling"),
        ("signaling", "ICE"),
        ("ICE", "DTLS"),
        ("DTLS", "first frame"),
        ("tunnel", "first frame"),
    ],
)
def test_a_timeout_names_the_phase_that_hangs(viewer: ViewerWidget, reached: str | None, hung: str) -> None:
    if reached:
        say(viewer, type="phase", phase=reached, elapsed_s=0.1)
    with pytest.raises(Timeout, match=f"the {hung} phase hangs: .{{10,}}") as caught:
        get_engine().run(viewer.connected(0.01))
    assert caught.value.phase == hung


def test_a_publisher_that_nobody_started_hangs_in_permission(side: Side) -> None:
    publisher = PublisherWidget(side.connect)
    with pytest.raises(Timeout, match="press Start"):
        get_engine().run(publisher.connected(0.01))
    publisher.close()


def test_a_page_that_gives_up_ends_the_wait_with_its_reason(viewer: ViewerWidget) -> None:
    waiting = get_engine().submit(viewer.connected(10))
    say(viewer, type="phase", phase="failed", elapsed_s=0.1, detail="Access to the camera was refused.")
    with pytest.raises(RtclabError, match="camera was refused"):
        waiting.result(5)


@pytest.mark.parametrize(
    "content",
    [None, "x", [], {}, {"client": "a"}, {"client": "a", "message": 3}, {"message": {"type": "phase"}}],
)
def test_what_is_no_message_changes_nothing(viewer: ViewerWidget, content: object) -> None:
    viewer._handle_custom_msg(content, [])
    say(viewer, type="phase", phase="dancing")
    say(viewer, type="phase", phase=["ICE"])
    assert viewer.phase is None


def test_closing_loses_the_pages_and_ends_the_wait(side: Side, viewer: ViewerWidget) -> None:
    say(viewer, type="ping", id=1)
    assert side.arrived.wait(5)
    waiting = get_engine().submit(viewer.connected(10))
    viewer.close()
    viewer.close()
    assert side.gone.wait(5)
    with pytest.raises(Closed):
        waiting.result(5)
    assert len(side.lost_reasons) == 1
    assert "closed" in repr(viewer)


def test_reprs_and_posters(side: Side) -> None:
    publisher = PublisherWidget(side.connect, name="<alice>", source="pattern", room="lesson 1")
    assert repr(publisher) == "<Publisher '<alice>' of a pattern in lesson 1, not started>"
    data, _ = publisher._repr_mimebundle_()
    assert data["text/plain"] == repr(publisher)
    assert "&lt;alice&gt;" in data["text/html"]
    assert "<alice>" not in data["text/html"]
    assert "running kernel" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    publisher.close()
    viewer = ViewerWidget(side.connect, of="bob")
    assert repr(viewer) == "<Viewer of bob in room, not started>"
    viewer.close()


def test_the_page_is_told_what_it_needs(side: Side) -> None:
    publisher = PublisherWidget(side.connect, name="alice", source="screen", simulcast=False)
    other = PublisherWidget(side.connect)
    state = publisher.get_state()
    assert (state["name"], state["source"], state["simulcast"]) == ("alice", "screen", False)
    assert len(publisher.key) == 32
    assert publisher.key != other.key
    publisher.close()
    other.close()


def test_the_page_is_told_where_the_room_is_at_the_server(side: Side) -> None:
    viewer = ViewerWidget(side.connect, server="rtclab/rooms/a")
    assert viewer.get_state()["server"] == "rtclab/rooms/a"
    sent: list[Any] = []
    viewer.send_state = lambda key: sent.append(key)
    viewer.set_server("")
    assert (viewer.server, sent) == ("", ["server"])
    viewer.close()
    viewer.set_server("rtclab/rooms/b")
    assert viewer.server == "", "a widget that was closed tells nobody"


def test_an_unknown_source_is_refused(side: Side) -> None:
    with pytest.raises(ValueError, match="camera, screen, pattern, not 'webcam'"):
        PublisherWidget(side.connect, source="webcam")
