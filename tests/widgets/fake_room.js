// A room inside the page: it speaks the message schema and forwards with RTCPeerConnections of its own.

export class FakeModel {
  constructor(traits, room) {
    this.traits = { key: Math.random().toString(36).slice(2), name: "", ...traits };
    this.room = room;
    this.handlers = [];
    this.sent = [];
    this.dead = false;
  }
  get(name) {
    return this.traits[name];
  }
  on(type, handler) {
    this.handlers.push([type, handler]);
  }
  off(type, handler) {
    this.handlers = this.handlers.filter(([t, h]) => t !== type || h !== handler);
  }
  emit(type, ...values) {
    for (const [t, handler] of [...this.handlers]) if (t === type) handler(...values);
  }
  send(content) {
    if (this.dead) throw new Error("Cannot send");
    const copy = JSON.parse(JSON.stringify(content));
    if ("note" in copy) return this.room.note?.(this, copy);
    this.sent.push(copy.message);
    setTimeout(() => this.room.receive(this, copy), this.room.delay);
  }
}

export class FakeRoom {
  constructor() {
    this.clients = new Map();
    this.tracks = new Map();
    this.sessions = new Map();
    this.delay = 0;
    this.silent = new Set(); // message types that get no reply
    this.blackhole = false; // no candidates pass, either way
    this.layers = [];
    this.refuse = new Map(); // code by message type
    this.rejectKinds = new Set();
    this.nextTrack = 1;
    this.revision = 0;
  }

  async receive(model, { client, message }) {
    const seat = this.clients.get(client) ?? { id: client, model, joined: false, sent: new Map(), feeds: new Map() };
    this.clients.set(client, seat);
    const reply = (fields) => this.say(seat, { re: message.id, ...fields });
    if (this.silent.has(message.type)) return;
    const code = this.refuse.get(message.type);
    if (code) return reply({ type: "error", code, message: `refused: ${code}` });
    if (message.type === "join") {
      if (message.session && !this.sessions.has(message.session)) {
        return reply({ type: "error", code: "unknown_session", message: "no such session" });
      }
      seat.joined = true;
      seat.role = message.role;
      const resumed = Boolean(message.session);
      const session = message.session ?? `token-${client}`;
      seat.participant = this.sessions.get(session) ?? { id: `p-${client}`, name: message.name ?? "guest-1" };
      this.sessions.set(session, seat.participant);
      const room = { id: "r", name: "room", architecture: "sfu" };
      const tracks = this.tracksFor(seat);
      return reply({ type: "welcome", version: 1, session, participant: seat.participant, room, ice_servers: [], resumed, tracks });
    }
    if (message.type === "ping") return reply(seat.joined ? { type: "pong" } : { type: "error", code: "not_joined", message: "join first" });
    if (!seat.joined) return undefined;
    if (message.type === "tunnel") return reply({ type: "error", code: "not_allowed", message: "this room has no tunnel" });
    if (message.type === "leave") return this.leave(seat);
    if (message.type === "offer") return this.offer(seat, message, reply);
    if (message.type === "candidate" && this.blackhole) return undefined;
    if (message.type === "candidate") return seat.pc?.addIceCandidate({ sdpMid: message.mid, candidate: message.candidate }).catch(() => {});
    if (message.type === "mute") {
      this.tracks.get(message.track).info.muted = message.muted;
      return this.tellTracks();
    }
    if (message.type === "layer") {
      const known = this.tracks.get(message.track)?.info.layers.some(({ rid }) => rid === message.rid) || message.rid === "auto";
      if (!known) return reply({ type: "error", code: "unknown_layer", message: "no such layer" });
      return this.say(seat, { type: "consumer", track: message.track, rid: message.rid === "auto" ? "f" : message.rid, target: null, temporal: null, reason: null });
    }
    return undefined;
  }

  say(seat, message) {
    seat.model.emit("msg:custom", { client: seat.id, message }, []);
  }

  tracksFor(seat) {
    return [...this.tracks.values()].filter(({ owner }) => owner !== seat.id).map(({ info }) => info);
  }

  tellTracks() {
    this.revision += 1;
    for (const seat of this.clients.values()) {
      if (seat.joined) this.say(seat, { type: "tracks", revision: this.revision, tracks: this.tracksFor(seat) });
    }
  }

  /** A participant who is not in a browser: gives them tracks at once. */
  add(name, medias, fields = {}) {
    for (const media of medias) {
      const id = `t${this.nextTrack++}`;
      const info = { id, participant: { id: `p-${name}`, name }, kind: media.kind, source: "function", muted: false, codec: null, layers: this.layers, ...fields };
      this.tracks.set(id, { owner: name, media, info });
    }
    this.tellTracks();
  }

  remove(name) {
    for (const [id, { owner }] of this.tracks) if (owner === name) this.tracks.delete(id);
    this.tellTracks();
  }

  leave(seat) {
    seat.joined = false;
    seat.pc?.close();
    seat.pc = null;
    this.remove(seat.id);
  }

  async offer(seat, { sdp, tracks }, reply) {
    seat.offers = (seat.offers ?? 0) + 1;
    seat.lastOffer = sdp;
    const ufrag = sdp.match(/a=ice-ufrag:(\S+)/)[1];
    const fingerprint = sdp.match(/a=fingerprint:(.*)/)[1];
    if (seat.pc && fingerprint !== seat.fingerprint) {
      seat.pc.close();
      seat.pc = null;
    }
    Object.assign(seat, { ufrag, fingerprint });
    const pc = (seat.pc ??= new RTCPeerConnection());
    await pc.setRemoteDescription({ type: "offer", sdp });
    const answered = [];
    const rejected = [];
    const byMid = new Map(pc.getTransceivers().map((transceiver) => [transceiver.mid, transceiver]));
    const live = new Set();
    for (const { mid, direction, track, source, muted } of tracks) {
      const transceiver = byMid.get(mid);
      const kind = transceiver.receiver.track.kind;
      if (direction === "receive") {
        const feed = this.tracks.get(track);
        transceiver.direction = feed ? "sendonly" : "inactive";
        await transceiver.sender.replaceTrack(feed?.media ?? null);
        answered.push({ mid, track });
      } else if (this.rejectKinds.has(kind)) {
        transceiver.stop();
        rejected.push({ mid, code: "no_codec", message: `no usable ${kind} codec` });
      } else {
        const id = seat.sent.get(mid) ?? `t${this.nextTrack++}`;
        seat.sent.set(mid, id);
        live.add(id);
        transceiver.direction = "recvonly";
        const info = { id, participant: seat.participant, kind, source, muted, codec: null, layers: kind === "video" ? this.layers : [] };
        this.tracks.set(id, { owner: seat.id, media: transceiver.receiver.track, info });
        answered.push({ mid, track: id });
      }
    }
    for (const [id, { owner }] of this.tracks) if (owner === seat.id && !live.has(id)) this.tracks.delete(id);
    await pc.setLocalDescription(await pc.createAnswer());
    if (pc.iceGatheringState !== "complete") {
      await new Promise((done) => {
        pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done();
      });
    }
    const answer = this.blackhole ? pc.localDescription.sdp.replace(/a=candidate.*\r\n/g, "") : pc.localDescription.sdp;
    reply({ type: "answer", sdp: answer, tracks: answered, rejected });
    if (seat.role === "participant") this.tellTracks();
  }
}

/** A moving picture with a hue of its own. */
export function picture(hue, width = 640, height = 360) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  let n = 0;
  const timer = setInterval(() => {
    n += 1;
    const slope = context.createLinearGradient(0, 0, width, height);
    slope.addColorStop(0, `hsl(${hue} 45% 22%)`);
    slope.addColorStop(1, `hsl(${hue + 40} 50% 58%)`);
    context.fillStyle = slope;
    context.fillRect(0, 0, width, height);
    context.fillStyle = "#fffa";
    context.beginPath();
    context.arc(width / 2 + 0.3 * height * Math.cos(n / 20), height / 2 + 0.3 * height * Math.sin(n / 20), height / 8, 0, 7);
    context.fill();
  }, 33);
  const [track] = canvas.captureStream(30).getVideoTracks();
  const stop = track.stop.bind(track);
  track.stop = () => (clearInterval(timer), stop());
  return track;
}

/** Renders `count` views of the widget into new elements; returns the elements and a way to close each. */
export async function display(widget, model, count = 1, into = document.body) {
  if (!model.initialized) {
    model.initialized = true;
    model.destroy = await widget.initialize({ model });
  }
  const views = [];
  for (let i = 0; i < count; i++) {
    const el = document.createElement("div");
    into.append(el);
    const cleanup = await widget.render({ model, el });
    views.push({ el, close: () => (cleanup(), el.remove()) });
  }
  return views;
}
