/** Delays between attempts, in seconds. The random source is passed in: a number in [0, 1). */
import { FIRST_DELAY, LONGEST_DELAY, MAX_RETRY_AFTER } from './tables.js';

/** A delay that came over the network: 0 for what is not a number or negative, at most 5 minutes. */
export const boundedRetry = (seconds) => (seconds > 0 ? Math.min(+seconds, MAX_RETRY_AFTER) : 0);

/** After so many failures in a row (1 for the first): anything from 0 to 0.2 s, doubling to 20 s. */
export const fullJitter = (failures, random) =>
  random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(Math.max(failures, 1) - 1, 16));

/** Where the service said when: `after`, and a random part of `jitter`. */
export const steered = (after, jitter, random) => Math.max(0, after) + random() * Math.max(0, jitter);
