// Two ends of a tunnel in one page: what one encodes is decoded by the other, over a carrier that can be made slow.

import { Tunnel } from "./tunnel.js";

/** A link of `rate` bit/s and `delay` ms; everything arrives, in order. */
function carrier(receive) {
  const link = { rate: Infinity, delay: 5, unsent: 0, freeAt: 0, dead: false, seen: [] };
  link.sendMedia = (bytes) => {
    if (link.dead) return false;
    link.seen.push(bytes);
    const now = performance.now();
    link.freeAt = Math.max(link.freeAt, now) + (8000 * bytes.length) / link.rate;
    link.unsent += bytes.length;
    setTimeout(() => {
      link.unsent -= bytes.length;
      receive(bytes.slice().buffer);
    }, link.freeAt - now + link.delay);
    return true;
  };
  return link;
}

/** A client as the tunnel sees it; `slots` as in peer.js. */
function client(role, slots, fields) {
  const peer = {
    slots: slots.map(({ mid, ...slot }) => ({ ...slot, transceiver: { mid } })),
    slotOf: (mid) => peer.slots.find(({ transceiver }) => transceiver.mid === mid),
    midOf: (key) => peer.slots.find((slot) => slot.key === key)?.transceiver.mid ?? null,
    sentTrack: (key) => peer.slots.find((slot) => slot.key === key)?.track ?? null,
  };
  const one = { role, peer, link: "ok", sending: new Map(), wanted: new Map(), demands: new Map(), tracks: new Map() };
  Object.assign(one, { refusals: new Map(), refuse: (key, text) => one.refusals.set(key, text), waitForOthers: () => {}, ways: { settle: () => {} } }, fields);
  one.transmitMedia = (bytes) => one.carrier.sendMedia(bytes);
  one.tunnel = new Tunnel(one, "test");
  return one;
}

/** Publishes `video`, in the layers `rids`, and `audio` through a tunnel. @returns {{from: any, to: any, close: () => void}} */
export function loop({ video, audio, encodings, codec, rids }) {
  const kinds = { ...(video ? { video } : {}), ...(audio ? { audio } : {}) };
  const mids = Object.keys(kinds);
  const sent = mids.map((kind, i) => ({ direction: "send", kind, key: kind, track: kind, mid: String(i), codec }));
  const got = mids.map((kind, i) => ({ direction: "receive", kind, key: kind, track: kind, mid: String(i) }));
  const sending = new Map(mids.map((kind) => [kind, { kind, media: kinds[kind], encodings: kind === "video" ? encodings : [{}] }]));
  const participant = { id: "p" };
  const from = client("participant", sent, { sending });
  const to = client("viewer", got, { tracks: new Map(mids.map((kind) => [kind, { participant }])), wanted: new Map(mids.map((kind) => [kind, kind])) });
  from.carrier = carrier((buffer) => to.tunnel.receive(buffer));
  to.carrier = carrier((buffer) => from.tunnel.receive(buffer));
  from.demands.set("video", { active: true, rids });
  from.tunnel.arrange();
  return { from, to, close: () => (from.tunnel.close(), to.tunnel.close()) };
}

export const until = async (condition, ms = 45_000) => {
  const end = performance.now() + ms;
  for (;;) {
    const value = condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`it did not come to ${condition}`);
    await new Promise((done) => setTimeout(done, 20));
  }
};
