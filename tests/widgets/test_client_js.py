"""The room's client in the page: joining, resuming, one offer at a time, slots used again, a dead carrier."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

# a client whose messages are kept in `sent`, and answered by `replies[type]` or not at all
CLIENT = """async (role) => {
  const { RoomClient } = await import("/js/client.js");
  window.sent = [];
  window.tokens = [];
  window.welcome = {
    type: "welcome", version: 1, session: "token", participant: { id: "p1", name: "guest" },
    room: { id: "r", name: "room", architecture: "sfu" }, ice_servers: [], resumed: false, tracks: [],
  };
  window.replies = { join: () => welcome, ping: () => ({ type: "pong" }) };
  const session = window.token ?? null;
  const send = (message) => {
    if (window.dead) throw new Error("Cannot send");
    sent.push(message);
    const reply = replies[message.type]?.(message);
    if (reply) setTimeout(() => client.receive({ ...reply, re: message.id }));
  };
  window.bytes = [];
  window.carrierOf = (kind) =>
    ({ kind, reason: "", send, unsent: 0, sendMedia: (bytes) => window.bytes.push([kind, ...bytes]) > 0 });
  const onSession = (token) => tokens.push(token);
  window.client = new RoomClient({ carrier: carrierOf("comm"), role, session, onSession });
  window.types = () => sent.map(({ type }) => type);
}"""

# a peer connection that answers offers, with canvases for what is received
ANSWER = """() => {
  window.far = new RTCPeerConnection();
  window.tracks = (...kinds) => kinds.map((kind, i) => ({
    id: `t${i}`, participant: { id: `p${i}`, name: `peer ${i}` }, kind, source: "file", muted: false,
    codec: null, layers: [],
  }));
  window.answer = async ({ sdp, tracks, id }, { without = [] } = {}) => {
    await far.setRemoteDescription({ type: "offer", sdp });
    const rejected = [];
    for (const transceiver of far.getTransceivers()) {
      const entry = tracks.find(({ mid }) => mid === transceiver.mid);
      if (!entry) continue;
      if (without.includes(entry.mid)) {
        rejected.push({ mid: entry.mid, code: "no_codec", message: "no usable codec" });
        transceiver.stop();
      } else {
        const receiving = entry.track ? "sendonly" : "inactive";
        transceiver.direction = entry.direction === "send" ? "recvonly" : receiving;
      }
    }
    await far.setLocalDescription();
    const given = tracks.map(({ mid, track }) => ({ mid, track: track ?? `mine-${mid}` }));
    client.receive({ type: "answer", re: id, sdp: far.localDescription.sdp, tracks: given, rejected });
  };
  window.offers = () => sent.filter(({ type }) => type === "offer");
  window.until = async (condition) => {
    while (!condition()) await new Promise((done) => setTimeout(done, 5));
  };
}"""


@pytest.fixture
def client(lab: Page) -> Page:
    """A page with a participant's `client`, not yet started."""
    lab.evaluate(CLIENT, "participant")
    lab.evaluate(ANSWER)
    return lab


@pytest.fixture
def watcher(lab: Page) -> Page:
    """A page with a viewer's `client`, not yet started."""
    lab.evaluate(CLIENT, "viewer")
    lab.evaluate(ANSWER)
    return lab


def test_joining_gives_a_name_and_a_token(client: Page) -> None:
    result: Any = client.evaluate(
        "async () => [await client.start(), client.status, client.participant.name, tokens, sent[0]]"
    )
    assert result[:4] == [True, "joined", "guest", ["token"]]
    join = result[4]
    assert join["agent"]
    assert (join["type"], join["version"], join["role"], join["session"]) == ("join", 1, "participant", None)


def test_a_token_that_the_room_forgot_is_dropped(lab: Page) -> None:
    lab.evaluate("window.token = 'old'")
    lab.evaluate(CLIENT, "participant")
    result = lab.evaluate("""async () => {
      const unknown = { type: "error", code: "unknown_session", message: "" };
      replies.join = ({ session }) => (session ? unknown : welcome);
      return [await client.start(), sent.map(({ session }) => session), tokens];
    }""")
    assert result == [True, ["old", None], [None, "token"]]


def test_a_refused_join_says_why(client: Page) -> None:
    result = client.evaluate("""async () => {
      replies.join = () => ({ type: "error", code: "name_taken", message: "alice is here" });
      return [await client.start(), client.status, client.failure, types()];
    }""")
    assert result == [
        False,
        "closed",
        {"code": "name_taken", "message": "alice is here"},
        ["join", "phase", "leave"],
    ]


def test_simulcast_is_offered_in_three_layers(client: Page) -> None:
    sdp, entry = client.evaluate("""async () => {
      const { encodingsFor } = await import("/js/media.js");
      await client.start();
      const media = picture(10, 1280, 720);
      client.publish(new Map([["video", { kind: "video", source: "pattern", media, muted: false,
        encodings: encodingsFor("pattern", true, 1280, 720), width: 1280, height: 720 }]]));
      await until(() => offers().length);
      return [offers()[0].sdp, offers()[0].tracks];
    }""")
    assert "a=simulcast:send q;h;f" in sdp
    assert "a=sendonly" in sdp
    assert entry == [
        {"mid": "0", "direction": "send", "source": "pattern", "muted": False, "width": 1280, "height": 720}
    ]


def test_offers_go_one_at_a_time_and_changes_meanwhile_make_one_more(watcher: Page) -> None:
    result = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video", "audio", "video");
      await client.start();
      client.watch(["t0"]); client.watch(["t0", "t1"]); client.watch(["t0", "t1", "t2"]);
      await until(() => offers().length);
      await new Promise((done) => setTimeout(done, 100));
      const before = offers().length;
      await answer(offers()[0]);
      await until(() => offers().length === 2 || client.connection.negotiation === null);
      const last = offers().at(-1);
      if (offers().length === 2) await answer(last);
      await until(() => client.connection.negotiation === null);
      return [before, offers().length <= 2, last.tracks.map(({ track }) => track), [...client.remote.keys()]];
    }""")
    assert result == [1, True, ["t0", "t1", "t2"], ["t0", "t1", "t2"]]


def test_a_viewer_connects_before_anybody_publishes(watcher: Page) -> None:
    entries, phase, paused = watcher.evaluate("""async () => {
      await client.start();
      client.watch([]);
      await until(() => offers().length);
      await answer(offers()[0]);
      for (const { mid, candidate } of sent.filter(({ type }) => type === "candidate")) {
        await far.addIceCandidate({ sdpMid: mid, candidate });
      }
      far.onicecandidate = ({ candidate }) => candidate && client.peer.pc.addIceCandidate(candidate);
      for (const line of far.localDescription.sdp.matchAll(/a=(candidate:.*)/g)) {
        await client.peer.pc.addIceCandidate({ sdpMid: "0", candidate: line[1] });
      }
      await until(() => client.phases.done.has("DTLS"));
      return [offers()[0].tracks, client.phases.current, client.phases.pausedAt !== null];
    }""")
    assert [(entry["direction"], entry["track"]) for entry in entries] == [("receive", None)] * 2
    assert (phase, paused) == ("first frame", True)


def test_a_vacated_slot_is_used_again(watcher: Page) -> None:
    result = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video", "audio");
      await client.start();
      const watch = async (...ids) => {
        const before = offers().length;
        client.watch(ids);
        await until(() => offers().length > before);
        await answer(offers().at(-1));
        await until(() => client.connection.negotiation === null);
        return offers().at(-1).tracks.map(({ mid, track }) => `${mid}:${track}`);
      };
      const log = [await watch("t0", "t1"), await watch("t1")];
      client.receive({ type: "tracks", revision: 2, tracks: tracks("audio", "audio", "video").slice(1) });
      log.push(await watch("t1", "t2"));
      return [log, client.peer.pc.getTransceivers().length];
    }""")
    assert result == [[["0:t0", "1:t1"], ["0:null", "1:t1"], ["0:t2", "1:t1"]], 2]


def test_a_refused_track_is_said_and_not_asked_for_again(watcher: Page) -> None:
    result = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video", "audio");
      await client.start();
      client.watch(["t0", "t1"]);
      await until(() => offers().length);
      await answer(offers()[0], { without: ["1"] });
      await until(() => client.connection.negotiation === null);
      await client.watch(["t0", "t1"]);
      return [[...client.refusals], [...client.remote.keys()], offers().length, client.status];
    }""")
    assert result == [[["t1", "no usable codec"]], ["t0"], 1, "joined"]


def test_a_track_that_left_during_the_offer_is_no_failure(watcher: Page) -> None:
    result = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video");
      await client.start();
      let refusals = 0;
      replies.offer = () => refusals++ < 2 ? { type: "error", code: "unknown_track", message: "gone" } : null;
      client.watch(["t0"]);
      await until(() => offers().length === 3);
      await answer(offers()[2]);
      await until(() => client.connection.negotiation === null);
      return [client.status, client.failure, client.peer.pc.signalingState];
    }""")
    assert result == ["joined", None, "stable"]


def test_an_offer_that_stays_refused_is_a_failure(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      replies.offer = () => ({ type: "error", code: "no_codec", message: "nobody can play H266" });
      const media = picture(10);
      const item = { kind: "video", source: "file", media, muted: false, encodings: [{}] };
      await client.publish(new Map([["video", item]]));
      return [client.status, client.failure, types().slice(-2)];
    }""")
    assert result == ["closed", {"code": "no_codec", "message": "nobody can play H266"}, ["phase", "leave"]]


def test_a_room_that_forgot_the_client_is_joined_again_with_the_token(client: Page) -> None:
    client.clock.install()
    result = client.evaluate("""async () => {
      await client.start();
      replies.ping = () => ({ type: "error", code: "not_joined", message: "" });
      replies.join = ({ session }) => ({ ...welcome, resumed: session === "token" });
      return client.status;
    }""")
    assert result == "joined"
    client.clock.run_for(4000)
    client.wait_for_function("sent.filter(({ type }) => type === 'join').length === 2")
    assert client.evaluate("sent.filter(({ type }) => type === 'join')[1].session") == "token"


def test_over_another_carrier_the_session_goes_on_and_nothing_said_is_lost(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      delete replies.join;
      const picking = client.pickLayer("t0", "h");
      client.move(carrierOf("server"));
      client.send({ type: "mute", track: "t0", muted: true });
      client.transmitMedia(new Uint8Array([1, 2]));
      await until(() => sent.length === 3);
      const before = types();
      const [join] = sent.slice(-1);
      client.move(carrierOf("comm"));
      await until(() => sent.length === 4);
      client.receive({ ...welcome, re: join.id });
      const early = client.status;
      client.receive({ ...welcome, re: sent.at(-1).id, resumed: true });
      const after = sent.slice(before.length).map(({ type, session, rid }) => session ?? rid ?? type);
      client.receive({ type: "consumer", track: "t0", rid: "h" });
      await picking;
      return [before, join.session, early, after, client.carrier.kind, bytes, client.picked.get("t0")];
    }""")
    before, token, early, after, kind, sent, picked = result
    assert before == ["join", "layer", "join"]
    assert (token, early, kind, picked) == ("token", "joining", "comm", "h")
    assert after == ["token", "mute", "h"], "what the welcome has to precede follows it"
    assert sent == [["server", 1, 2]]


def test_what_was_asked_of_a_session_that_is_gone_is_dropped(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      client.move(carrierOf("comm"));
      client.send({ type: "mute", track: "t0", muted: true });
      const asked = client.requests.ask({ type: "layer", track: "t0", rid: "h" }).catch(({ code }) => code);
      return [await asked, types()];
    }""")
    assert result == ["moved", ["join", "join"]]


def test_a_dead_carrier_ends_the_session_at_once(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      const seen = [];
      client.observe((what) => seen.push(what));
      window.dead = true;
      client.probe();
      client.probe();
      const states = seen.filter((what) => what === "state").length;
      return [client.status, client.link, states, client.timers.length];
    }""")
    assert result == ["closed", "gone", 1, 0]


def test_a_kernel_that_answers_no_ping_is_busy_and_then_is_not(client: Page) -> None:
    client.clock.install()
    client.evaluate("async () => { await client.start(); delete replies.ping; }")
    client.clock.run_for(12_000)
    assert client.evaluate("client.link") == "busy"
    client.evaluate("replies.ping = () => ({ type: 'pong' })")
    client.clock.run_for(4000)
    assert client.evaluate("client.link") == "ok"


def test_only_the_largest_visible_view_is_told(watcher: Page) -> None:
    watcher.clock.install()
    views = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video");
      await client.start();
      window.small = {}; window.large = {};
      client.views.set("t0", small, { width: 160.4, height: 90, visible: true });
      client.views.set("t0", large, { width: 640, height: 360, visible: false });
    }""")
    told = """sent.filter(({ type }) => type === 'view')
      .map(({ width, height, visible }) => [width, height, visible])"""
    watcher.clock.run_for(300)
    assert watcher.evaluate(told) == [[160, 90, True]]
    watcher.evaluate("client.views.set('t0', large, { width: 640, height: 360, visible: true })")
    watcher.clock.run_for(300)
    watcher.evaluate("client.views.set('t0', small, null)")
    watcher.clock.run_for(300)
    watcher.evaluate("client.views.set('t0', large, null)")
    watcher.clock.run_for(300)
    assert watcher.evaluate(told) == [[160, 90, True], [640, 360, True], [0, 0, False]]
    assert views is None


def test_a_layer_is_kept_when_the_room_sends_it_and_taken_back_when_not(watcher: Page) -> None:
    result = watcher.evaluate("""async () => {
      welcome.tracks = tracks("video");
      await client.start();
      const unknown = { type: "error", code: "unknown_layer", message: "no layer x" };
      replies.layer = ({ rid }) => (rid === "x" ? unknown : null);
      const picking = client.pickLayer("t0", "h");
      client.receive({ type: "consumer", track: "t0", rid: "h", target: "h", temporal: null, reason: null });
      await picking;
      await client.pickLayer("t0", "x");
      return [client.picked.get("t0"), client.refusals.get("layer t0"), client.requests.pending.size];
    }""")
    assert result == ["h", "no layer x", 0]


def test_leaving_is_said_once_and_stops_everything(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      client.stop();
      client.stop();
      return [types(), client.status, client.timers.length, tokens.at(-1), client.phases.current];
    }""")
    assert result == [["join", "phase", "leave"], "idle", 0, None, None]


# `client` publishes one picture; `far` has answered it, and their candidates are exchanged
PUBLISH = """async () => {
  await client.start();
  window.media = picture(10, 320, 180);
  const item = { kind: "video", source: "pattern", media, muted: false, encodings: [{ maxBitrate: 300000 }] };
  const publishing = client.publish(new Map([["video", item]]));
  await until(() => offers().length);
  far.onicecandidate = ({ candidate }) => candidate && client.peer.pc.addIceCandidate(candidate);
  await answer(offers()[0]);
  await publishing;
  for (const { mid, candidate } of sent.filter(({ type }) => type === "candidate")) {
    await far.addIceCandidate({ sdpMid: mid, candidate });
  }
  window.frames = async () => {
    const reports = [...(await client.peer.pc.getStats()).values()];
    return reports.find(({ type }) => type === "outbound-rtp")?.framesSent ?? 0;
  };
  window.more = async (count) => {
    const goal = (await frames()) + count;
    while ((await frames()) < goal) await new Promise((done) => setTimeout(done, 20));
  };
  window.demand = (active, reason) =>
    client.receive({ type: "encodings", track: "mine-0", active, rids: null, reason });
}"""


def test_what_nobody_watches_is_not_encoded_until_somebody_does(client: Page) -> None:
    client.evaluate(PUBLISH)
    result = client.evaluate("""async () => {
      await more(3);
      demand(false, "not_watched");
      const { sender } = client.peer.pc.getTransceivers()[0];
      await until(() => sender.getParameters().encodings[0].active === false);
      await new Promise((done) => setTimeout(done, 300));
      const before = await frames();
      await new Promise((done) => setTimeout(done, 500));
      const stood = (await frames()) - before;
      demand(true, null);
      await more(3);
      return [stood, sender.track === media, media.readyState, offers().length];
    }""")
    assert result == [0, True, "live", 1], "neither the capture nor the description is touched"


def test_a_demand_that_comes_before_the_answer_counts(client: Page) -> None:
    result = client.evaluate("""async () => {
      await client.start();
      const item = { kind: "video", source: "pattern", media: picture(10), muted: false, encodings: [{}] };
      const publishing = client.publish(new Map([["video", item]]));
      await until(() => offers().length);
      client.receive({ type: "encodings", track: "mine-0", active: false, rids: null, reason: "direct" });
      await answer(offers()[0]);
      await publishing;
      const { sender } = client.peer.pc.getTransceivers()[0];
      await until(() => sender.getParameters().encodings[0].active === false);
      return offers().length;
    }""")
    assert result == 1


def test_a_mesh_begins_with_the_welcome_and_ends_with_a_session_that_is_lost(client: Page) -> None:
    result = client.evaluate("""async () => {
      const peers = [{ id: "p9", name: "nina", polite: true }];
      welcome.room.architecture = "mesh";
      await client.start();
      client.receive({ type: "architecture", name: "mesh", direct: true, mixed: false, peers });
      await until(() => client.mesh.links.size);
      const [first] = client.mesh.links.values();
      const switched = client.switchedAt;
      client.receive({ type: "architecture", name: "mesh", direct: true, mixed: false, peers });
      const same = first === client.mesh.links.get("p9");
      client.stop();
      return [same, switched, first.pc.connectionState, client.mesh.links.size, client.architecture.name];
    }""")
    assert result == [True, float("-inf"), "closed", 0, "mesh"]
