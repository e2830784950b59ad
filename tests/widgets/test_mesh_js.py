"""Direct connections between clients, without a room: a script carries what they say to each other."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

# sides of a mesh in one page; `delay` keeps the order, `held` collects messages until `release`
SIDES = """async () => {
  const { Mesh } = await import("/js/mesh.js");
  window.sides = {};
  window.log = [];
  window.delay = 0;
  window.held = null;
  const carry = (to, message) => sides[to].receive(message);
  window.release = () => {
    const waiting = held;
    held = null;
    for (const [to, message] of waiting) carry(to, message);
  };
  window.begin = (name) => {
    const say = (to, content) => {
      const message = JSON.parse(JSON.stringify({ from: name, ...content }));
      log.push([name, to, message.description?.type ?? "candidate"]);
      if (held) held.push([to, message]);
      else setTimeout(() => carry(to, message), delay);
    };
    sides[name] = new Mesh({ say, changed: () => {} });
  };
  window.connect = (...names) => {
    for (const name of names) {
      const peers = names.filter((other) => other !== name);
      sides[name].update({
        name: "mesh", direct: true, mixed: false,
        peers: peers.map((other) => ({ id: other, name: other, polite: name > other })),
      });
    }
  };
  const rest = { kind: "video", source: "pattern", muted: false, encodings: [{ maxBitrate: 300000 }] };
  window.sends = (name, ...tracks) => {
    sides[name].arrange(new Map(tracks.map((track) => [track, { media: picture(40, 320, 180), ...rest }])));
  };
  window.until = async (condition) => {
    for (const end = performance.now() + 20_000; !(await condition()); ) {
      if (performance.now() > end) throw new Error(`not within 20 s: ${condition}; said: ${log.join(" ")}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  // whether `to` is shown new frames of `track`
  window.shown = async (to, track) => {
    const receiver = sides[to].receivers.get(track);
    if (!receiver) return false;
    const at = performance.timeOrigin + performance.now();
    await new Promise((done) => setTimeout(done, 150));
    return receiver.getSynchronizationSources().some(({ timestamp }) => timestamp > at);
  };
  window.pc = (name, other) => sides[name].links.get(other).pc;
  window.lines = (name, other) => pc(name, other).getTransceivers().map((one) => one.currentDirection);
}"""


@pytest.fixture
def sides(lab: Page) -> Page:
    """A page with `begin`, `connect`, `sends`, `shown`, and the sides a, b and c."""
    lab.evaluate(SIDES)
    lab.evaluate("begin('a'); begin('b'); begin('c')")
    return lab


def test_both_send_and_each_line_goes_one_way(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "ta"); sends("b", "tb");
      connect("a", "b");
      await until(() => shown("a", "tb"));
      await until(() => shown("b", "ta"));
      return [lines("a", "b").sort(), lines("b", "a").sort(), sides.a.connected, sides.a.links.size];
    }""")
    assert result == [["recvonly", "sendonly"], ["recvonly", "sendonly"], 1, 1]


def test_who_only_watches_offers_nothing(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "ta");
      connect("a", "b");
      await until(() => shown("b", "ta"));
      return [log.filter(([, , what]) => what !== "candidate"), lines("b", "a")];
    }""")
    assert result == [[["a", "b", "offer"], ["b", "a", "answer"]], ["recvonly"]]


def test_offers_that_cross_are_settled_by_politeness(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      held = [];
      sends("a", "ta"); sends("b", "tb");
      connect("a", "b");
      await until(() => held.filter(([, { description }]) => description).length === 2);
      const crossed = log.filter(([, , what]) => what === "offer").map(([from]) => from).sort();
      const polite = pc("b", "a");
      const states = [];
      polite.addEventListener("signalingstatechange", () => states.push(polite.signalingState));
      release();
      await until(() => shown("a", "tb"));
      await until(() => shown("b", "ta"));
      const answered = log.find(([, , what]) => what === "answer");
      return [crossed, answered.slice(0, 2), states[0] !== "have-local-offer", polite === pc("b", "a")];
    }""")
    assert result == [["a", "b"], ["b", "a"], True, True]


def test_changes_on_both_sides_at_random_times_end_alike(sides: Page) -> None:
    shown = sides.evaluate("""async () => {
      let seed = 7;
      const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
      connect("a", "b");
      let round = 0;
      for (; round < 12; round += 1) {
        delay = 30 * random();
        const [first, second] = random() < 0.5 ? ["a", "b"] : ["b", "a"];
        sends(first, `t${first}${round}`, ...(random() < 0.5 ? [`x${first}`] : []));
        await new Promise((done) => setTimeout(done, 40 * random()));
        sends(second, `t${second}${round}`);
        await new Promise((done) => setTimeout(done, 40 * random()));
      }
      sends("a", "last a"); sends("b", "last b");
      await until(() => shown("a", "last b"));
      await until(() => shown("b", "last a"));
      return [[...sides.a.receivers.keys()], [...sides.b.receivers.keys()],
        lines("a", "b").length <= 4, lines("b", "a").length <= 4];
    }""")
    assert shown == [["last b"], ["last a"], True, True], "vacant m-lines are used again"


def test_another_track_on_the_same_line_is_announced(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "first");
      connect("a", "b");
      await until(() => shown("b", "first"));
      sends("a", "second");
      await until(() => shown("b", "second"));
      return [[...sides.b.receivers.keys()], lines("b", "a")];
    }""")
    assert result == [["second"], ["recvonly"]]


def test_a_page_that_begins_anew_is_connected_to_anew(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "ta"); sends("b", "tb");
      connect("a", "b");
      await until(() => shown("a", "tb"));
      await until(() => shown("b", "ta"));
      const [before, former] = [pc("a", "b"), sides.b];
      begin("b");
      sends("b", "tb");
      connect("a", "b");
      await until(() => before.connectionState === "closed");
      former.close();
      await until(() => shown("a", "tb"));
      await until(() => shown("b", "ta"));
      return [sides.a.links.size, sides.a.connected];
    }""")
    assert result == [1, 1]


def test_who_leaves_takes_only_their_own_connections_along(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      for (const name of ["a", "b", "c"]) sends(name, `t${name}`);
      connect("a", "b", "c");
      for (const to of ["a", "b", "c"]) {
        for (const from of ["a", "b", "c"]) if (from !== to) await until(() => shown(to, `t${from}`));
      }
      const [kept, ended] = [pc("a", "b"), pc("a", "c")];
      sides.c.close();
      connect("a", "b");
      await until(() => shown("a", "tb"));
      return [kept === pc("a", "b"), ended.connectionState, [...sides.a.receivers.keys()]];
    }""")
    assert result == [True, "closed", ["tb"]]


def test_a_failed_path_is_looked_for_again_and_then_the_connection_made_anew(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "ta");
      connect("a", "b");
      await until(() => shown("b", "ta"));
      const first = sides.a.links.get("b");
      const ufrag = () => pc("a", "b").localDescription.sdp.match(/ice-ufrag:(\\S+)/)[1];
      const old = ufrag();
      Object.defineProperty(first.pc, "iceConnectionState", { get: () => "failed" });
      first.pc.oniceconnectionstatechange();
      await until(() => ufrag() !== old);
      await until(() => shown("b", "ta"));
      const restarted = sides.a.links.get("b") === first;
      first.restarted = true;
      first.pc.oniceconnectionstatechange();
      await until(() => shown("b", "ta"));
      return [restarted, sides.a.links.get("b") === first, first.pc.connectionState];
    }""")
    assert result == [True, False, "closed"]


def test_connections_outlive_the_mesh_by_a_moment_in_silence(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      sends("a", "ta");
      connect("a", "b");
      await until(() => shown("b", "ta"));
      const said = log.length;
      const plain = { name: "sfu", direct: false, mixed: false, peers: [] };
      const mine = pc("b", "a");
      sides.a.update(plain); sides.b.update(plain);
      const still = await shown("b", "ta");
      sides.a.arrange(new Map());
      await until(() => mine.connectionState === "closed");
      await until(() => !sides.a.leaving.size);
      return [still, sides.a.links.size, log.length - said, sides.b.receivers.size];
    }""")
    assert result == [True, 0, 0, 0]


def test_who_cannot_be_reached_is_named_with_what_to_change(sides: Page) -> None:
    result = sides.evaluate("""async () => {
      RTCPeerConnection.prototype.addIceCandidate = async () => {};
      const problems = [];
      sends("a", "ta");
      connect("a", "b");
      await until(() => pc("a", "b").remoteDescription);
      sides.a.tick(0);
      problems.push(sides.a.problem(9), sides.a.problem(11));
      sides.a.ice = { iceServers: [{ urls: ["turn:turn.example.org"] }] };
      problems.push(sides.a.problem(11));
      sides.a.update({ name: "mesh", direct: true, mixed: false, peers: [] });
      return [...problems, sides.a.problem(11)];
    }""")
    early, late, relayed, alone = result
    assert early is None
    assert alone is None
    assert late["title"] == "No connection to b."
    assert "Room(ice_servers=" in late["text"]
    assert "ice_servers= does not help" in relayed["text"]
