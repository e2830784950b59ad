// @ts-check
/** What stays on this page: who publishes from it, and what it remembers. */

/** Participants, as room and id, whose media come from this very page: their sound is not played back to them. */
const localParticipants = () => {
  const key = Symbol.for("rtclab.local-participants");
  return /** @type {Set<string>} */ ((globalThis[key] ??= new Set()));
};

/** @param {import("./client.js").RoomClient} client @param {string} [participant] */
const place = (client, participant = client.participant?.id) => `${client.room?.id} ${participant}`;

/** @param {import("./client.js").RoomClient} client @param {string} participant */
export const isLocal = (client, participant) => localParticipants().has(place(client, participant));

/** Whether anybody publishes into the client's room from this page. @param {import("./client.js").RoomClient} client */
export const hasLocal = (client) => [...localParticipants()].some((one) => one.startsWith(`${client.room?.id} `));

/** @param {import("./client.js").RoomClient} client @param {boolean} here whether it publishes from this page */
export function noteLocal(client, here) {
  if (here) localParticipants().add(place(client));
  else localParticipants().delete(place(client));
}

/** Storage that may be forbidden, as in a sandboxed frame. */
export const remembered = {
  /** @param {"session" | "local"} where @param {string} key @returns {string | null} */
  get(where, key) {
    try {
      return (where === "session" ? sessionStorage : localStorage).getItem(`rtclab.${key}`);
    } catch {
      return null;
    }
  },
  /** @param {"session" | "local"} where @param {string} key @param {string | null} value */
  set(where, key, value) {
    try {
      const storage = where === "session" ? sessionStorage : localStorage;
      if (value === null) storage.removeItem(`rtclab.${key}`);
      else storage.setItem(`rtclab.${key}`, value);
    } catch {
      // nothing is remembered then
    }
  },
};
