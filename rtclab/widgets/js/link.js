// @ts-check
/** What the page's address says of the one who opened it: a token after the #, which a browser sends to no server. */

/**
 * @typedef {object} Link
 * @property {string | null} token
 * @property {"viewer" | "participant"} role what the token allows; what has no word of it allows everything
 * @property {Date | null} until when it ends, if it does
 */

/** @param {string} hash @returns {Link} */
export function linkOf(hash) {
  const token = new URLSearchParams(hash.slice(1)).get("token");
  const [role, , end, ...rest] = token?.split(".") ?? [];
  const shared = rest.length === 2 && (role === "viewer" || role === "participant") && /^\d+$/.test(end);
  if (!shared) return { token, role: "participant", until: null };
  return { token, role: /** @type {"viewer" | "participant"} */ (role), until: new Date(1000 * Number(end)) };
}

/** @param {Date} until @param {Date} now @returns {string} the hour, and the day where it is another one */
export function untilText(until, now) {
  const hour = until.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const sameDay = until.toDateString() === now.toDateString();
  return sameDay ? hour : `${until.toLocaleDateString([], { day: "numeric", month: "long" })}, ${hour}`;
}
