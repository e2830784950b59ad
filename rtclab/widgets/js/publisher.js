// @ts-check
/** The publisher: what is captured here and sent to the room. Nothing is captured before a person presses Start. */

import { noteLocal, remembered } from "./local.js";
import { capture, encodingsFor, listDevices } from "./media.js";

/** @typedef {{video: string, audio: string}} Choice see `capture` */

const OWN_SOUND = { camera: "microphone", screen: "screen-audio", pattern: "pattern-audio" };

/** @param {string} choice @returns {string} the source without its device */
export const sourceOf = (choice) => choice.split(":")[0];

export class Publisher {
  /**
   * @param {import("./client.js").RoomClient} client
   * @param {{source: string, simulcast: boolean, name: string}} options
   */
  constructor(client, { source, simulcast, name }) {
    this.client = client;
    this.simulcast = simulcast;
    this.label = name;
    /** @type {Choice} */
    this.choice = { video: this.#rememberedDevice(source), audio: this.#rememberedDevice(OWN_SOUND[source]) };
    this.running = false;
    this.muted = false;
    this.videoOff = false;
    this.note = "";
    /** @type {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} */
    this.media = { video: null, audio: null };
    this.devices = { cameras: /** @type {any[]} */ ([]), microphones: /** @type {any[]} */ ([]) };
    this.attempt = 0;
    client.observe((what) => {
      if (what === "state" && this.running && (client.status === "closed" || client.status === "idle")) this.#release();
    });
    this.refreshDevices = async () => {
      this.devices = await listDevices();
      client.changed("devices");
    };
    navigator.mediaDevices?.addEventListener?.("devicechange", this.refreshDevices);
    this.refreshDevices();
  }

  close() {
    navigator.mediaDevices?.removeEventListener?.("devicechange", this.refreshDevices);
    this.#release();
  }

  /** @param {string} choice */
  #rememberedDevice(choice) {
    const device = choice === "camera" || choice === "microphone" ? remembered.get("local", choice) : null;
    return device ? `${choice}:${device}` : choice;
  }

  async start() {
    if (this.running) return;
    const attempt = ++this.attempt;
    this.running = true;
    this.note = "";
    this.muted = this.videoOff = false;
    const { client, choice } = this;
    const joining = client.start();
    try {
      const got = await capture(choice.video, choice.audio === "none" ? null : choice.audio, this.label);
      if (attempt !== this.attempt) return stopTracks(got);
      this.#take(got);
      client.reach("permission");
      this.refreshDevices();
      if (!(await joining) || attempt !== this.attempt) return;
      noteLocal(client, true);
      await this.#publish();
    } catch (error) {
      if (attempt === this.attempt) client.fail(error);
    }
  }

  stop() {
    this.client.stop();
    this.#release();
  }

  #release() {
    this.attempt += 1;
    this.running = false;
    noteLocal(this.client, false);
    stopTracks(this.media);
    this.media = { video: null, audio: null };
    this.client.changed("media");
  }

  /** @param {import("./media.js").Capture} got */
  #take(got) {
    this.media = { video: got.video, audio: got.audio };
    this.note = got.note;
    this.#watchEnd();
    this.client.changed("media");
  }

  /** A source may end by itself: an unplugged camera, the browser's own "Stop sharing". */
  #watchEnd() {
    const { video } = this.media;
    if (!video) return;
    video.onended = () => {
      if (video !== this.media.video) return;
      this.stop();
      this.note = sourceOf(this.choice.video) === "screen" ? "Sharing was stopped in the browser." : "The camera has stopped: it may have been unplugged.";
      this.client.changed("media");
    };
  }

  async #publish() {
    const { video, audio } = this.media;
    const { width = 1280, height = 720 } = video?.getSettings() ?? {};
    const sending = new Map();
    const videoSource = sourceOf(this.choice.video);
    sending.set("video", {
      kind: "video",
      source: videoSource,
      media: video,
      muted: this.videoOff,
      encodings: encodingsFor(videoSource, this.simulcast, width, height),
      width,
      height,
    });
    if (audio) {
      const source = sourceOf(this.choice.audio);
      sending.set("audio", { kind: "audio", source, media: audio, muted: this.muted, encodings: [{}] });
    }
    await this.client.publish(sending);
  }

  toggleMute() {
    this.muted = !this.muted;
    if (this.media.audio) this.media.audio.enabled = !this.muted;
    this.client.mute("audio", this.muted);
    this.client.changed("media");
  }

  /** A camera is really closed, so that its light goes out; other sources send black. */
  async toggleVideo() {
    this.videoOff = !this.videoOff;
    this.client.mute("video", this.videoOff);
    const { attempt } = this;
    if (sourceOf(this.choice.video) !== "camera") {
      if (this.media.video) this.media.video.enabled = !this.videoOff;
    } else if (this.videoOff) {
      const { video } = this.media;
      this.media.video = null;
      this.client.changed("media");
      await this.#publish();
      video?.stop();
    } else {
      try {
        const got = await capture(this.choice.video, null, this.label);
        if (attempt !== this.attempt || this.videoOff) return stopTracks(got);
        this.media.video = got.video;
        this.#watchEnd();
        await this.#publish();
      } catch (error) {
        this.videoOff = true;
        this.client.mute("video", true);
        this.note = error instanceof Error ? error.message : String(error);
      }
    }
    this.client.changed("media");
  }

  /** @param {string} video */
  async chooseVideo(video) {
    const kept = this.choice.audio === "none" ? "none" : this.#rememberedDevice(OWN_SOUND[sourceOf(video)]);
    const audio = sourceOf(video) === sourceOf(this.choice.video) ? this.choice.audio : kept;
    await this.#choose({ video, audio });
  }

  /** @param {string} audio */
  async chooseAudio(audio) {
    await this.#choose({ ...this.choice, audio });
  }

  /** What is new is opened before the old is closed, and the old stays when that fails. @param {Choice} next */
  async #choose(next) {
    const before = this.choice;
    const newVideo = next.video !== before.video;
    const newAudio = next.audio !== before.audio;
    this.choice = next;
    for (const choice of [next.video, next.audio]) {
      const [source, device] = [sourceOf(choice), choice.split(":").slice(1).join(":")];
      if (source === "camera" || source === "microphone") remembered.set("local", source, device || null);
    }
    this.note = "";
    this.client.changed("media");
    if (!this.running || this.client.phases.current === "permission") return;
    const { attempt } = this;
    try {
      const audio = newAudio && next.audio !== "none" ? next.audio : null;
      const got = await capture(newVideo || audio === "screen-audio" ? next.video : null, audio, this.label);
      if (attempt !== this.attempt) return stopTracks(got);
      const old = { video: got.video ? this.media.video : null, audio: newAudio ? this.media.audio : null };
      if (got.video) this.videoOff = false;
      this.media = { video: got.video ?? this.media.video, audio: newAudio ? got.audio : this.media.audio };
      this.note = got.note;
      if (this.media.audio) this.media.audio.enabled = !this.muted;
      this.#watchEnd();
      await this.#publish();
      stopTracks(old);
    } catch (error) {
      if (attempt !== this.attempt) return;
      this.choice = before;
      this.note = error instanceof Error ? error.message : String(error);
    }
    this.client.changed("media");
  }
}

/** @param {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} media */
function stopTracks({ video, audio }) {
  for (const track of [video, audio]) {
    if (!track) continue;
    track.onended = null;
    track.stop();
  }
}
