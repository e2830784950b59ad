// @ts-check
/**
 * What a bitrate is spent on: the lowest layer that is wanted always has something, each higher one only when enough is left. When
 * the lowest gets too little for its size its picture is made smaller, and at last it has fewer frames.
 */

import { LEAST_BPS } from "./tunnel_pace.js";

/** The shares of its bitrate that make another layer, or a larger picture, worth sending: to go on, and to begin. */
const WORTH = 0.5;
const WORTH_AGAIN = 0.8;
/** A picture half as wide and high needs that much less. */
const LESS = 3;
/** The least height that a picture is made smaller to. */
const LEAST_HEIGHT = 90;

/**
 * What each layer may have of a bitrate.
 * @param {number} limit bit/s @param {{most: number, wanted: boolean, sent: boolean}[]} layers the smallest first; whether each is sent now
 * @returns {number[]} bit/s, 0 where nothing is to be sent
 */
export function share(limit, layers) {
  let left = limit;
  let lowest = true;
  return layers.map(({ most, wanted, sent }) => {
    if (!wanted || (!lowest && left < (sent ? WORTH : WORTH_AGAIN) * most)) {
      if (wanted) left = 0;
      return 0;
    }
    const given = Math.min(most, Math.max(left, LEAST_BPS));
    lowest = false;
    left = Math.max(0, left - given);
    return given;
  });
}

/**
 * How a layer fits into what it was given.
 * @param {number} given bit/s @param {number} most bit/s of the whole picture @param {number} height of the whole picture
 * @param {number} halved how often its width and height are halved now
 * @returns {{halved: number, every: number}} how often they shall be; each how many frames one is sent
 */
export function fit(given, most, height, halved) {
  const needs = (/** @type {number} */ times) => most / LESS ** times;
  const times = Math.max(0, Math.floor(Math.log2(height / LEAST_HEIGHT)));
  let now = Math.min(halved, times);
  while (now < times && given < WORTH * needs(now)) now += 1;
  while (now > 0 && given >= WORTH_AGAIN * needs(now - 1)) now -= 1;
  const scant = given / (WORTH * needs(now));
  return { halved: now, every: Math.min(3, Math.max(1, Math.ceil(1 / scant))) };
}
