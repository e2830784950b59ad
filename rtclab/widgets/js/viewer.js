// @ts-check
/** The viewer: which tracks of the room are watched, and the sound of all of them. */

import { hasLocal, isLocal } from "./local.js";

/**
 * @typedef {object} Scene one tile: a participant's camera with their sound, or something else they show
 * @property {string} key @property {{id: string, name: string}} participant
 * @property {import("./client.js").Track | null} video @property {import("./client.js").Track | null} audio
 */

/** Whether a tile shows what the room mixes of everyone. @param {Scene} scene */
export const isMix = ({ video, audio }) => (video ?? audio)?.source === "mix";

export class Viewer {
  /** @param {import("./client.js").RoomClient} client @param {string | null} of show only this participant */
  constructor(client, of) {
    this.client = client;
    this.of = of;
    /** @type {Scene[]} */
    this.scenes = [];
    /** Keys of all scenes so far: who comes back has the former place. @type {string[]} */
    this.places = [];
    /** Sound is played here, once for all views. @type {Map<string, HTMLAudioElement>} */
    this.sounds = new Map();
    /** @type {Map<string, boolean>} by participant; unset means: not muted, unless they are on this page */
    this.mutes = new Map();
    this.soundBlocked = false;
    client.observe((what) => {
      if (what === "tracks") this.#choose();
      if (what === "remote" || what === "tracks" || what === "tick") this.#playSounds();
    });
  }

  start() {
    if (this.client.status === "idle") this.client.start();
  }

  stop() {
    this.client.stop();
  }

  #choose() {
    const tracks = [...this.client.tracks.values()].filter(
      ({ participant, source }) => !this.of || participant.name === this.of || source === "mix",
    );
    /** @type {Map<string, Scene>} */
    const scenes = new Map();
    for (const track of tracks) {
      const screen = track.source.startsWith("screen");
      let key = `${track.participant.id}${screen ? " screen" : ""}`;
      // a second picture of one participant is a tile of its own
      if (scenes.get(key)?.[track.kind]) key = `${key} ${track.id}`;
      const scene = scenes.get(key) ?? { key, participant: track.participant, video: null, audio: null };
      scene[track.kind] = track;
      scenes.set(key, scene);
    }
    for (const key of scenes.keys()) if (!this.places.includes(key)) this.places.push(key);
    this.scenes = this.places.flatMap((key) => scenes.get(key) ?? []);
    if (this.client.status === "joined") this.client.watch(tracks.map(({ id }) => id));
  }

  /** Whether a mix brings back what this page publishes: the room leaves out only what comes from the listening client. */
  get hearsItself() {
    return this.client.architecture.mixed && hasLocal(this.client);
  }

  /** @param {string} participant */
  muted(participant) {
    return this.mutes.get(participant) ?? (isLocal(this.client, participant) || this.hearsItself);
  }

  /** @param {string} participant */
  toggleMute(participant) {
    this.mutes.set(participant, !this.muted(participant));
    this.#playSounds();
    this.client.changed("sound");
  }

  /** After a click the browser lets sound through. */
  allowSound() {
    this.soundBlocked = false;
    this.#playSounds();
    this.client.changed("sound");
  }

  #playSounds() {
    const { remote, tracks } = this.client;
    for (const [id, sound] of this.sounds) {
      if (remote.has(id) && tracks.has(id)) continue;
      sound.srcObject = null;
      this.sounds.delete(id);
    }
    for (const [id, media] of remote) {
      const track = tracks.get(id);
      if (track?.kind !== "audio") continue;
      const sound = this.sounds.get(id) ?? new Audio();
      this.sounds.set(id, sound);
      const playing = /** @type {MediaStream | null} */ (sound.srcObject)?.getAudioTracks()[0];
      if (playing !== media) sound.srcObject = new MediaStream([media]);
      sound.muted = this.muted(track.participant.id);
      if (!sound.muted && sound.paused) sound.play().catch((error) => this.#blocked(error));
    }
  }

  /** @param {Error} error */
  #blocked(error) {
    if (error.name !== "NotAllowedError" || this.soundBlocked) return;
    this.soundBlocked = true;
    this.client.changed("sound");
  }
}
