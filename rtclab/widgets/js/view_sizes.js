// @ts-check
/** How large each track is seen, over all its views: the room is told about the largest that is visible. */

const DEBOUNCE_MS = 150;

/** @typedef {{width: number, height: number, visible: boolean}} ViewSize in device pixels */

export class ViewSizes {
  /** @param {(track: string, size: ViewSize) => boolean} tell says whether the track is known and the room was told */
  constructor(tell) {
    this.tell = tell;
    /** @type {Map<string, Map<object, ViewSize>>} */
    this.views = new Map();
    /** @type {Map<string, string>} */
    this.told = new Map();
    /** @type {any} */
    this.timer = 0;
  }

  /** @param {string} track @param {object} view @param {ViewSize | null} size null when the view is gone */
  set(track, view, size) {
    const views = this.views.get(track) ?? new Map();
    this.views.set(track, views);
    if (size) views.set(view, size);
    else views.delete(view);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), DEBOUNCE_MS);
  }

  /** Tells everything again: the room has forgotten it. */
  renew() {
    this.told.clear();
    this.flush();
  }

  flush() {
    for (const [track, views] of this.views) {
      const seen = [...views.values()].filter(({ visible }) => visible);
      const all = seen.length ? seen : [...views.values()];
      const largest = all.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a), { width: 0, height: 0 });
      const size = { width: Math.round(largest.width), height: Math.round(largest.height), visible: seen.length > 0 };
      const text = JSON.stringify(size);
      if (this.told.get(track) !== text && this.tell(track, size)) this.told.set(track, text);
      if (!views.size) {
        this.views.delete(track);
        this.told.delete(track);
      }
    }
  }
}
